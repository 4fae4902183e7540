"""Which names a Service has, as Kubernetes' DNS specification says."""

from typing import Any

import pytest

from mutua.api.object import Object
from mutua.cluster.controllers.endpoints import endpoint_slices
from mutua.cluster.controllers.stateful_pod import new_pod
from mutua.cluster.dns_records import Records
from mutua.cluster.dns_wire import Answer, Target
from mutua.testing.cluster import service as service_of_pods
from mutua.testing.cluster import stateful_set

WEB = "web.foo.svc.cluster.local"


def service(name: str = "web", **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "foo", "name": name},
        "spec": {"clusterIP": "10.96.0.1", "ports": ports} | spec,
    }


def endpoint(address: str, hostname: str = "", *, ready: bool = True) -> Object:
    return {"addresses": [address], "hostname": hostname, "conditions": {"ready": ready}}


def endpoint_slice(*endpoints: Object) -> Object:
    return {
        "metadata": {"namespace": "foo", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def entry(*hosts: str, name: str = "x", given: dict[str, str] | None = None, **spec: Any) -> Object:
    addresses = [{"host": host, "value": value} for host, value in (given or {}).items()]
    return {
        "metadata": {"namespace": "foo", "name": name, "creationTimestamp": name},
        "spec": {"hosts": list(hosts), **spec},
        "status": {"addresses": addresses},
    }


ONE = endpoint("10.244.0.2")
DB = endpoint("10.244.0.3", "db-0")
UNREADY = endpoint("10.244.0.4", ready=False)

NORMAL = Records([service()], [endpoint_slice(ONE)])
HEADLESS = Records([service(clusterIP="None")], [endpoint_slice(ONE, DB, UNREADY)])

NAMES = [
    pytest.param(NORMAL, WEB, Answer(("10.96.0.1",)), id="a Service has its address"),
    pytest.param(
        NORMAL, f"_http._tcp.{WEB}", Answer(targets=(Target(WEB, 80),)), id="and its named port"
    ),
    pytest.param(NORMAL, f"_tcp.{WEB}", Answer(), id="the name between them is empty"),
    pytest.param(NORMAL, f"10-244-0-2.{WEB}", None, id="its pods have no names"),
    pytest.param(NORMAL, "foo.svc.cluster.local", Answer(), id="a namespace is empty"),
    pytest.param(NORMAL, "svc.cluster.local", Answer(), id="so is the zone of Services"),
    pytest.param(NORMAL, "cluster.local", Answer(), id="and the zone itself"),
    pytest.param(NORMAL, "local", None, id="above the zone there is nothing"),
    pytest.param(
        NORMAL, "web.bar.svc.cluster.local", None, id="another namespace has no such name"
    ),
    pytest.param(NORMAL, "web.foo", None, id="search domains are the resolver's job"),
    pytest.param(NORMAL, "", None, id="the root is not ours"),
    pytest.param(
        NORMAL,
        "10-244-0-9.foo.pod.cluster.local",
        Answer(("10.244.0.9",)),
        id="a pod by its address",
    ),
    pytest.param(NORMAL, "web.foo.pod.cluster.local", None, id="a pod by another name"),
    pytest.param(NORMAL, "foo.pod.cluster.local", Answer(), id="a namespace of pods is empty"),
    pytest.param(HEADLESS, WEB, Answer(("10.244.0.2", "10.244.0.3")), id="headless: ready pods"),
    pytest.param(
        HEADLESS, f"10-244-0-2.{WEB}", Answer(("10.244.0.2",)), id="headless: a pod by address"
    ),
    pytest.param(
        HEADLESS, f"db-0.{WEB}", Answer(("10.244.0.3",)), id="headless: a pod by host name"
    ),
    pytest.param(
        HEADLESS,
        f"_http._tcp.{WEB}",
        Answer(targets=(Target(f"10-244-0-2.{WEB}", 8080), Target(f"db-0.{WEB}", 8080))),
        id="headless: named ports",
    ),
    pytest.param(
        Records([service(clusterIP="None")], []), WEB, Answer(), id="headless, no pods: empty"
    ),
    pytest.param(
        Records(
            [service(clusterIP="None", publishNotReadyAddresses=True)], [endpoint_slice(UNREADY)]
        ),
        WEB,
        Answer(("10.244.0.4",)),
        id="headless: unready pods if it says so",
    ),
    pytest.param(
        Records([service(type="ExternalName", externalName="example.com")], []),
        WEB,
        Answer(alias="example.com"),
        id="an alias",
    ),
    pytest.param(
        Records([service("Web")], []), WEB, Answer(("10.96.0.1",)), id="case does not matter"
    ),
]


@pytest.mark.parametrize(("records", "name", "answer"), NAMES)
def test_name(records: Records, name: str, answer: Answer | None) -> None:
    assert records.lookup(name) == answer


API = entry("api.example.com", "Db", given={"api.example.com": "240.240.0.1", "db": "240.240.0.2"})
WILD = entry("*.example.com", "*.foo.svc.cluster.local", addresses=["192.0.2.1", "192.0.2.2/32"])
ENTRIES = Records([service()], [], [API, WILD])
BOTH = Answer(("192.0.2.1", "192.0.2.2"))

HOSTS = [
    pytest.param(ENTRIES, "api.example.com", Answer(("240.240.0.1",)), id="an allocated address"),
    pytest.param(ENTRIES, "db", Answer(("240.240.0.2",)), id="a short host, case does not matter"),
    pytest.param(ENTRIES, "www.example.com", BOTH, id="a wildcard with addresses of its own"),
    pytest.param(ENTRIES, "a.b.example.com", BOTH, id="a wildcard stands for several labels"),
    pytest.param(ENTRIES, "example.com", None, id="but not for none"),
    pytest.param(ENTRIES, "example.org", None, id="other names do not exist"),
    pytest.param(ENTRIES, WEB, Answer(("10.96.0.1",)), id="a Service's name stays its own"),
    pytest.param(ENTRIES, "foo.svc.cluster.local", Answer(), id="and so do the names above it"),
    pytest.param(ENTRIES, "new.foo.svc.cluster.local", BOTH, id="what no Service has is free"),
    pytest.param(
        Records([service(clusterIP="None")], [], [entry(WEB, addresses=["192.0.2.1"])]),
        WEB,
        Answer(),
        id="a headless Service without pods keeps its name too",
    ),
    pytest.param(
        Records([], [], [entry("a", addresses=["192.0.2.0/24", "::1"])]),
        "a",
        None,
        id="networks and IPv6 are no answers",
    ),
    pytest.param(Records([], [], [entry("a")]), "a", None, id="no address, no name"),
    pytest.param(
        Records(
            [],
            [],
            [
                entry("a", name="2", addresses=["192.0.2.2"]),
                entry("a", name="0", addresses=["192.0.2.0"], exportTo=["."]),
                entry("a", name="1", addresses=["192.0.2.1"], exportTo=["*"]),
            ],
        ),
        "a",
        Answer(("192.0.2.1",)),
        id="the oldest that everybody sees",
    ),
    pytest.param(
        Records([], [], [{"metadata": {"name": "x"}, "spec": {"hosts": "a"}}]),
        "a",
        None,
        id="an entry that is none",
    ),
]


@pytest.mark.parametrize(("records", "name", "answer"), HOSTS)
def test_host_of_a_service_entry(records: Records, name: str, answer: Answer | None) -> None:
    assert Records.of(records.names).lookup(name) == answer


def test_addresses_that_are_none_are_left_out() -> None:
    slices = [endpoint_slice(endpoint("not an address"), ONE, endpoint("::1"), ONE)]

    assert Records([service(clusterIP="None")], slices).lookup(WEB) == Answer(("10.244.0.2",))
    assert Records([service(clusterIP="fd00::1")]).lookup(WEB) == Answer()


def test_a_pod_of_a_stateful_set_is_known_by_its_own_name() -> None:
    web = stateful_set()
    pod = new_pod({**web, "metadata": web["metadata"] | {"uid": "1"}}, 3, web["spec"]["template"],
                  revision="web-1")  # fmt: skip
    pod["metadata"]["uid"] = "2"
    pod["status"] = {"podIP": "10.244.0.7"}
    headless = service_of_pods(ports=[{"name": "http", "port": 80}])
    headless["metadata"]["uid"] = "3"
    headless["spec"]["clusterIP"] = "None"
    full = "web.shop.svc.cluster.local"

    def answer(name: str, **spec: Any) -> Answer | None:
        asked = {**headless, "spec": headless["spec"] | spec}
        return Records([asked], endpoint_slices(asked, [pod])).lookup(f"{name}{full}")

    assert answer("web-3.") is None, "not ready, and nobody asked for those"
    assert answer("web-3.", publishNotReadyAddresses=True) == Answer(("10.244.0.7",))
    pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert answer("web-3.") == answer("") == Answer(("10.244.0.7",))
    assert answer("_http._tcp.") == Answer(targets=(Target(f"web-3.{full}", 80),))


def test_an_empty_cluster_has_its_zones() -> None:
    assert Records().lookup("svc.cluster.local") == Answer()
