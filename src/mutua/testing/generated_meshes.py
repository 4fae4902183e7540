"""Meshes that hypothesis makes up: small, and full of what policies could disagree about.

Three namespaces with a client each (one without sidecar), servers of all kinds behind Services and
ServiceEntries that share target ports, and policies of every level whose creation times collide.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
    Object,
    Resource,
)
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.testing.mesh import (
    destination_rule,
    endpoint_slice,
    peer_authentication,
    pod,
    service,
    service_entry,
)

ROOT: Final = "istio-system"
NAMESPACES: Final = ("shop", "bank", ROOT)
APPS: Final = ("web", "api")
SUBSETS: Final = ("v1", "v2")

PORTS: Final = (
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "tcp", "port": 81, "targetPort": 8081},
    {"name": "any", "port": 82, "targetPort": 8080},
    {"name": "grpc", "port": 83, "targetPort": 8083},
    {"name": "https", "port": 8443, "targetPort": 8443},
)
TARGETS: Final = (8080, 8081, 8083, 8443)
UNDECLARED: Final = 7000
"""A container port that no Service ever exposes."""

POLICY_PORTS: Final = (*TARGETS, UNDECLARED, 80)
"""What policies name: container ports, and one that is only a Service's."""

RULE_PORTS: Final = (80, 81, 443)
"""What rules name."""

ENTRY_PORTS: Final = (
    {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080},
    {"number": 81, "name": "tcp", "protocol": "TCP", "targetPort": 8081},
    {"number": 443, "name": "tls", "protocol": "TLS"},
    {"number": 80, "name": "tls", "protocol": "TLS"},
    {"number": 80, "name": "any"},
    {"number": 80, "name": "tcp", "protocol": "TCP"},
    {"number": 81, "name": "https", "protocol": "HTTPS"},
    {"number": 81, "name": "any"},
    {"number": 443, "name": "any"},
)
"""One number means several things: their entries share a listener, and must not mix."""

WILDCARDS: Final = ("*", "*.local", "*.shop.svc.cluster.local", "*.example.com")
NETWORKS: Final = ((), (), ("10.7.0.0/16",), ("10.7.1.0/24",), ("10.7.1.9",))
HOSTS: Final = ("api.example.com", "db.example.com", "*.example.org")

modes = st.sampled_from(("STRICT", "PERMISSIVE", "DISABLE", "UNSET"))
times = st.integers(0, 2).map(lambda second: f"2026-01-01T00:00:0{second}Z")
namespaces = st.sampled_from(NAMESPACES)
exports: st.SearchStrategy[list[str]] = st.sampled_from(
    (["*"], ["."], ["shop"], ["bank"], ["shop", "bank"])
)


def generated_meshes() -> st.SearchStrategy[MeshSnapshot]:
    """Return meshes."""
    return generated_objects().map(lambda drawn: build_snapshot(*drawn))


@st.composite
def generated_objects(draw: st.DrawFn) -> tuple[dict[Resource, list[Object]], MeshSettings]:
    """Draw the objects and the settings of a mesh.

    Few Services and many rules for them: rules disagree where they meet.
    """
    places = draw(_some(tuple(itertools.product(NAMESPACES, APPS)), 2, least=1))
    entries = draw(_some(HOSTS, 3))
    hosts = [f"{name}.{namespace}.svc.cluster.local" for namespace, name in places]
    objects: dict[Resource, list[Object]] = {
        PODS: [_client(draw, number, namespace) for number, namespace in enumerate(NAMESPACES)],
        SERVICES: [],
        ENDPOINT_SLICES: [],
        SERVICE_ENTRIES: [_entry(draw, host) for host in entries],
        PEER_AUTHENTICATIONS: [_policy(draw, number) for number in range(draw(st.integers(0, 4)))],
        DESTINATION_RULES: [
            _rule(draw, number, [*hosts, *entries]) for number in range(draw(st.integers(0, 7)))
        ],
    }
    objects[PODS] += [_server(draw, number) for number in range(draw(st.integers(1, 5)))]
    for number, (namespace, name) in enumerate(places):
        owner, behind = _service(draw, number, namespace, name), []
        for one in objects[PODS]:
            meta = one["metadata"]
            if meta["namespace"] == namespace and meta["labels"]["app"] == name:
                behind.append(one)
        objects[SERVICES].append(owner)
        for index, one in enumerate(behind):
            ready = draw(st.integers(0, 4)) > 0
            piece = endpoint_slice(owner, [one], ready=ready, name=str(index))
            objects[ENDPOINT_SLICES].append(piece)
    return objects, draw(_settings())


