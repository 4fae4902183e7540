"""Which DestinationRule a client follows, and what it says: istio-semantics 6.3, 6.4 and 6.5."""

# ruff: noqa: E501 - tables

from typing import Any

import pytest

from mutua.api.destination import TlsMode, parse_destination_rule
from mutua.api.service_entry import Resolution
from mutua.api.traffic import ConnectionPool, LoadBalancer, OutlierDetection
from mutua.model.service import Service, ServiceName
from mutua.model.settings import MeshSettings
from mutua.model.workload import Workload
from mutua.testing.mesh import destination_rule
from mutua.xds.compile.rules import Effective, Rule, RuleIndex

WEB = "web.shop.svc.cluster.local"
SERVICE = Service(
    id=ServiceName("shop", "web"),
    hostname=WEB,
    created="",
    addresses=("10.96.0.9",),
    resolution=Resolution.STATIC,
    ports=(),
    selector={},
)


def client(namespace: str, **labels: str) -> Workload:
    return Workload(
        uid="u",
        namespace=namespace,
        name="client",
        address="10.0.0.1",
        labels=labels,
        service_account="default",
        container_ports={},
    )


def tls(mode: str) -> dict[str, Any]:
    return {"tls": {"mode": mode}}


def rule(namespace: str, host: str, name: str, at: int = 0, **spec: Any) -> dict[str, Any]:
    policy = spec.pop("policy", tls("SIMPLE"))
    created = f"2026-01-01T00:00:{at:02}Z"
    return destination_rule(namespace, host, policy, name=name, created=created, **spec)


def found(rules: list[dict[str, Any]], peer: Workload) -> Rule | None:
    index = RuleIndex(map(parse_destination_rule, rules), MeshSettings())
    return index.find(index.scope(peer), SERVICE)


# fmt: off
LOOKUP = [
    #            rules                                                        client                 found
    pytest.param([],                                                          client("a"),           [],       id="none"),
    pytest.param([rule("a", WEB, "r")],                                       client("a"),           ["r"],    id="the client's own namespace"),
    pytest.param([rule("a", WEB, "r")],                                       client("b"),           [],       id="another namespace's rule says nothing"),
    pytest.param([rule("shop", "web", "r")],                                  client("a"),           ["r"],    id="the Service's namespace, by short name"),
    pytest.param([rule("shop", "web", "r", exportTo=["."])],                  client("a"),           [],       id="the Service's namespace, kept private"),
    pytest.param([rule("shop", "web", "r", exportTo=["b"])],                  client("a"),           [],       id="exported to another"),
    pytest.param([rule("shop", "web", "r", exportTo=["a", "b"])],             client("a"),           ["r"],    id="exported to it by name"),
    pytest.param([rule("istio-system", "*", "r")],                            client("a"),           ["r"],    id="the root namespace"),
    pytest.param([rule("istio-system", "*", "r", exportTo=["."])],            client("a"),           [],       id="the root namespace, kept private"),
    pytest.param([rule("istio-system", "*", "r", exportTo=["."])],            client("istio-system"), ["r"],   id="private for a client in the root namespace"),
    pytest.param([rule("a", "*.local", "wide"), rule("shop", "web", "exact")], client("a"),          ["wide"], id="a wildcard in the client's namespace beats an exact one elsewhere"),
    pytest.param([rule("a", "*.local", "wide"), rule("a", WEB, "exact")],     client("a"),           ["exact"], id="exact beats wildcard in one place"),
    pytest.param([rule("a", "*", "any"), rule("a", "*.svc.cluster.local", "long"), rule("a", "*.local", "short")], client("a"), ["long"], id="the longest wildcard"),
    pytest.param([rule("istio-system", WEB, "root"), rule("shop", "*.local", "own")], client("a"),   ["own"],  id="the Service's namespace beats the root"),
    pytest.param([rule("a", WEB.upper(), "r")],                               client("a"),           ["r"],    id="hosts have no case"),
    pytest.param([rule("a", WEB, "all"), rule("a", WEB, "some", workloadSelector={"matchLabels": {"app": "x"}})], client("a", app="x"), ["some"], id="a selector beats none"),
    pytest.param([rule("a", WEB, "all"), rule("a", WEB, "some", workloadSelector={"matchLabels": {"app": "x"}})], client("a", app="y"), ["all"],  id="not selected"),
    pytest.param([rule("shop", WEB, "r", workloadSelector={"matchLabels": {"app": "x"}})], client("a", app="x"), [], id="a selector reaches only its own namespace"),
    pytest.param([rule("a", WEB, "second", at=2), rule("a", WEB, "first", at=1)], client("a"), ["first", "second"], id="rules for one host are one"),
    pytest.param([rule("shop", WEB, "own", at=1, exportTo=["a"]), rule("shop", WEB, "all", at=2, exportTo=["*"])], client("a"), ["own", "all"], id="a wider one is merged into the older"),
    pytest.param([rule("shop", WEB, "own", at=1, exportTo=["a"]), rule("shop", WEB, "all", at=2, exportTo=["*"])], client("b"), ["all"], id="and still counts where only it is seen"),
    pytest.param([rule("shop", WEB, "all", at=1, exportTo=["*"]), rule("shop", WEB, "own", at=2, exportTo=["a"])], client("a"), ["all"], id="a narrower one is not merged"),
]
# fmt: on


