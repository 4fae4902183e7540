"""AuthorizationPolicies that speak of what does not exist."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import by_resource, namespace


def policy(*names: str):
    sources = [{"source": {"namespaces": ["shop"]}}, {"source": {"namespaces": list(names)}}]
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"namespace": "shop", "name": "callers"},
        "spec": {"rules": [{"from": sources}]},
    }


def found(*names: str):
    mesh = Mesh(by_resource(namespace("shop"), namespace("shop-eu"), policy(*names)))
    return [one for one in analyze(mesh) if one.code.code == "IST0101"]


def test_a_namespace_that_does_not_exist_is_named() -> None:
    (one,) = found("shop-eu", "shpo")

    assert str(one.origin) == "AuthorizationPolicy shop/callers"
    assert one.path == "spec.rules[0].from[1].source.namespaces[1]"
    assert one.text == "no namespace is called 'shpo', so no caller is meant"


@pytest.mark.parametrize("name", ["shop-eu", "*", "shop*", "*-eu"])
def test_names_and_patterns_of_some_that_do_exist_are_fine(name) -> None:
    assert found(name) == []


@pytest.mark.parametrize("name", ["*-us", "store*", "sho?", "[s]hop"])
def test_a_pattern_of_none_is_named(name) -> None:
    assert len(found(name)) == 1


def test_manifests_without_namespaces_do_not_tell_which_there_are() -> None:
    found = analyze(Mesh(by_resource(policy("elsewhere"))))

    assert "IST0101" not in {one.code.code for one in found}
