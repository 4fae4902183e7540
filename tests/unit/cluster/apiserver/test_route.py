import pytest

from mutua.api.object import Resource
from mutua.cluster.apiserver.route import parse_path

POLICY = Resource("security.istio.io", "peerauthentications")
NS = Resource("", "namespaces")

# fmt: off
PATHS = [
    ("/api/v1/pods",                                   ("pods", None, "", "")),
    ("/api/v1/namespaces/shop/pods",                   ("pods", "shop", "", "")),
    ("/api/v1/namespaces/shop/pods/p",                 ("pods", "shop", "p", "")),
    ("/api/v1/namespaces/shop/pods/p/log",             ("pods", "shop", "p", "log")),
    ("/api/v1/namespaces",                             ("namespaces", None, "", "")),
    ("/api/v1/namespaces/shop",                        ("namespaces", None, "shop", "")),
    ("/api/v1/namespaces/shop/status",                 ("namespaces", None, "shop", "status")),
    ("/api/v1/nodes/n",                                ("nodes", None, "n", "")),
    ("/apis/apps/v1/namespaces/x/deployments/d/scale", ("deployments.apps", "x", "d", "scale")),
    ("/apis/security.istio.io/v1beta1/peerauthentications", (str(POLICY), None, "", "")),
]
NOWHERE = [
    "/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/apps/v9/deployments",
    "/api/v1/pods/p",  # namespaced, without a namespace
    "/api/v1/namespaces/shop/nodes", "/api/v1/namespaces/shop/pods/p/log/x",
    "/api/v1/namespaces/shop/pods//log", "/api/v1/namespaces/shop/pods/p/attach",
]
# fmt: on


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_paths_address_objects(path: str, expected: tuple[str, str | None, str, str]) -> None:
    target = parse_path(path)

    assert target is not None
    found = (str(target.kind.resource), target.namespace, target.name, target.subresource)
    assert found == expected


@pytest.mark.parametrize("path", NOWHERE)
def test_other_paths_address_nothing(path: str) -> None:
    assert parse_path(path) is None
