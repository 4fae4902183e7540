"""What is read as a foreign CA, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest

from mutua.identity.crl import sign_lists
from mutua.identity.keys import Malformed
from mutua.identity.peer_authority import read_peer_authority
from mutua.identity.x509 import Credential, self_signed_ca, server_certificate
from mutua.testing.clock import ManualClock

CLOCK = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


def authority(name: str, days: int = 10) -> Credential:
    return self_signed_ca(name, lifetime=timedelta(days=days), clock=CLOCK)


def test_all_certificates_are_anchors_whatever_stands_between_them() -> None:
    one, other = authority("one"), authority("other")

    found = read_peer_authority(f"# ours\n{one.chain_pem}\n# theirs\n{other.chain_pem}")

    assert found.roots == (one.chain_pem, other.chain_pem)
    assert found.crl == ""


def test_revocation_lists_come_along() -> None:
    one = authority("one")
    crl = sign_lists([one], [7], number=1, now=CLOCK.now())

    found = read_peer_authority(crl + one.chain_pem)

    assert (found.roots, found.crl) == ((one.chain_pem,), crl)


def test_a_ca_that_has_ended_is_read_all_the_same() -> None:
    old = authority("old", days=1)
    CLOCK.advance(timedelta(days=2))

    assert read_peer_authority(old.chain_pem).roots == (old.chain_pem,)


def leaf() -> str:
    return server_certificate(
        authority("ca"), names=["a.example"], lifetime=timedelta(days=1), clock=CLOCK
    ).chain_pem


@pytest.mark.parametrize(("pem", "words"), [
    ("nothing", "not PEM certificates"),
    (authority("a").chain_pem.replace("MII", "???"), "not PEM certificates"),
    (leaf(), "'CN=a.example' is not a certificate authority"),
    (authority("a").chain_pem + authority("a").key.pem(), "a private key"),
    (authority("a").chain_pem + "-----BEGIN X509 CRL-----\nMII", "not a PEM revocation list"),
], ids=["nothing", "damaged", "leaf", "key", "list"])  # fmt: skip
def test_what_is_no_ca_is_refused(pem: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_peer_authority(pem)
