import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority, IssuedChain
from mutua.identity.csr import new_request
from mutua.identity.journal import Issuance, Journal
from mutua.identity.keyfile import Damaged, write_credential
from mutua.identity.renewal import Validity
from mutua.identity.validator import InvalidCertificate
from mutua.identity.x509 import (
    Credential,
    NotValidNow,
    client_certificate,
    parse_certificates,
    self_signed_ca,
)
from mutua.testing.clock import ManualClock

KEY_FILE = "generation-1.pem"
TD = "cluster.local"
WEB = SpiffeId(TD, "shop", "web")
AT = "1772366400"  # NOW of conftest, in seconds since the epoch
CLOCK = ManualClock()
POOL = Authority(
    self_signed_ca("", organization=TD, lifetime=timedelta(days=3650), clock=CLOCK), TD, CLOCK
)
CSR = new_request(WEB).csr_pem


class Notebook(Journal):
    """Remembers what was written down."""

    def __init__(self) -> None:
        self.entries: list[Issuance] = []

    def record(self, issuance: Issuance) -> None:
        self.entries.append(issuance)


@pytest.fixture
def authority(tmp_path: Path, clock: ManualClock) -> Authority:
    return Authority.load_or_create(tmp_path / "pki", TD, clock)


@pytest.fixture
def issued(authority: Authority) -> IssuedChain:
    return authority.sign(CSR, WEB)


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_accepts_the_leaf_in_both_roles(
    issued: IssuedChain, purpose: str, openssl: Callable[..., str]
) -> None:
    said = openssl(
        *("verify", "-x509_strict", "-attime", AT, "-purpose", purpose, "-CAfile", "root", "leaf"),
        root=issued.roots_pem,
        leaf=issued.leaf,
    )

    assert said == "leaf: OK\n"


def test_openssl_reads_the_content_istio_prescribes(
    issued: IssuedChain, openssl: Callable[..., str]
) -> None:
    said = " ".join(openssl("x509", "-in", "leaf", "-noout", "-text", leaf=issued.leaf).split())

    for line in (
        "Version: 3 (0x2)",
        "Signature Algorithm: ecdsa-with-SHA256",
        f"Issuer: O = {TD}",
        "Not Before: Mar 1 11:58:00 2026 GMT",
        "Not After : Mar 2 12:00:00 2026 GMT",
        "Subject: Subject Public Key Info",
        "X509v3 Subject Alternative Name: critical URI:spiffe://cluster.local/ns/shop/sa/web",
        "X509v3 Key Usage: critical Digital Signature, Key Encipherment",
        "X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Basic Constraints: critical CA:FALSE",
        "X509v3 Subject Key Identifier:",
        "X509v3 Authority Key Identifier:",
    ):
        assert line in said


def test_openssl_reads_a_root_that_signs_certificates_only(
    authority: Authority, openssl: Callable[..., str]
) -> None:
    said = " ".join(openssl("x509", "-in", "r", "-noout", "-text", r=authority.roots_pem).split())

    for line in (
        "Public Key Algorithm: id-ecPublicKey Public-Key: (256 bit)",
        f"Subject: O = {TD}",
        "Not After : Feb 27 12:00:00 2036 GMT",
        "X509v3 Basic Constraints: critical CA:TRUE",
        "X509v3 Key Usage: critical Certificate Sign, CRL Sign",
    ):
        assert line in said


def test_the_chain_a_proxy_presents_ends_with_the_root(
    authority: Authority, issued: IssuedChain
) -> None:
    assert issued.chain_pem == issued.leaf + authority.roots_pem
    assert issued.bundle.roots == (authority.roots_pem,)


def test_the_identity_is_the_callers_whatever_the_request_asks_for(authority: Authority) -> None:
    greedy = new_request(SpiffeId(TD, "kube-system", "admin")).csr_pem

    leaf = parse_certificates(authority.sign(greedy, WEB).leaf)[0]

    assert "kube-system" not in str(leaf.extensions)
    assert str(WEB) in str(leaf.extensions)


@pytest.mark.parametrize(
    ("ttl", "granted"),
    [
        pytest.param(timedelta(), timedelta(hours=24), id="none asked: 24 hours"),
        pytest.param(timedelta(seconds=-1), timedelta(hours=24), id="negative: 24 hours"),
        pytest.param(timedelta(seconds=40), timedelta(seconds=40), id="a short one is granted"),
        pytest.param(timedelta(days=90), timedelta(days=90), id="the maximum is granted"),
    ],
)
def test_lifetimes(
    authority: Authority, clock: ManualClock, ttl: timedelta, granted: timedelta
) -> None:
    issued = authority.sign(CSR, WEB, ttl)

    assert issued.validity == Validity(
        not_before=clock.instant - min(timedelta(minutes=2), granted / 10),
        not_after=clock.instant + granted,
    )


def test_a_lifetime_beyond_the_maximum_is_refused(authority: Authority) -> None:
    with pytest.raises(Rejected, match="exceeds 90 days"):
        authority.sign(CSR, WEB, timedelta(days=90, seconds=1))


