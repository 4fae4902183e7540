"""Meshes that hypothesis makes up: small, and full of what policies could disagree about.

Three namespaces with a client each (one without sidecar), servers of all kinds behind Services and
ServiceEntries that share target ports, and policies of every level whose creation times collide.
"""

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

ENTRY_PORTS: Final = (
    {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080},
    {"number": 81, "name": "tcp", "protocol": "TCP", "targetPort": 8081},
    {"number": 443, "name": "tls", "protocol": "TLS"},
)
HOSTS: Final = ("api.example.com", "db.example.com", "*.example.org")

modes = st.sampled_from(("STRICT", "PERMISSIVE", "DISABLE", "UNSET"))
times = st.integers(0, 2).map(lambda second: f"2026-01-01T00:00:0{second}Z")
namespaces = st.sampled_from(NAMESPACES)
exports: st.SearchStrategy[list[str]] = st.sampled_from(
    (["*"], ["."], ["shop"], ["bank"], ["shop", "bank"])
)


@st.composite
def generated_meshes(draw: st.DrawFn) -> MeshSnapshot:
    """Draw a mesh."""
    objects: dict[Resource, list[Object]] = {
        PODS: [_client(draw, number, namespace) for number, namespace in enumerate(NAMESPACES)],
        SERVICES: [],
        ENDPOINT_SLICES: [],
        SERVICE_ENTRIES: [_entry(draw, host) for host in draw(_some(HOSTS, 2))],
        PEER_AUTHENTICATIONS: [_policy(draw, number) for number in range(draw(st.integers(0, 4)))],
        DESTINATION_RULES: [_rule(draw, number) for number in range(draw(st.integers(0, 5)))],
    }
    objects[PODS] += [_server(draw, number) for number in range(draw(st.integers(1, 5)))]
    places = st.tuples(namespaces, st.sampled_from(APPS))
    for number, (namespace, name) in enumerate(draw(st.lists(places, max_size=3, unique=True))):
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
    return build_snapshot(objects, draw(_settings()))


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
    ports = draw(_some(PORTS, 3, least=1))
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
    ports = draw(_some(ENTRY_PORTS, 2, least=1))
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


def _policy(draw: st.DrawFn, number: int) -> Object:
    labels = draw(st.sampled_from((None, None, {"app": "web"}, {"app": "web", "version": "v1"})))
    spec: dict[str, Any] = {} if labels is None else {"selector": {"matchLabels": labels}}
    if labels and draw(st.booleans()):
        ports = st.sampled_from([str(port) for port in (*TARGETS, UNDECLARED, 80)])
        spec["portLevelMtls"] = draw(
            st.dictionaries(ports, modes.map(lambda mode: {"mode": mode}), min_size=1, max_size=3)
        )
    return peer_authentication(
        draw(namespaces), draw(modes), name=f"p{number}", created=draw(times), **spec
    )


def _rule(draw: st.DrawFn, number: int) -> Object:
    namespace = draw(namespaces)
    full = [f"{app}.{where}.svc.cluster.local" for app in APPS for where in NAMESPACES]
    wild = ["*", "*.local", "*.shop.svc.cluster.local", "*.example.com", "*.example.org"]
    host = draw(st.sampled_from((*full, *full, *APPS, *wild, *HOSTS[:2])))
    spec: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        spec["workloadSelector"] = {"matchLabels": {"tier": "a"}}
    elif draw(st.booleans()):
        spec["exportTo"] = draw(exports)
    subsets = [_subset(draw, name) for name in draw(_some(SUBSETS, 2))]
    if subsets:
        spec["subsets"] = subsets
    policy = _traffic_policy(draw) if draw(st.integers(0, 3)) else None
    return destination_rule(namespace, host, policy, name=f"r{number}", created=draw(times), **spec)


def _subset(draw: st.DrawFn, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "labels": {"version": name}}
    if draw(st.booleans()):
        made["trafficPolicy"] = _traffic_policy(draw)
    return made


def _traffic_policy(draw: st.DrawFn) -> dict[str, Any]:
    policy = _settings_of_policy(draw)
    numbers = draw(st.lists(st.sampled_from((80, 81, 443)), max_size=2, unique=True))
    if numbers:
        policy["portLevelSettings"] = [
            {"port": {"number": number}, **_settings_of_policy(draw)} for number in numbers
        ]
    return policy


def _settings_of_policy(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if draw(st.integers(0, 2)):
        made["tls"] = dict(draw(st.sampled_from(TLS)))
    balancer = draw(st.sampled_from((None, None, None, "PASSTHROUGH", "ROUND_ROBIN")))
    if balancer:
        made["loadBalancer"] = {"simple": balancer}
    return made or {"connectionPool": {"tcp": {"maxConnections": 1}}}


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
