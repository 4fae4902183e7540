"""ServiceEntries that do not do what their author may think."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import by_resource, namespace, service_entry

HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
LATER = "2026-02-02T00:00:00Z"


def said(*entries):
    found = analyze(Mesh(by_resource(namespace("shop"), *entries)))
    return [one for one in found if one.code.code in {"MUT0116", "IST0177"}]


def inside(resolution: str, *endpoints, **extra):
    spec = {"location": "MESH_INTERNAL", "resolution": resolution, **extra}
    if endpoints:
        spec["endpoints"] = list(endpoints)
    return service_entry("shop", "api.example.com", HTTP, addresses=["10.1.1.1"], **spec)


PLAIN, ACCOUNT = {"address": "10.9.9.9"}, {"address": "10.9.9.8", "serviceAccount": "api"}
LABELLED = {"address": "10.9.9.7", "labels": {"security.istio.io/tlsMode": "istio"}}

CASES = [
    pytest.param(inside("STATIC", ACCOUNT, LABELLED), "", id="endpoints with sidecars"),
    pytest.param(inside("STATIC", PLAIN, ACCOUNT), "plaintext to 10.9.9.9, although", id="without"),
    pytest.param(inside("NONE"), "with resolution NONE they do not know", id="wherever it goes"),
    pytest.param(inside("DNS"), "plaintext to api.example.com, although", id="a name"),
    pytest.param(inside("STATIC", workloadSelector={"labels": {"a": "b"}}), "", id="pods"),
    pytest.param(
        service_entry("shop", "api.example.com", HTTP, resolution="STATIC", endpoints=[PLAIN]),
        "",
        id="outside of the mesh",
    ),
]


@pytest.mark.parametrize(("entry", "expected"), CASES)
def test_plaintext_to_what_is_inside_of_the_mesh_is_named(entry, expected) -> None:
    found = said(entry)

    assert [(one.code.code, str(one.origin)) for one in found] == (
        [("MUT0116", "ServiceEntry shop/entry")] if expected else []
    )
    assert all(expected in one.text for one in found)


def test_entries_that_disagree_about_a_port_of_a_host() -> None:
    older = service_entry("shop", "a.example", HTTP, name="older")
    younger = service_entry(
        "shop", "A.example", HTTP | {"protocol": "TCP"}, name="younger", created=LATER
    )
    elsewhere = service_entry("store", "a.example", HTTP | {"protocol": "TCP"}, created=LATER)

    (one,) = said(older, younger, elsewhere)

    assert (one.code.code, str(one.origin)) == ("IST0177", "ServiceEntry shop/younger")
    assert one.text == (
        "port 80 of A.example is TCP here and HTTP in the older ServiceEntry shop/older, which is "
        "the one that counts"
    )
    assert said(older, elsewhere) == []
