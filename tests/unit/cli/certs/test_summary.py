"""`mutua certs show`: a chain in words a person can act on, and never a key."""

from datetime import timedelta

from mutua.cli.certs.summary import document, lines
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import START, ManualClock

DAY = timedelta(days=1)
CLOCK = ManualClock(START)
ROOT = self_signed_ca("a\x1b[31m\nb", organization="td", lifetime=10 * DAY, clock=CLOCK)
WEB = SpiffeId("td", "shop", "web")
CHAIN = Authority(ROOT, "td", CLOCK).sign(new_request(WEB).csr_pem, WEB).chain_pem


def summary(pem: str, after: timedelta = timedelta()) -> str:
    return "\n".join(lines(pem, START + after))


def test_a_chain_says_who_it_is_until_when_and_who_signed_it() -> None:
    text = summary(CHAIN)

    assert "certificate 1 of 2 (leaf)" in text
    assert "spiffe://td/ns/shop/sa/web" in text
    assert "2025-12-31T23:58:00Z to 2026-01-02T00:00:00Z: ends in 24h" in text
    assert "ECDSA with SHA-256, by the next certificate" in text
    assert "by itself: a root" in text


def test_what_is_not_valid_stands_out() -> None:
    assert "EXPIRED 24h ago" in summary(CHAIN, 2 * DAY)
    assert "NOT VALID YET, begins in" in summary(CHAIN, -2 * DAY)
    assert "by a CA that is not here" in summary(
        CHAIN.split("-----END")[0] + "-----END CERTIFICATE-----\n"
    )


def test_a_chain_in_the_wrong_order_is_noticed() -> None:
    leaf, root = (
        part + "-----END CERTIFICATE-----\n"
        for part in CHAIN.split("-----END CERTIFICATE-----\n")[:2]
    )
    assert "by somebody else than the next" in summary(root + leaf)


def test_a_private_key_is_counted_and_not_shown() -> None:
    key = ROOT.key.pem()
    text = summary(CHAIN + key)

    assert text.endswith("1 private key, not shown")
    assert not any(line in text for line in key.splitlines()[1:-1])
    assert key.splitlines()[1] not in str(document(CHAIN + key))


def test_a_certificate_cannot_command_the_terminal() -> None:
    assert "\x1b" not in summary(CHAIN)


def test_programs_get_the_same() -> None:
    leaf, root = document(CHAIN)

    assert (leaf["uris"], leaf["isCA"], root["isCA"]) == ([str(WEB)], False, True)
    assert leaf["authorityKeyID"] == root["subjectKeyID"]
    assert (leaf["signedBy"], root["signedBy"]) == ("the next certificate", "itself: a root")
