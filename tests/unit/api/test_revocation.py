from datetime import UTC, datetime
from typing import Any

import pytest

from mutua.api.revocation import check_revocation, parse_revocation, parse_serial
from mutua.foundation.spiffe import SpiffeId

BAD = SpiffeId("cluster.local", "shop", "bad")


def revocation(spec: dict[str, Any], namespace: str = "istio-system", **more: Any) -> Any:
    return {
        "apiVersion": "mutua.io/v1alpha1",
        "kind": "Revocation",
        "metadata": {"name": "r", "namespace": namespace},
        "spec": spec,
        **more,
    }


def test_an_identity_forbids_all_who_have_it() -> None:
    found = parse_revocation(revocation({"spiffeID": str(BAD)}))

    assert found.forbids(BAD, "1")
    assert not found.forbids(SpiffeId("cluster.local", "shop", "good"), "1")


def test_a_mesh_that_moves_to_another_trust_domain_takes_nothing_back() -> None:
    found = parse_revocation(revocation({"spiffeID": str(BAD)}))

    assert found.forbids(SpiffeId("td2", "shop", "bad"), "1")
    assert not found.forbids(SpiffeId("td2", "bad", "shop"), "1")


def test_a_pod_is_meant_by_its_uid() -> None:
    found = parse_revocation(revocation({"pod": {"namespace": "n", "name": "p", "uid": "1"}}))

    assert found.forbids(BAD, "1")
    assert not found.forbids(BAD, "2")


def test_a_serial_number_forbids_nobody() -> None:
    found = parse_revocation(revocation({"serialNumber": "0A:ff"}))

    assert found.serial == 0x0AFF
    assert not found.forbids(BAD, "1")


def test_the_certificates_it_concerns_are_in_the_status() -> None:
    status = {
        "certificates": [
            {"serialNumber": "ff", "notAfter": "2026-03-01T12:00:00Z"},
            {"serialNumber": "garbage", "notAfter": "2026-03-01T12:00:00Z"},
        ]
    }
    found = parse_revocation(revocation({"spiffeID": str(BAD)}, status=status))

    assert dict(found.certificates) == {0xFF: datetime(2026, 3, 1, 12, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({}, "spec"),
        ({"reason": "because"}, "spec"),
        ({"spiffeID": str(BAD), "serialNumber": "ff"}, "spec.serialNumber"),
        ({"spiffeID": "spiffe://x"}, "spec.spiffeID"),
        ({"serialNumber": "xyz"}, "spec.serialNumber"),
        ({"serialNumber": "0"}, "spec.serialNumber"),
        ({"serialNumber": "f" * 41}, "spec.serialNumber"),
    ],
)
def test_what_revokes_nothing_or_too_much_is_refused(spec: dict[str, Any], path: str) -> None:
    assert [one.path for one in check_revocation(revocation(spec)).errors] == [path]


def test_it_belongs_to_the_mesh_and_not_to_a_team() -> None:
    verdict = check_revocation(revocation({"spiffeID": str(BAD)}, namespace="shop"))

    assert [one.path for one in verdict.errors] == ["metadata.namespace"]


@pytest.mark.parametrize("text", ["", ":", "-1", "0x1", "٣"])
def test_what_is_no_serial_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a serial number"):
        parse_serial(text)