@pytest.mark.parametrize(("rules", "peer", "names"), LOOKUP)
def test_lookup(rules: list[dict[str, Any]], peer: Workload, names: list[str]) -> None:
    rule_found = found(rules, peer)

    assert [key.name for key in rule_found.origins] == names if rule_found else names == []


def test_the_oldest_gives_the_policy_and_subsets_add_up() -> None:
    one = {"name": "v1", "labels": {"version": "1"}}
    merged = found(
        [
            rule("a", WEB, "old", 1, policy=None, subsets=[one]),
            rule("a", WEB, "mid", 2, policy=tls("DISABLE"), subsets=[one | {"labels": {"x": "y"}}]),
            rule("a", WEB, "new", 3, policy=tls("SIMPLE"), subsets=[one | {"name": "v2"}]),
        ],
        client("a"),
    )

    assert merged is not None
    assert merged.policy is not None
    assert merged.policy.tls is not None
    assert merged.policy.tls.mode is TlsMode.DISABLE
    assert {name: subset.labels for name, subset in merged.subsets.items()} == {
        "v1": {"version": "1"},
        "v2": {"version": "1"},
    }


def port(number: int, **policy: Any) -> dict[str, Any]:
    return {"port": {"number": number}, **policy}


def v1(policy: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{"name": "v1", "labels": {}, **({} if policy is None else {"trafficPolicy": policy})}]


POOL = {"connectionPool": {"tcp": {"maxConnections": 1}}}
BALANCER = {"loadBalancer": {"simple": "RANDOM"}}

# fmt: off
EFFECTIVE = [
    #            trafficPolicy                                                    subsets            port, subset  tls             flag
    pytest.param(tls("ISTIO_MUTUAL") | {"portLevelSettings": [port(8080, **tls("DISABLE"))]}, [],    8080, "",   "DISABLE",      "DISABLE",      id="a port has its own"),
    pytest.param(tls("ISTIO_MUTUAL") | {"portLevelSettings": [port(8080, **tls("DISABLE"))]}, [],    9090, "",   "ISTIO_MUTUAL", "ISTIO_MUTUAL", id="other ports do not"),
    pytest.param(tls("ISTIO_MUTUAL") | {"portLevelSettings": [port(8080, **POOL)]}, [],              8080, "",   None,           "ISTIO_MUTUAL", id="18: a port replaces wholesale, but the flag inherits"),
    pytest.param(tls("DISABLE"), v1(tls("ISTIO_MUTUAL")),                                            80,   "v1", "ISTIO_MUTUAL", "ISTIO_MUTUAL", id="a subset overrides"),
    pytest.param(tls("DISABLE"), v1(BALANCER),                                                       80,   "v1", "DISABLE",      "DISABLE",      id="a subset inherits what it does not set"),
    pytest.param({"portLevelSettings": [port(80, **tls("DISABLE"))]}, v1({"portLevelSettings": [port(80, **BALANCER)]}), 80, "v1", None, "DISABLE", id="a subset's port replaces wholesale"),
    pytest.param(tls("ISTIO_MUTUAL"), v1(None),                                                      80,   "v1", "ISTIO_MUTUAL", "ISTIO_MUTUAL", id="a subset without a policy"),
    pytest.param({"tls": {}}, [],                                                                    80,   "",   "DISABLE",      "DISABLE",      id="an empty tls block is DISABLE"),
    pytest.param(POOL, [],                                                                           80,   "",   None,           None,           id="17: no tls at all"),
]
# fmt: on


