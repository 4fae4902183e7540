"""What the API would say about a manifest."""

import pytest

from mutua.analysis.schema import is_refused, judge
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
