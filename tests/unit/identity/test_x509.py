import ssl
from collections.abc import Callable
from datetime import timedelta

import pytest

from mutua.identity.x509 import (
    Credential,
    NotValidNow,
    Subject,
    client_certificate,
    client_subject,
    self_signed_ca,
    server_certificate,
)
from mutua.testing.clock import ManualClock

TEN_YEARS = timedelta(days=3650)
YEAR = timedelta(days=365)
AT = "1772366400"  # NOW of conftest, in seconds since the epoch


@pytest.fixture
def ca(clock: ManualClock) -> Credential:
    return self_signed_ca("mutua-api", lifetime=TEN_YEARS, clock=clock)


def test_openssl_accepts_a_server_certificate_for_its_names(
    ca: Credential, clock: ManualClock, openssl: Callable[..., str]
) -> None:
    server = server_certificate(ca, names=["127.0.0.1", "localhost"], lifetime=YEAR, clock=clock)

    for check in (["-verify_ip", "127.0.0.1"], ["-verify_hostname", "localhost"]):
        said = openssl(
            *("verify", "-x509_strict", "-attime", AT, "-purpose", "sslserver", *check),
            *("-CAfile", "ca", "leaf"),
            ca=ca.chain_pem,
            leaf=server.chain_pem,
        )
        assert said == "leaf: OK\n"


def test_openssl_accepts_a_client_certificate_as_a_client_only(
    ca: Credential, clock: ManualClock, openssl: Callable[..., str]
) -> None:
    person = client_certificate(
        ca, user="kubernetes-admin", groups=["system:masters"], lifetime=YEAR, clock=clock
    )

    verdicts = [
        openssl(
            *(
                "verify",
                "-x509_strict",
                "-attime",
                AT,
                "-purpose",
                purpose,
                "-CAfile",
                "ca",
                "leaf",
            ),
            ca=ca.chain_pem,
            leaf=person.chain_pem,
        ).endswith("leaf: OK\n")
        for purpose in ("sslclient", "sslserver")
    ]

    assert verdicts == [True, False]


def test_a_client_certificate_names_user_and_groups(ca: Credential, clock: ManualClock) -> None:
    person = client_certificate(ca, user="ann", groups=["dev", "ops"], lifetime=YEAR, clock=clock)

    subject = client_subject(ssl.PEM_cert_to_DER_cert(person.chain_pem))

    assert subject == Subject(user="ann", groups=("dev", "ops"))


def test_validity_starts_two_minutes_ago_and_never_exceeds_the_signer(
    ca: Credential, clock: ManualClock
) -> None:
    person = client_certificate(ca, user="ann", groups=[], lifetime=2 * TEN_YEARS, clock=clock)

    leaf = person.certificate

    assert leaf.not_valid_before_utc == clock.now() - timedelta(minutes=2)
    assert leaf.not_valid_after_utc == ca.not_after


def test_an_expired_authority_signs_nothing(ca: Credential, clock: ManualClock) -> None:
    clock.instant = ca.not_after

    with pytest.raises(NotValidNow):
        client_certificate(ca, user="ann", groups=[], lifetime=YEAR, clock=clock)


def test_a_short_life_is_not_over_by_half_when_it_begins(
    ca: Credential, clock: ManualClock
) -> None:
    lifetime = timedelta(minutes=2)

    server = server_certificate(ca, names=["a"], lifetime=lifetime, clock=clock)

    assert server.certificate.not_valid_before_utc == clock.now() - lifetime / 10