@pytest.mark.parametrize(("policy", "subsets", "number", "subset", "mode", "flag"), EFFECTIVE)
def test_effective(
    policy: dict[str, Any],
    subsets: list[dict[str, Any]],
    number: int,
    subset: str,
    mode: str | None,
    flag: str | None,
) -> None:
    rule_found = found([rule("a", WEB, "r", policy=policy, subsets=subsets)], client("a"))

    assert rule_found is not None
    says = rule_found.effective(number, subset)
    assert (says.tls.mode.value if says.tls else None) == mode
    assert (says.flag.value if says.flag else None) == flag


TIGHT = {"connectionPool": {"tcp": {"maxConnections": 7}, "http": {"maxRetries": 3}}}
WIDE = {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}
EJECTING = {"outlierDetection": {"interval": "1m30s"}}
RANDOM = {"loadBalancer": {"simple": "RANDOM"}}
THROUGH = {"loadBalancer": {"simple": "PASSTHROUGH"}}


def says(**fields: Any) -> Effective:
    return Effective(**fields)


SEVEN = ConnectionPool(max_connections=7, max_retries=3)
UPGRADING = ConnectionPool(h2_upgrade="UPGRADE")
NINETY = OutlierDetection(interval=90.0)


# fmt: off
BLOCKS: list[Any] = [
    #            policy                                    subset         port  effective
    pytest.param({**THROUGH, **WIDE},                      None,          80,   says(balancer=LoadBalancer("PASSTHROUGH"), pool=UPGRADING), id="of the rule"),
    pytest.param({**TIGHT, **EJECTING},                    {},            80,   says(pool=SEVEN, outliers=NINETY),                          id="a subset without any inherits"),
    pytest.param({**TIGHT, **EJECTING},                    RANDOM,        80,   says(pool=SEVEN, outliers=NINETY, balancer=LoadBalancer("RANDOM")), id="and adds"),
    pytest.param({**TIGHT, **RANDOM},                      WIDE,          80,   says(pool=UPGRADING, balancer=LoadBalancer("RANDOM")),      id="a block replaces a block as a whole"),
    pytest.param({**TIGHT, "portLevelSettings": [port(80, **RANDOM)]},         None,          80,   says(balancer=LoadBalancer("RANDOM")),                      id="a port's entry inherits nothing"),
    pytest.param({**TIGHT, "portLevelSettings": [port(80, **RANDOM)]},         None,          81,   says(pool=SEVEN),                                           id="and is for its port"),
    pytest.param({**TIGHT, "portLevelSettings": [port(80, **RANDOM)]},         EJECTING,      80,   says(balancer=LoadBalancer("RANDOM"), outliers=NINETY),     id="a subset inherits the port's entry"),
    pytest.param(TIGHT,                                    {"portLevelSettings": [port(80, **RANDOM)]}, 80, says(balancer=LoadBalancer("RANDOM")),                  id="a port's entry of a subset neither"),
]
# fmt: on


@pytest.mark.parametrize(("policy", "subset", "port", "expected"), BLOCKS)
def test_what_else_a_rule_says(
    policy: dict[str, Any], subset: dict[str, Any] | None, port: int, expected: Effective
) -> None:
    subsets = [] if subset is None else [{"name": "v1", "trafficPolicy": subset}]
    if subset == {}:
        del subsets[0]["trafficPolicy"]
    rule_found = found([rule("a", WEB, "r", policy=policy, subsets=subsets)], client("a"))

    assert rule_found is not None
    assert rule_found.effective(port, "" if subset is None else "v1") == expected
