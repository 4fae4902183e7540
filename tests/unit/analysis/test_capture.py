"""Ports under STRICT that the sidecar does not see, or that only the pod's address leads to."""

import pytest

from mutua.analysis import capture
from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import by_resource, deployment, namespace, peer_authentication, service

SERVED = service("shop", "web", {"name": "http", "port": 8000, "targetPort": 80})
TRAFFIC = "traffic.sidecar.istio.io/"

CASES = [
    # mode, annotations, what is found
    ("STRICT", {}, ["MUT0108: 9090"]),
    ("PERMISSIVE", {}, []),
    ("STRICT", {"excludeInboundPorts": "9090"}, ["MUT0107: 9090"]),
    ("STRICT", {"excludeInboundPorts": "80,9090"}, ["MUT0107: 80 and 9090"]),
    ("STRICT", {"includeInboundPorts": "80"}, ["MUT0107: 9090"]),
    ("STRICT", {"includeInboundPorts": ""}, ["MUT0107: 80 and 9090"]),
    ("STRICT", {"includeInboundPorts": "*"}, ["MUT0108: 9090"]),
]


@pytest.mark.parametrize(("mode", "given", "expected"), CASES)
def test_what_is_found(mode, given, expected) -> None:
    annotations = {TRAFFIC + name: value for name, value in given.items()}
    web = deployment("shop", "web", 80, 9090, annotations=annotations)
    policy = peer_authentication("shop", mode)

    found = analyze(Mesh(by_resource(namespace("shop"), web, SERVED, policy)), [capture.analyze])

    shown = [f"{one.code.code}: {_ports(one.text)}" for one in found]
    assert shown == expected
    assert all(str(one.related[0]) == "PeerAuthentication shop/default" for one in found)


def _ports(text: str) -> str:
    return text.partition("port ")[2].replace(":", " is").partition(" is")[0]


def test_a_client_that_serves_nothing_is_not_spoken_about() -> None:
    client = deployment("shop", "client")
    policy = peer_authentication("shop", "STRICT")

    assert analyze(Mesh(by_resource(namespace("shop"), client, policy))) == []
