"""`mutua certs` in rows: who ends when, and what has ended or never began."""

from datetime import timedelta
from typing import Any

import pytest

from mutua.api.object import Object
from mutua.cli.certs.listing import (
    HEADER,
    WIDE_HEADER,
    AuthorityCertificate,
    authorities,
    authority_rows,
    document,
    ending,
    rows,
)
from mutua.foundation.clock import rfc3339
from mutua.identity.facts import certificate_facts
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import START, ManualClock

HOUR = timedelta(hours=1)
ROOT = self_signed_ca("", organization="td", lifetime=240 * HOUR, clock=ManualClock(START))
ROOT_FINGERPRINT = certificate_facts(ROOT.chain_pem)[0].fingerprint


def certificate(pod: str, ends: timedelta | None = 24 * HOUR, **status: Any) -> Object:
    times = {} if ends is None else {
        "notAfter": rfc3339(START + ends),
        "renewAt": rfc3339(START + ends / 2),
    }  # fmt: skip
    return {
        "metadata": {"namespace": "shop", "name": pod},
        "status": {"spiffeID": f"spiffe://td/ns/shop/sa/{pod}", **times, **status},
    }


def cells(obj: Object, *, wide: bool = False) -> dict[str, str]:
    (row,) = rows([obj], START, wide=wide)
    return dict(zip(WIDE_HEADER if wide else HEADER, row, strict=True))


def test_a_row_says_how_long_a_certificate_lasts() -> None:
    shown = cells(certificate("web", serialNumber="ab", issuer="O=td", roots=["c" * 64]))

    assert (shown["EXPIRES IN"], shown["RENEWS IN"]) == ("24h", "12h")
    assert (shown["SERIAL"], shown["ISSUER"], shown["ERROR"]) == ("ab", "O=td", "-")
    assert shown["ROOT"] == "c" * 16 + "?"  # sent, and not confirmed


def test_what_is_over_and_what_is_missing_says_so() -> None:
    over, missing = cells(certificate("web", -HOUR)), cells(certificate("web", None), wide=True)

    assert (over["EXPIRES IN"], over["RENEWS IN"]) == ("expired", "due")
    assert (missing["EXPIRES IN"], missing["SIGNER"], missing["SERIAL"]) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("hours", "ends"), [(24.0, True), (23.9, False), (0.0, False)]
)  # the instant itself counts
def test_what_ends_within_a_time(hours: float, ends: bool) -> None:
    assert bool(ending([certificate("web")], START + hours * HOUR)) is ends


def test_a_pod_without_a_certificate_ends_within_any_time() -> None:
    assert ending([certificate("web", None)], START)
    assert ending([certificate("web", -HOUR)], START)


def test_signers_other_than_roots_are_shown_once() -> None:
    by_root = {"fingerprint": ROOT_FINGERPRINT, "notAfter": rfc3339(START)}
    by_other = {"fingerprint": "ab", "notAfter": rfc3339(START + HOUR)}
    pods = [
        certificate("a", signer=by_root, issuer="O=td"),
        certificate("b", signer=by_other, issuer="CN=Intermediate"),
        certificate("c", signer=by_other, issuer="CN=Intermediate"),
        certificate("d", None),
    ]

    found = authorities(pods, ROOT.chain_pem)

    assert [(one.role, one.subject) for one in found] == [
        ("signer", "CN=Intermediate"),
        ("root", "O=td"),
    ]
    assert authority_rows(found, START)[0][3:] == ("60m", "2026-01-01T01:00:00Z")


def test_programs_get_everything_and_no_key() -> None:
    ca = AuthorityCertificate("root", "O=td", "ab", START)
    made = document([certificate("web", serialNumber="1")], [ca])

    assert made["certificates"][0]["pod"] == "web"
    assert made["certificates"][0]["serialNumber"] == "1"
    assert made["authorities"] == [
        {"role": "root", "subject": "O=td", "fingerprint": "ab", "notAfter": rfc3339(START)}
    ]
