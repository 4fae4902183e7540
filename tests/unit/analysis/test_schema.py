"""What the API would say about a manifest."""

import pytest

from mutua.analysis.mesh import Mesh
from mutua.analysis.schema import analyze, is_refused, judge
from mutua.api.object import CONFIG_MAPS
from mutua.testing.mesh import deployment, peer_authentication


def unknown_kind():
    return {"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "a", "namespace": "shop"}}


def misspelt():
    return peer_authentication("shop", "STRICT") | {"spec": {"mtsl": {}}}


def warned():
    return peer_authentication("shop", "STRICT", selector={})


CASES = [
    (peer_authentication("shop", "STRICT"), []),
    (deployment("shop", "web", 80), []),
    (unknown_kind(), [("IST0106", "", 'no matches for kind "Gadget" in version "v1"')]),
    (
        peer_authentication("shop", "STRIC"),
        [("IST0106", "spec.mtls.mode", 'spec.mtls.mode: Unsupported value: "STRIC"')],
    ),
    (misspelt(), [("IST0106", "spec.mtsl", 'unknown field "spec.mtsl"')]),
    (warned(), [("IST0133", "spec.selector", "spec.selector: has no labels")]),
]


@pytest.mark.parametrize(("obj", "expected"), CASES)
def test_what_is_said(obj, expected) -> None:
    found = judge(obj)

    assert [(one.code.code, one.path) for one in found] == [one[:2] for one in expected]
    assert all(
        one.text.startswith(start) for one, (_, _, start) in zip(found, expected, strict=True)
    )
    assert is_refused(found) is any(code == "IST0106" for code, _, _ in expected)


def config_map(name: str, text: str):
    metadata = {"name": name, "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": text}}


@pytest.mark.parametrize(
    ("stored", "codes"),
    [
        (config_map("istio", "rootNamespace: mesh-cfg"), []),
        (config_map("istio", "nonsense: 1"), ["IST0106"]),
        (config_map("other", "nonsense: 1"), []),
    ],
)
def test_a_stored_mesh_config_that_the_mesh_does_not_follow_is_named(stored, codes) -> None:
    found = list(analyze(Mesh({CONFIG_MAPS: [stored]})))

    assert [one.code.code for one in found] == codes
    assert all(str(one.origin) == "ConfigMap istio-system/istio" for one in found)