def test_the_signers_end_shortens_the_lifetime(authority: Authority, clock: ManualClock) -> None:
    end = parse_certificates(authority.roots_pem)[0].not_valid_after_utc
    clock.instant = end - timedelta(minutes=5)

    assert authority.sign(CSR, WEB).validity.not_after == end


@pytest.mark.parametrize("offset", [timedelta(days=3650), timedelta(days=-2)])
def test_a_root_that_is_not_valid_now_signs_nothing(
    authority: Authority, clock: ManualClock, offset: timedelta
) -> None:
    clock.advance(offset)

    with pytest.raises(NotValidNow):
        authority.sign(CSR, WEB)


def test_identities_of_another_trust_domain_are_refused(authority: Authority) -> None:
    with pytest.raises(Rejected, match="trust domain"):
        authority.sign(CSR, SpiffeId("evil.example", "shop", "web"))


def test_serials_do_not_repeat(authority: Authority) -> None:
    serials = {
        parse_certificates(authority.sign(CSR, WEB).leaf)[0].serial_number for _ in range(20)
    }

    assert len(serials) == 20


@given(
    micros=st.integers(min_value=0, max_value=999_999),
    seconds=st.integers(min_value=1, max_value=90 * 86400),
)
def test_the_validator_agrees_at_any_fraction_of_a_second(micros: int, seconds: int) -> None:
    CLOCK.instant = CLOCK.instant.replace(microsecond=micros)

    issued = POOL.sign(CSR, WEB, timedelta(seconds=seconds))

    assert issued.validity.not_after <= CLOCK.instant + timedelta(seconds=seconds)


def test_a_restart_keeps_the_root(tmp_path: Path, clock: ManualClock) -> None:
    first = Authority.load_or_create(tmp_path / "pki", TD, clock)
    second = Authority.load_or_create(tmp_path / "pki", TD, clock)

    assert second.roots_pem == first.roots_pem
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "pki" / KEY_FILE).stat().st_mode) == 0o600
    assert {p.name for p in (tmp_path / "pki").iterdir()} == {KEY_FILE, "state.json"}


def test_creators_that_race_agree_on_one_root(tmp_path: Path, clock: ManualClock) -> None:
    roots: list[str] = []
    start = threading.Barrier(8)

    def create() -> None:
        start.wait()
        roots.append(Authority.load_or_create(tmp_path, TD, clock).roots_pem)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(roots) == 8
    assert len(set(roots)) == 1


def test_a_root_keeps_the_trust_domain_it_was_made_for(tmp_path: Path, clock: ManualClock) -> None:
    Authority.load_or_create(tmp_path, TD, clock)
    before = (tmp_path / KEY_FILE).read_bytes()

    again = Authority.load_or_create(tmp_path, "other.example", clock)

    assert again.trust_domain == TD
    assert (tmp_path / KEY_FILE).read_bytes() == before


def test_an_authority_that_moves_to_another_trust_domain_certifies_only_that(
    authority: Authority,
) -> None:
    authority.trust_domain = "other.example"
    moved = SpiffeId("other.example", "shop", "web")

    issued = authority.sign(new_request(moved).csr_pem, moved)

    assert parse_certificates(issued.leaf)[0].issuer == parse_certificates(issued.anchor)[0].subject
    with pytest.raises(Rejected, match="not of trust domain"):
        authority.sign(new_request(WEB).csr_pem, WEB)


def test_a_damaged_root_is_reported_and_never_replaced(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / KEY_FILE).touch(mode=0o600)

    with pytest.raises(Damaged):
        Authority.load_or_create(tmp_path, TD, clock)

    assert (tmp_path / KEY_FILE).read_bytes() == b""


def test_a_leaf_is_not_accepted_as_a_root(tmp_path: Path, clock: ManualClock) -> None:
    root = self_signed_ca("", organization=TD, lifetime=timedelta(days=1), clock=clock)
    leaf = client_certificate(
        root, user="ann", groups=[TD], lifetime=timedelta(days=1), clock=clock
    )
    write_credential(tmp_path / KEY_FILE, leaf)

    with pytest.raises(Damaged, match="not a certificate authority"):
        Authority.load_or_create(tmp_path, TD, clock)


def test_a_server_s_certificate_that_a_bug_made_a_client_s_is_not_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def buggy(ca: Credential, *, names: list[str], **options: Any) -> Credential:
        return client_certificate(ca, user=names[0], groups=[], **options)

    log = Notebook()
    authority = Authority(POOL.material, TD, CLOCK, journal=log)
    authority.server_credential(WEB, ["istiod.example"], timedelta(days=1))
    assert len(log.entries) == 1
    monkeypatch.setattr("mutua.identity.authority.server_certificate", buggy)

    with pytest.raises(InvalidCertificate, match="missing or unexpected extensions"):
        authority.server_credential(WEB, ["istiod.example"], timedelta(days=1))
    assert len(log.entries) == 1
