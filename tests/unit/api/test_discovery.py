from typing import Any

import pytest

from mutua.api import discovery
from mutua.api.crds import custom_resource_definitions
from mutua.api.kinds import KINDS, REVIEWS, find_by_kind, find_kind, group_versions, kind_of
from mutua.api.object import DESTINATION_RULES, PODS
from mutua.api.openapi import (
    group_version_paths,
    openapi_v2,
    openapi_v3,
    openapi_v3_index,
    structural_schema,
)
from mutua.api.schema import schema_of
from mutua.api.table import COLUMNS
from mutua.api.validation import validate

KUBECTL = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def test_a_kind_is_found_by_url_and_by_manifest() -> None:
    rule = kind_of(DESTINATION_RULES)

    for version in ("v1", "v1beta1", "v1alpha3"):
        assert find_kind("networking.istio.io", version, "destinationrules") is rule
        assert find_by_kind(f"networking.istio.io/{version}", "DestinationRule") is rule
    assert find_kind("networking.istio.io", "v2", "destinationrules") is None
    assert find_by_kind("v1", "Wombat") is None
    assert rule.api_version() == "networking.istio.io/v1"
    assert kind_of(PODS).api_version() == "v1"


def test_every_stored_kind_has_columns() -> None:
    assert set(COLUMNS) == {kind.kind for kind in KINDS}


@pytest.mark.parametrize(
    ("accept", "aggregated"),
    [
        (KUBECTL, True),
        ("application/json", False),
        ("", False),
        ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", False),
    ],
)
def test_who_wants_the_aggregated_form(accept: str, aggregated: bool) -> None:
    assert discovery.wants_aggregated(accept) is aggregated


def aggregated_resources() -> dict[tuple[str, str, str], dict[str, Any]]:
    documents = [discovery.aggregated_core(), discovery.aggregated_groups()]
    return {
        (item["metadata"]["name"], version["version"], resource["resource"]): resource
        for document in documents
        for item in document["items"]
        for version in item["versions"]
        for resource in version["resources"]
    }


def test_both_forms_of_discovery_tell_the_same() -> None:
    for (group, version, plural), aggregated in aggregated_resources().items():
        found = discovery.resource_list(group, version)
        assert found is not None
        rows = {row["name"]: row for row in found["resources"]}
        assert rows[plural]["verbs"] == aggregated["verbs"]
        assert rows[plural]["kind"] == aggregated["responseKind"]["kind"]
        assert rows[plural].get("shortNames", []) == aggregated["shortNames"]
        for below in aggregated["subresources"]:
            row = rows[f"{plural}/{below['subresource']}"]
            assert row["verbs"] == below["verbs"]
            assert row["kind"] == below["responseKind"]["kind"]


def test_all_kinds_are_discovered_in_all_versions() -> None:
    expected = {
        (kind.resource.group, version, kind.resource.plural)
        for kind in (*KINDS, *REVIEWS)
        for version in kind.versions
    }

    assert set(aggregated_resources()) == expected


def test_preferred_versions_come_first() -> None:
    security = discovery.group("security.istio.io")

    assert security is not None
    assert [version["version"] for version in security["versions"]] == ["v1", "v1beta1"]
    assert security["preferredVersion"]["version"] == "v1"
    assert discovery.group("nope") is None
    assert discovery.resource_list("nope", "v1") is None


def test_the_older_form_names_core_and_groups() -> None:
    assert discovery.core_versions("127.0.0.1:1")["versions"] == ["v1"]
    names = [group["name"] for group in discovery.group_list()["groups"]]
    assert "" not in names
    assert "apps" in names


def references(document: Any) -> set[str]:
    if isinstance(document, dict):
        own = {document["$ref"]} if "$ref" in document else set()
        return own.union(*(references(value) for value in document.values()))
    if isinstance(document, list):
        return set().union(*(references(value) for value in document))
    return set()


@pytest.mark.parametrize("where", group_versions(), ids="/".join)
def test_openapi_is_complete(where: tuple[str, str]) -> None:
    document = openapi_v3(*where)

    assert document is not None
    defined = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= defined


@pytest.mark.parametrize("where", group_versions(), ids="/".join)
def test_every_patch_takes_field_validation_and_none_is_strategic(where: tuple[str, str]) -> None:
    document = openapi_v3(*where)
    assert document is not None

    patches = [path["patch"] for path in document["paths"].values() if "patch" in path]

    for patch in patches:
        assert "fieldValidation" in {each["name"] for each in patch["parameters"]}
        assert "x-kubernetes-group-version-kind" in patch
        assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert patches or where[0] in {
        "apiextensions.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "mutua.io",
    }


def test_the_index_leads_to_every_document() -> None:
    index = openapi_v3_index(dict.fromkeys(group_version_paths(), "abc"))

    assert index["paths"]["api/v1"] == {"serverRelativeURL": "/openapi/v3/api/v1?hash=abc"}
    assert len(index["paths"]) == len(group_versions())
    assert openapi_v3("nope", "v1") is None
    assert openapi_v2() == b""


def test_the_definitions_of_custom_kinds_are_valid_objects() -> None:
    definitions = custom_resource_definitions("2026-01-01T00:00:00Z")

    assert [definition["metadata"]["name"] for definition in definitions] == [
        "peerauthentications.security.istio.io",
        "authorizationpolicies.security.istio.io",
        "destinationrules.networking.istio.io",
        "serviceentries.networking.istio.io",
        "plaintextcallers.mutua.io",
        "certificateauthorities.mutua.io",
        "workloadcertificates.mutua.io",
        "revocations.mutua.io",
    ]
    for definition in definitions:
        kind = find_by_kind(definition["apiVersion"], definition["kind"])
        assert kind is not None
        assert validate(kind, definition).errors == []
        storage = [each["name"] for each in definition["spec"]["versions"] if each["storage"]]
        assert storage == ["v1alpha1" if "mutua.io" in definition["metadata"]["name"] else "v1"]
        assert references(definition) == set()


def test_a_structural_schema_keeps_the_limits() -> None:
    schema = structural_schema(schema_of(kind_of(DESTINATION_RULES)))["properties"]["spec"]

    tls = schema["properties"]["trafficPolicy"]["properties"]["tls"]
    assert tls["properties"]["mode"]["enum"] == ["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]
    assert schema["required"] == ["host"]
