"""Why a call was not mutual TLS, one row per reason, and what helps."""

from typing import Any

import pytest

from mutua.api.object import NAMESPACES, PODS, Object
from mutua.controlplane.ledger.cause import Call, Finding, Reason, World, cause
from mutua.controlplane.ledger.ledger import Key
from mutua.controlplane.ledger.party import Party, owner_of
from mutua.controlplane.ledger.remedy import remedy
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.testing.mesh import (
    by_resource,
    destination_rule,
    endpoint_slice,
    namespace,
    peer_authentication,
    pod,
    service,
)

WEB = pod("shop", "web", "10.244.0.2")
HTTP = {"name": "http", "port": 80, "targetPort": 8080}
SERVICE = service("shop", "web", HTTP, address="10.96.0.9")
HOST = "web.shop.svc.cluster.local"
SERVER = Party("Deployment", "shop", "web")


def caller(*, meshed: bool = True, at: str = "shop", **annotations: str) -> Object:
    """Return a pod of Deployment `client`."""
    made = pod(at, "client-5d4c-x", "10.244.0.7", meshed=meshed)
    made["metadata"] |= {
        "annotations": {f"traffic.sidecar.istio.io/{k}": v for k, v in annotations.items()},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "client-5d4c", "controller": True}],
    }
    made["metadata"]["labels"]["pod-template-hash"] = "5d4c"
    return made


def find(
    client: Object | None,
    *more: Object,
    host: str = "",
    settings: MeshSettings | None = None,
    namespaces: tuple[Object, ...] = (namespace("shop"),),
) -> Finding:
    pods = [WEB, *([client] if client else [])]
    known = by_resource(SERVICE, endpoint_slice(SERVICE, [WEB]), *pods, *namespaces, *more)
    world = World(
        mesh=build_snapshot(known, settings),
        pods={one["metadata"]["uid"]: one for one in known[PODS]},
        namespaces={one["metadata"]["name"]: one for one in known.get(NAMESPACES, [])},
    )
    return cause(world, client, Call(servers=("shop-web",), port=8080, host=host))


def told(client: Object | None, found: Finding) -> str:
    party = owner_of(client) if client else Party("Address", "", "10.0.0.1")
    return remedy(found, Key(SERVER, 8080, party), client)


OFF = {"tls": {"mode": "DISABLE"}}