def _some(values: tuple[Any, ...], most: int, least: int = 0) -> st.SearchStrategy[list[Any]]:
    numbers = st.lists(st.integers(0, len(values) - 1), min_size=least, max_size=most, unique=True)
    return numbers.map(lambda chosen: [values[number] for number in chosen])


@st.composite
def _settings(draw: st.DrawFn) -> MeshSettings:
    return MeshSettings(
        enable_auto_mtls=draw(st.integers(0, 4)) > 0,
        root_namespace=draw(st.sampled_from((ROOT, ROOT, "bank"))),
        trust_domain_aliases=draw(st.sampled_from(((), ("old.local",)))),
        allow_any_outbound=draw(st.booleans()),
        detection_timeout=draw(st.sampled_from((0.0, 0.0, 0.25))),
        default_service_export_to=draw(st.sampled_from((("*",), ("*",), (".",)))),
        default_destination_rule_export_to=draw(st.sampled_from((("*",), ("*",), (".",)))),
    )


def _client(draw: st.DrawFn, number: int, namespace: str) -> Object:
    labels = {"tier": "a"} if draw(st.booleans()) else {}
    return pod(namespace, "client", f"10.0.1.{number}", labels=labels)


def _server(draw: st.DrawFn, number: int) -> Object:
    labels = {"app": draw(st.sampled_from(APPS)), "version": draw(st.sampled_from(SUBSETS))}
    tls_mode = draw(st.sampled_from(("istio", "istio", "istio", None, "custom")))
    if tls_mode:
        labels["security.istio.io/tlsMode"] = tls_mode
    account = draw(st.sampled_from(APPS))
    made = pod(
        draw(namespaces),
        f"server-{number}",
        f"10.0.2.{number}",
        labels=labels,
        meshed=False,
        serviceAccountName=account,
    )
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return made


def _service(draw: st.DrawFn, number: int, namespace: str, name: str) -> Object:
    ports = [PORTS[0], *draw(_some(PORTS[1:], 2))]
    address = draw(st.sampled_from((f"10.96.0.{number}", f"10.96.0.{number}", "None")))
    made = service(namespace, name, *ports, address=address, created=draw(times))
    annotations = made["metadata"].setdefault("annotations", {})
    if draw(st.integers(0, 4)) == 0:
        annotations["networking.istio.io/exportTo"] = ",".join(draw(exports))
    if draw(st.integers(0, 4)) == 0:
        annotations["alpha.istio.io/kubernetes-serviceaccounts"] = "other"
    return made


