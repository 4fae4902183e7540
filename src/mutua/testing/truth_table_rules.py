"""The truth table of DestinationRules: lookup, merge, and what is said to a port of a subset.

Specification: istio-semantics sections 6.3 to 6.5.  Every row asks about calls from pod `c/client`,
labelled `app: client`, to Service `web` in namespace `s`, unless it names another client namespace.
"""

# ruff: noqa: E501 - a table

from dataclasses import dataclass
from typing import Any, Final

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PODS,
    SERVICES,
    Object,
)
from mutua.model.build import build_snapshot
from mutua.model.snapshot import MeshSnapshot
from mutua.testing.mesh import destination_rule, endpoint_slice, pod, service
from mutua.testing.truth_table import ROOT

HOST: Final = "web.s.svc.cluster.local"
SERVER: Final = "10.0.0.2"
PORTS: Final = (80, 8080, 9090)


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: What it is about.
        rules: What is in force.
        tls: The mode that is asked for; "" for none, None when the subset does not exist.
        port: The Service's port.
        subset: "" for none.
        client: The client's namespace.
        flag: The mode as endpoints read it, where it differs.
    """

    name: str
    rules: tuple[Object, ...]
    tls: str | None
    port: int = 80
    subset: str = ""
    client: str = "c"
    flag: str | None = None

    def mesh(self) -> MeshSnapshot:
        """Return the mesh that the row is about."""
        labels = {"app": "web", "version": "v1"}
        web = pod("s", "web", SERVER, labels=labels)
        owner = service("s", "web", *({"name": f"http-{p}", "port": p} for p in PORTS))
        return build_snapshot(
            {
                PODS: [pod(self.client, "client", "10.0.0.1"), web],
                SERVICES: [owner],
                ENDPOINT_SLICES: [endpoint_slice(owner, [web])],
                DESTINATION_RULES: self.rules,
            }
        )


def rule(
    namespace: str,
    mode: str | None = None,
    *,
    host: str = HOST,
    at: int = 0,
    name: str = "r",
    to: list[str] | None = None,
    **spec: Any,
) -> Object:
    """Return a rule created `at` seconds after some instant, exported `to` namespaces."""
    exported = {} if to is None else {"exportTo": to}
    created = f"2026-01-01T00:00:{at:02}Z"
    policy = {"tls": {"mode": mode}} if mode else None
    return destination_rule(
        namespace, host, policy, name=f"{name}{at}", created=created, **exported, **spec
    )


def subset(name: str = "v1", mode: str | None = None, **policy: Any) -> dict[str, Any]:
    """Return a subset; a mode gives it a policy of its own."""
    tls = {} if mode is None else {"tls": {"mode": mode}}
    own = {"trafficPolicy": {**tls, **policy}} if tls or policy else {}
    return {"name": name, "labels": {"version": name}, **own}


def top(mode: str | None, **ports: str | None) -> dict[str, Any]:
    """Return a `trafficPolicy` with a mode, and modes for ports p80, p8080; None for no tls."""
    return {"trafficPolicy": _policy(mode, **ports)}


def _policy(mode: str | None, **ports: str | None) -> dict[str, Any]:
    entries = [
        {"port": {"number": int(port[1:])}, **({"tls": {"mode": own}} if own else POOL)}
        for port, own in ports.items()
    ]
    tls = {"tls": {"mode": mode}} if mode else {}
    return {**tls, **({"portLevelSettings": entries} if entries else {})}


POOL: Final[dict[str, Any]] = {"connectionPool": {"tcp": {"maxConnections": 1}}}
ROUND: Final[dict[str, Any]] = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
CLIENTS: Final[dict[str, Any]] = {"workloadSelector": {"matchLabels": {"app": "client"}}}
OTHERS: Final[dict[str, Any]] = {"workloadSelector": {"matchLabels": {"app": "somebody"}}}
IM, OFF, SIMPLE = "ISTIO_MUTUAL", "DISABLE", "SIMPLE"

# fmt: off
TABLE: Final = (
    # 6.3 lookup
    Row("no rule",                                     (), ""),
    Row("another host",                                (rule("c", OFF, host="other.s.svc.cluster.local"),), ""),
    Row("a short name means the rule's own namespace", (rule("c", OFF, host="web"),), ""),
    Row("a short name next to the server",             (rule("s", OFF, host="web"),), OFF),
    Row("web.s is no full name",                       (rule("c", OFF, host="web.s"),), ""),
    Row("the client's namespace beats the server's",   (rule("c", OFF), rule("s", IM)), OFF),
    Row("even with a wildcard",                        (rule("c", OFF, host="*.local"), rule("s", IM)), OFF),
    Row("and without tls",                             (rule("c", host="*.local", **top(None), subsets=[subset()]), rule("s", IM)), ""),
    Row("whatever it is exported to",                  (rule("c", OFF, to=["."]), rule("s", IM)), OFF),
    Row("the server's beats the root's",               (rule("s", IM), rule(ROOT, OFF)), IM),
    Row("the root's is last",                          (rule(ROOT, OFF, host="*"),), OFF),
    Row("a third namespace says nothing",              (rule("t", OFF),), ""),
    Row("the server's private rule",                   (rule("s", OFF, to=["."]), rule(ROOT, IM)), IM),
    Row("the server's rule exported by name",          (rule("s", OFF, to=["c"]), rule(ROOT, IM)), OFF),
    Row("the server's rule exported elsewhere",        (rule("s", OFF, to=["d"]), rule(ROOT, IM)), IM),
    Row("the server's exported wildcard",              (rule("s", OFF, host="*.local"), rule("s", IM, at=1, to=["."])), OFF),
    Row("the root's private rule",                     (rule(ROOT, OFF, to=["."]),), ""),
    Row("a client in the root: the server's first",    (rule(ROOT, OFF), rule("s", IM)), IM, client=ROOT),
    Row("a client in the root: private ones before",   (rule(ROOT, OFF, to=["."]), rule("s", IM)), OFF, client=ROOT),
    Row("a client in the root: the root's last",       (rule(ROOT, OFF, host="*"),), OFF, client=ROOT),
    Row("a client next to the server",                 (rule("s", OFF, to=["."]), rule(ROOT, IM)), OFF, client="s"),
    Row("exact beats wildcard",                        (rule("s", OFF, host="*.s.svc.cluster.local"), rule("s", IM, at=1)), IM),
    Row("the longest wildcard",                        (rule("s", OFF, host="*.local"), rule("s", IM, host="*.s.svc.cluster.local", at=1), rule("s", OFF, host="*", at=2)), IM),
    # 6.4 merge
    Row("the oldest supplies the policy",              (rule("s", IM, at=1), rule("s", OFF)), OFF),
    Row("ties go by name",                             (rule("s", IM, name="b"), rule("s", OFF, name="a")), OFF),
    Row("the next, when it has none",                  (rule("s", subsets=[subset()]), rule("s", OFF, at=1)), OFF),
    Row("not when it has one without tls",             (rule("s", trafficPolicy=ROUND), rule("s", OFF, at=1)), ""),
    Row("subsets are united",                          (rule("s", OFF), rule("s", at=1, subsets=[subset(mode=IM)])), IM, 80, "v1"),
    Row("the oldest supplies a subset",                (rule("s", subsets=[subset(mode=OFF)]), rule("s", at=1, subsets=[subset(mode=IM)])), OFF, 80, "v1"),
    Row("a subset under the other's policy",           (rule("s", subsets=[subset()]), rule("s", OFF, at=1)), OFF, 80, "v1"),
    Row("short and full name are one host",            (rule("s", OFF, host="web"), rule("s", at=1, subsets=[subset()])), OFF, 80, "v1"),
    Row("other exports are not merged",                (rule("s", OFF, to=["c", "d"]), rule("s", at=1, to=["c"], subsets=[subset()])), None, 80, "v1"),
    Row("a wider export adds to an older rule",        (rule("s", OFF, to=["c"]), rule("s", at=1, to=["c", "d"], subsets=[subset()])), OFF, 80, "v1"),
    Row("and stands on its own for others",            (rule("s", OFF, to=["c"]), rule("s", at=1, to=["c", "d"], subsets=[subset(mode=IM)])), IM, 80, "v1", "d"),
    Row("without the older one's policy",              (rule("s", OFF, to=["c"]), rule("s", at=1, to=["c", "d"], subsets=[subset()])), "", 80, "v1", "d"),
    Row("namespaces are not merged",                   (rule("c", OFF), rule("s", subsets=[subset()])), None, 80, "v1"),
    Row("hosts are not merged",                        (rule("s", OFF, host="*.local"), rule("s", at=1, subsets=[subset()])), ""),
    Row("a selector that means the client",            (rule("c", OFF), rule("c", IM, at=1, **CLIENTS)), IM),
    Row("a selector that means others",                (rule("c", OFF, at=1), rule("c", IM, **OTHERS)), OFF),
    Row("which leaves this one without, even if",      (rule("c", IM, **OTHERS), rule("c", OFF, at=1, host="*.local"), rule(ROOT, OFF, host="*")), ""),
    Row("a selector counts in its own namespace only", (rule("s", OFF, **CLIENTS), rule(ROOT, IM)), IM),
    Row("equal selectors are merged",                  (rule("c", OFF, **CLIENTS), rule("c", at=1, subsets=[subset()], **CLIENTS)), OFF, 80, "v1"),
    Row("unequal ones are not",                        (rule("c", OFF, **CLIENTS), rule("c", at=1, subsets=[subset()])), None, 80, "v1"),
    # 6.5 port and subset
    Row("port DISABLE",                                (rule("s", **top(IM, p8080=OFF)),), OFF, 8080),
    Row("another port",                                (rule("s", **top(IM, p8080=OFF)),), IM, 9090),
    Row("a port's entry replaces wholesale",           (rule("s", **top(IM, p8080=None)),), "", 8080, flag=IM),
    Row("the same, nothing above",                     (rule("s", **top(None, p8080=IM)),), "", 9090),
    Row("the same, DISABLE above",                     (rule("s", **top(OFF, p8080=None)),), "", 8080, flag=OFF),
    Row("a subset's tls",                              (rule("s", OFF, subsets=[subset(mode=IM)]),), IM, 80, "v1"),
    Row("not for the Service as a whole",              (rule("s", OFF, subsets=[subset(mode=IM)]),), OFF),
    Row("a subset's policy without tls",               (rule("s", OFF, subsets=[subset(**ROUND)]),), OFF, 80, "v1"),
    Row("a subset's port entry without tls",           (rule("s", **top(None, p80=OFF), subsets=[subset(portLevelSettings=[{"port": {"number": 80}, **ROUND}])]),), "", 80, "v1", flag=OFF),
    Row("the same, another port",                      (rule("s", OFF, subsets=[subset(portLevelSettings=[{"port": {"number": 80}, **ROUND}])]),), OFF, 8080, "v1"),
    Row("a subset's port entry with tls",              (rule("s", OFF, subsets=[subset(mode=SIMPLE, portLevelSettings=[{"port": {"number": 80}, "tls": {"mode": IM}}])]),), IM, 80, "v1"),
    Row("a subset's port entry hides the subset's tls", (rule("s", subsets=[subset(mode=IM, portLevelSettings=[{"port": {"number": 80}, **ROUND}])]),), "", 80, "v1", flag=IM),
    Row("a subset's tls over the rule's port entry",   (rule("s", **top(OFF, p80=OFF), subsets=[subset(mode=IM)]),), IM, 80, "v1"),
    Row("a subset without policy",                     (rule("s", IM, subsets=[subset()]),), IM, 80, "v1"),
    Row("a subset nobody defines",                     (rule("s", IM),), None, 80, "v9"),
    Row("an empty tls block",                          (rule("s", trafficPolicy={"tls": {}}),), OFF),
)
# fmt: on
"""Row by row."""