CASES: dict[str, tuple[dict[str, Any], Reason, str]] = {
    # what the mesh is: (arguments of `find`), the reason, part of the remedy
    "an address that is no pod": ({"client": None}, Reason.NOT_A_POD, "mutua run"),
    "nothing asks for a sidecar": (
        {"client": caller(meshed=False), "namespaces": (namespace("shop", None),)},
        Reason.NO_SIDECAR,
        '{"metadata":{"labels":{"sidecar.istio.io/inject":"true"}}}',
    ),
    "the namespace is disabled": (
        {"client": caller(meshed=False), "namespaces": (namespace("shop", "disabled"),)},
        Reason.NO_SIDECAR,
        "kubectl label namespace shop istio-injection=enabled --overwrite",
    ),
    "it is older than the label": (
        {"client": caller(meshed=False)},
        Reason.NO_SIDECAR,
        "restart it: kubectl rollout restart deployment/client -n shop",
    ),
    "its Service's port is excluded": (
        {"client": caller(excludeOutboundPorts="80,443")},
        Reason.EXCLUDED_PORT,
        '"traffic.sidecar.istio.io/excludeOutboundPorts":"443"',
    ),
    "the pod's port is excluded": (
        {"client": caller(excludeOutboundPorts="8080"), "host": "10.244.0.2:8080"},
        Reason.EXCLUDED_PORT,
        '"traffic.sidecar.istio.io/excludeOutboundPorts":null',
    ),
    "its Service's address is excluded": (
        {"client": caller(excludeOutboundIPRanges="10.96.0.0/12")},
        Reason.EXCLUDED_ADDRESS,
        '"traffic.sidecar.istio.io/excludeOutboundIPRanges":null',
    ),
    "only other addresses are included": (
        {"client": caller(includeOutboundIPRanges="192.168.0.0/16")},
        Reason.EXCLUDED_ADDRESS,
        "add 10.96.0.9",
    ),
    "a rule says DISABLE": (
        {"client": caller(), "more": [destination_rule("shop", "web", OFF)]},
        Reason.DESTINATION_RULE,
        "kubectl patch destinationrule rule -n shop",
    ),
    "a rule for all hosts says DISABLE": (
        {"client": caller(), "more": [destination_rule("shop", "*.local", OFF)]},
        Reason.DESTINATION_RULE,
        "kubectl edit destinationrule rule -n shop",
    ),
    "a rule says SIMPLE": (
        {
            "client": caller(),
            "more": [destination_rule("shop", "web", {"tls": {"mode": "SIMPLE"}})],
        },
        Reason.DESTINATION_RULE,
        "ISTIO_MUTUAL",
    ),
    "the server's namespace is DISABLE": (
        {"client": caller(), "more": [peer_authentication("shop", "DISABLE")]},
        Reason.MODE_DISABLED,
        "kubectl edit peerauthentication default -n shop",
    ),
    "automatic mTLS is off": (
        {"client": caller(), "settings": MeshSettings(enable_auto_mtls=False)},
        Reason.AUTO_MTLS_OFF,
        "enableAutoMtls",
    ),
    "nothing is in the way, so it dialled the pod": (
        {"client": caller()},
        Reason.POD_ADDRESS,
        "by its name",
    ),
    "it says that it dialled the pod, which a rule does not touch": (
        {
            "client": caller(),
            "host": "10.244.0.2:8080",
            "more": [destination_rule("shop", "web", OFF)],
        },
        Reason.POD_ADDRESS,
        "by its name",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_reason_is_found_and_the_remedy_fits(case: str) -> None:
    arguments, reason, helps = CASES[case]
    client, more = arguments["client"], arguments.get("more", [])
    rest = {name: v for name, v in arguments.items() if name not in {"client", "more"}}

    found = find(client, *more, **rest)

    assert found.reason is reason, found
    assert helps in told(client, found)


def test_the_object_that_decides_is_named() -> None:
    found = find(caller(), destination_rule("shop", "web", OFF, name="legacy"))

    assert found.object == "DestinationRule shop/legacy"
    assert "legacy" in found.message


def test_a_headless_service_with_one_endpoint_without_sidecar_is_plaintext_to_all() -> None:
    plain = pod("shop", "old", "10.244.0.3", meshed=False, labels={"app": "web"})
    heads = service("shop", "heads", {"name": "tcp", "port": 8080}, address="None")
    heads["spec"]["selector"] = {"app": "web"}
    client = caller()
    known = by_resource(heads, endpoint_slice(heads, [WEB, plain]), WEB, plain, client)
    world = World(mesh=build_snapshot(known), pods={}, namespaces={})

    found = cause(world, client, Call(servers=("shop-web",), port=8080))

    assert found.reason is Reason.NOT_ALL_SIDECARS


@pytest.mark.parametrize("host", ["web", "web.shop", "web.shop.svc", HOST, f"{HOST}:80", "WEB:80"])
def test_a_host_header_tells_which_service_was_meant(host: str) -> None:
    other = service("shop", "other", HTTP, address="10.96.0.8", created="2020-01-01T00:00:00Z")
    off = destination_rule("shop", "other", OFF)

    found = find(caller(), other, endpoint_slice(other, [WEB]), off, host=host)

    assert found.reason is Reason.POD_ADDRESS  # `other` would have been in plaintext
    assert find(caller(), other, endpoint_slice(other, [WEB]), off).object == (
        "DestinationRule shop/rule"
    )


def test_a_bare_pod_is_told_to_be_made_again() -> None:
    client = pod("shop", "client", "10.244.0.7", meshed=False)
    found = find(client, namespaces=(namespace("shop", None),))

    assert "kubectl delete pod/client -n shop" in told(client, found)


def test_a_pod_that_has_ended_is_judged_as_it_was() -> None:
    client = caller()
    client["status"]["phase"] = "Succeeded"

    assert find(client, destination_rule("shop", "web", OFF)).reason is Reason.DESTINATION_RULE