def _entry(draw: st.DrawFn, host: str) -> Object:
    resolutions = ("NONE",) if "*" in host else ("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN")
    resolution = draw(st.sampled_from(resolutions))
    spec: dict[str, Any] = {
        "resolution": resolution,
        "location": draw(st.sampled_from(("MESH_EXTERNAL", "MESH_INTERNAL", "MESH_INTERNAL"))),
    }
    if resolution == "STATIC" and draw(st.booleans()):
        spec["workloadSelector"] = {"labels": {"app": draw(st.sampled_from(APPS))}}
    elif resolution != "NONE":
        most = 1 if resolution == "DNS_ROUND_ROBIN" else 3
        count = draw(st.integers(1 if resolution == "STATIC" else 0, most))
        spec["endpoints"] = [_place(draw, host, number) for number in range(count)]
    if draw(st.integers(0, 2)) == 0:
        spec["subjectAltNames"] = draw(st.sampled_from((["x.y"], ["spiffe://td/ns/a/sa/b"])))
    if draw(st.integers(0, 2)) == 0:
        spec["exportTo"] = draw(exports)
    if networks := draw(st.sampled_from(NETWORKS)):
        spec["addresses"] = list(networks)
    drawn = draw(_some(ENTRY_PORTS, 3, least=1))
    ports = list({port["number"]: port for port in drawn}.values())
    return service_entry(draw(namespaces), host, *ports, name=host.replace("*", "any"), **spec)


def _place(draw: st.DrawFn, host: str, number: int) -> dict[str, Any]:
    place: dict[str, Any] = {"address": f"10.0.{3 + HOSTS.index(host)}.{number}"}
    labels = draw(
        st.sampled_from(
            ({}, {"version": "v1"}, {"app": "web", "security.istio.io/tlsMode": "istio"})
        )
    )
    if labels:
        place["labels"] = labels
    if draw(st.booleans()):
        place["serviceAccount"] = draw(st.sampled_from(APPS))
    return place


def _policy(draw: st.DrawFn, number: int, ports: Sequence[int] = POLICY_PORTS) -> Object:
    labels = draw(st.sampled_from((None, None, {"app": "web"}, {"app": "web", "version": "v1"})))
    spec: dict[str, Any] = {} if labels is None else {"selector": {"matchLabels": labels}}
    if labels and draw(st.booleans()):
        named = st.sampled_from([str(port) for port in ports])
        spec["portLevelMtls"] = draw(
            st.dictionaries(named, modes.map(lambda mode: {"mode": mode}), min_size=1, max_size=3)
        )
    return peer_authentication(
        draw(namespaces), draw(modes), name=f"p{number}", created=draw(times), **spec
    )


def _rule(
    draw: st.DrawFn,
    number: int,
    hosts: Sequence[str],
    ports: Sequence[int] = RULE_PORTS,
    tls: Sequence[Mapping[str, Any]] | None = None,
) -> Object:
    made = _RulesOf(draw, ports, TLS if tls is None else tls)
    namespace = draw(namespaces)
    host = draw(st.sampled_from((*hosts, *hosts, *hosts, *APPS, *WILDCARDS)))
    spec: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        spec["workloadSelector"] = {"matchLabels": {"tier": "a"}}
    elif draw(st.booleans()):
        spec["exportTo"] = draw(exports)
    subsets = [made.subset(name) for name in draw(_some(SUBSETS, 2))]
    if subsets:
        spec["subsets"] = subsets
    policy = made.traffic_policy() if draw(st.integers(0, 3)) else None
    return destination_rule(namespace, host, policy, name=f"r{number}", created=draw(times), **spec)


