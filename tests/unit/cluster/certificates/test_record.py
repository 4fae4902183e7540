"""What is told of a renewal: nothing when it went well, the cause when it did not."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mutua.agent.agent import CertificateStatus
from mutua.agent.workload import Workload
from mutua.api.kinds import kind_of
from mutua.api.object import WORKLOAD_CERTIFICATES
from mutua.api.schema import shape_errors
from mutua.api.table import table
from mutua.cluster.certificates.record import certificate_object, notice
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.csr import new_request
from mutua.identity.facts import certificate_facts
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import START, ManualClock
from mutua.testing.mesh import pod

WEB = Workload(uid="u1", identity=SpiffeId("td", "shop", "web"))
POD = pod("shop", "web-1", "10.244.0.2") | {"apiVersion": "v1", "kind": "Pod"}
POD["metadata"]["uid"] = "u1"
HOUR = timedelta(hours=1)
ROOT = self_signed_ca("", organization="td", lifetime=240 * HOUR, clock=ManualClock(START))
OTHER = self_signed_ca("", organization="td", lifetime=240 * HOUR, clock=ManualClock(START))


def known(at: datetime = START, **changes: Any) -> CertificateStatus:
    authority = Authority(ROOT, "td", ManualClock(at))
    issued = authority.sign(new_request(WEB.identity).csr_pem, WEB.identity)
    status = CertificateStatus(
        workload=WEB,
        not_after=issued.validity.not_after,
        renew_at=at + 12 * HOUR,
        failures=0,
        error="",
        chain=issued.chain_pem,
        bundle=issued.bundle,
        issued_at=at,
    )
    return replace(status, **changes)


NONE = CertificateStatus(
    workload=WEB, not_after=None, renew_at=None, failures=3, error="the authority is away"
)


def status(of: CertificateStatus) -> dict[str, Any]:
    found: dict[str, Any] = certificate_object(POD, of)["status"]
    return found


def told(before: CertificateStatus | None, after: CertificateStatus, now: datetime = START) -> Any:
    return notice(status(before) if before else {}, status(after), now)


def test_the_object_is_the_pods_and_says_all_that_is_public() -> None:
    held = known()
    obj = certificate_object(POD, held)
    leaf, root = certificate_facts(held.chain)

    assert shape_errors(kind_of(WORKLOAD_CERTIFICATES), obj) == []
    assert obj["metadata"]["name"] == "web-1"
    assert obj["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert obj["status"] == {
        "spiffeID": "spiffe://td/ns/shop/sa/web",
        "serialNumber": leaf.serial_number,
        "issuer": "O=td",
        "signer": {"fingerprint": root.fingerprint, "notAfter": "2026-01-11T00:00:00Z"},
        "notBefore": "2025-12-31T23:58:00Z",
        "notAfter": "2026-01-02T00:00:00Z",
        "renewAt": "2026-01-01T12:00:00Z",
        "keyAlgorithm": "ECDSA P-256",
        "roots": [root.fingerprint],
        "rootsConfirmed": False,
        "lastIssuedAt": "2026-01-01T00:00:00Z",
    }


def test_the_roots_are_those_that_the_proxy_has_confirmed() -> None:
    old, new = (certificate_facts(one.chain_pem)[0].fingerprint for one in (OTHER, ROOT))
    first = status(known(bundle=TrustBundle((OTHER.chain_pem,)), is_bundle_confirmed=True))
    sent = certificate_object(POD, known(), first)["status"]
    taken_up = certificate_object(POD, known(is_bundle_confirmed=True), sent)["status"]

    assert (first["roots"], first["rootsConfirmed"]) == ([old], True)
    assert (sent["roots"], sent["rootsConfirmed"]) == ([old], True)
    assert (taken_up["roots"], taken_up["rootsConfirmed"]) == ([new], True)


def test_a_workload_without_a_certificate_has_an_object_too() -> None:
    assert status(NONE) == {
        "spiffeID": "spiffe://td/ns/shop/sa/web",
        "failures": 3,
        "lastError": "the authority is away",
    }


def test_kubectl_shows_how_long_it_lasts() -> None:
    def cells(obj: Any, now: datetime) -> dict[str, Any]:
        made = table(kind_of(WORKLOAD_CERTIFICATES), [obj], now)
        names = [one["name"] for one in made["columnDefinitions"]]
        return dict(zip(names, made["rows"][0]["cells"], strict=True))

    obj = certificate_object(POD, known())
    good, ended = cells(obj, START + HOUR), cells(obj, START + 25 * HOUR)
    empty = cells(certificate_object(POD, NONE), START)

    assert (good["Ready"], good["Expires In"], good["Renews In"]) == ("True", "23h", "11h")
    assert (ended["Ready"], ended["Expires In"], ended["Renews In"]) == (
        "False", "<expired>", "<due>",
    )  # fmt: skip
    assert (empty["Ready"], empty["Expires In"]) == ("False", "<unknown>")


def test_a_first_certificate_and_a_timely_renewal_are_no_news() -> None:
    first = known()
    assert told(None, first) is None
    assert told(first, known(START + 12 * HOUR + timedelta(seconds=11))) is None
    assert told(first, replace(first, is_bundle_confirmed=True)) is None


def test_a_failed_renewal_tells_the_cause_and_until_when_the_certificate_lasts() -> None:
    first = known()
    failed = replace(first, failures=1, error="the authority is away")
    found = told(first, failed, START + 13 * HOUR)

    assert (found.severity, found.reason) == ("Warning", "CertificateNotRenewed")
    assert "the authority is away" in found.message
    assert "ends at 2026-01-02T00:00:00Z" in found.message
    assert "ended at" in told(first, failed, START + 25 * HOUR).message
    assert "has no certificate yet" in told(None, NONE).message


@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [(1, 2, True), (2, 3, False), (3, 4, True), (5, 7, False), (6, 9, True)],
)
def test_a_cause_that_persists_is_told_less_and_less_often(
    before: int, after: int, is_told: bool
) -> None:
    first = known()
    pair = [replace(first, failures=count, error="away") for count in (before, after)]
    assert (told(*pair) is not None) == is_told


def test_another_cause_is_told_at_once() -> None:
    first = known(failures=5, error="away")
    assert told(first, replace(first, failures=6, error="refused")) is not None


def test_recovery_is_told() -> None:
    failed = known(failures=3, error="away")
    found = told(failed, known(START + 14 * HOUR))

    assert (found.severity, found.reason) == ("Normal", "CertificateRenewed")
    assert "after 3 failed attempts" in found.message
    assert "120m late" in found.message
    assert "has a good certificate" in told(NONE, known()).message


def test_a_renewal_that_a_suspended_machine_missed_says_how_late_it_was() -> None:
    first = known()
    missed = told(first, known(START + 15 * HOUR))
    ended = told(first, known(START + 30 * HOUR))

    assert missed.message.endswith("the renewal was 3h late")
    assert ended.message.endswith("the renewal was 18h late, 6h after the end of the one before")


def test_a_renewal_because_the_clock_was_set_back_says_so() -> None:
    first = known()
    found = told(first, known(START - HOUR))

    assert (found.severity, found.reason) == ("Normal", "CertificateRenewed")
    assert "; the clock was set back to before 2025-12-31T23:58:00Z" in found.message
    assert "late" not in found.message


def test_a_certificate_that_has_yet_to_begin_is_told_of_while_there_is_no_other() -> None:
    first = known()
    failed = replace(first, failures=1, error="the authority has yet to begin")
    found = told(first, failed, START - HOUR)

    assert found.severity == "Warning"
    assert "begins at 2025-12-31T23:58:00Z, and no peer accepts it: the authority" in found.message