@dataclass(frozen=True, slots=True)
class _RulesOf:
    """Draws parts of a rule.

    Attributes:
        draw: Of the strategy.
        ports: Service ports that entries name.
        tls: What `tls` blocks say.
    """

    draw: st.DrawFn
    ports: Sequence[int]
    tls: Sequence[Mapping[str, Any]]

    def subset(self, name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name, "labels": {"version": name}}
        if self.draw(st.booleans()):
            made["trafficPolicy"] = self.traffic_policy()
        return made

    def traffic_policy(self) -> dict[str, Any]:
        policy = self.settings()
        numbers = self.draw(st.lists(st.sampled_from(self.ports), max_size=2, unique=True))
        if numbers:
            policy["portLevelSettings"] = [
                {"port": {"number": number}, **self.settings()} for number in numbers
            ]
        return policy

    def settings(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if self.draw(st.integers(0, 2)):
            made["tls"] = dict(self.draw(st.sampled_from(self.tls)))
        balancer = self.draw(st.sampled_from((None, None, None, "PASSTHROUGH", "ROUND_ROBIN")))
        if balancer:
            made["loadBalancer"] = {"simple": balancer}
        # Says something, but nothing of TLS.  A limit that is reached would close connections,
        # which no evaluator foresees: HTTP/1.1 of an earlier call stays open and is counted.
        return made or {"connectionPool": {"tcp": {"maxConnections": 1000}}}


TLS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"mode": "DISABLE"},
    {"mode": "ISTIO_MUTUAL"},
    {"mode": "ISTIO_MUTUAL"},
    {"mode": "ISTIO_MUTUAL", "sni": "x.y", "subjectAltNames": ["spiffe://cluster.local/ns/a/sa/b"]},
    {"mode": "SIMPLE"},
    {"mode": "SIMPLE", "sni": "x.y", "subjectAltNames": ["x.y"]},
    {"mode": "SIMPLE", "insecureSkipVerify": True},
    {"mode": "MUTUAL", "clientCertificate": "/cert.pem", "privateKey": "/key.pem"},
)


CALLED_PORTS: Final[tuple[dict[str, Any], ...]] = tuple(
    {"name": f"{kind}-{20000 + 2 * number}", "port": 20000 + 2 * number}
    for number, kind in enumerate(("http", "http", "tcp", "any", "https"))
) + tuple(
    {"name": f"{kind}-{20101 + 2 * number}", "port": 20101 + 2 * number}
    for number, kind in enumerate(("http", "tcp", "any"))
)
"""Ports of meshes that are called for real; behind odd ones the application speaks first."""

CALLED_UNDECLARED: Final = 21000
"""A port of their pods that no Service exposes."""


@st.composite
def called_meshes(draw: st.DrawFn, network: str, tls: Sequence[Mapping[str, Any]]) -> MeshSnapshot:
    """Draw a mesh on loopback addresses, in which every Service has one endpoint.

    Args:
        draw: Of hypothesis.
        network: The first three numbers of its addresses.
        tls: What rules may say; files that they name must exist.
    """
    numbers = [port["port"] for port in CALLED_PORTS]
    hosts = [f"{place}.svc.cluster.local" for place in ("web.shop", "api.bank", "api.shop")]
    labels = draw(st.sampled_from(({"tier": "a"}, {})))
    objects: dict[Resource, list[Object]] = {
        PODS: [
            pod("shop", "web", f"{network}.2", labels={"version": "v1", **labels}),
            pod("bank", "api", f"{network}.3", labels={"version": "v1"}),
            pod("shop", "api", f"{network}.4", meshed=False, labels={"version": "v1"}),
        ],
        SERVICES: [],
        ENDPOINT_SLICES: [],
        PEER_AUTHENTICATIONS: [
            _policy(draw, number, [*numbers, CALLED_UNDECLARED])
            for number in range(draw(st.integers(1, 4)))
        ],
        DESTINATION_RULES: [
            _rule(draw, number, hosts, numbers, tls) for number in range(draw(st.integers(1, 7)))
        ],
    }
    for number, one in enumerate(objects[PODS]):
        meta = one["metadata"]
        for extra in range(draw(st.integers(1, 2))):
            name = meta["name"] + extra * "-too"
            address = draw(st.sampled_from((f"{network}.{200 + 2 * number + extra}", "None")))
            ports = draw(_some(CALLED_PORTS, len(CALLED_PORTS), least=4))
            owner = service(meta["namespace"], name, *ports, address=address, created=draw(times))
            owner["spec"]["selector"] = {"app": meta["name"]}
            if draw(st.integers(0, 5)) == 0:
                exported = {"networking.istio.io/exportTo": ",".join(draw(exports))}
                owner["metadata"]["annotations"] = exported
            objects[SERVICES].append(owner)
            objects[ENDPOINT_SLICES].append(endpoint_slice(owner, [one]))
    return build_snapshot(objects, draw(_settings()))
