from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from mutua.identity.crl import BACKDATE, LIFETIME, Span, chain_coverage, sign_lists
from mutua.identity.keys import Malformed
from mutua.identity.x509 import Credential, certificate_pem, intermediate_ca, self_signed_ca
from mutua.testing.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SERIAL, OTHER = 0x5F << 120, 7


def authority(name: str) -> Credential:
    return self_signed_ca(name, lifetime=timedelta(days=3650), clock=ManualClock(NOW))


def parsed(pem: str) -> list[x509.CertificateRevocationList]:
    end = "-----END X509 CRL-----\n"
    return [x509.load_pem_x509_crl((one + end).encode()) for one in pem.split(end) if one.strip()]


def serials(one: x509.CertificateRevocationList) -> set[int]:
    return {entry.serial_number for entry in one}


def test_every_signer_gets_a_list_that_its_key_signed() -> None:
    signers = [authority("a"), authority("b")]

    found = parsed(sign_lists(signers, [SERIAL], number=5, now=NOW))

    assert [serials(one) for one in found] == [{SERIAL}, {SERIAL}]
    for one, signer in zip(found, signers, strict=True):
        key = signer.certificate.public_key()
        assert one.is_signature_valid(key)  # type: ignore[arg-type]
        assert one.next_update_utc == NOW + LIFETIME
        assert one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 5


def test_what_the_operators_list_holds_is_taken_over_and_lists_of_others_go_along() -> None:
    ours, above = authority("ours"), authority("above")
    plugged = sign_lists([ours, above], [OTHER], number=1, now=NOW)

    found = parsed(sign_lists([ours], [SERIAL], number=2, now=NOW, plugged=plugged))

    assert [(one.issuer, serials(one)) for one in found] == [
        (ours.certificate.subject, {SERIAL, OTHER}),
        (above.certificate.subject, {OTHER}),
    ]


def test_a_list_of_nobody_is_a_list() -> None:
    (found,) = parsed(sign_lists([authority("a")], [], number=1, now=NOW))

    assert serials(found) == set()


def test_one_signer_twice_gets_one_list() -> None:
    one = authority("a")

    assert len(parsed(sign_lists([one, one], [SERIAL], number=1, now=NOW))) == 1


def test_whether_a_chain_is_covered() -> None:
    signer, root = authority("signer"), authority("root")
    chain = [certificate_pem(one.certificate) for one in (signer, root)]
    both = sign_lists([signer, root], [], number=1, now=NOW)

    assert chain_coverage(both, chain) == Span(NOW - BACKDATE, NOW + LIFETIME)
    assert chain_coverage(sign_lists([signer], [], number=1, now=NOW), chain) is None


def test_a_chain_is_covered_until_the_first_list_ends() -> None:
    signer, root = authority("signer"), authority("root")
    later = NOW + timedelta(days=7)
    crl = sign_lists([root], [], number=1, now=NOW) + sign_lists([signer], [], number=1, now=later)

    found = chain_coverage(crl, [certificate_pem(one.certificate) for one in (signer, root)])

    assert found == Span(later - BACKDATE, NOW + LIFETIME)
    assert found.holds(later)
    assert not found.holds(NOW + LIFETIME)


def test_a_chain_with_a_revoked_authority_is_not_checked_as_a_whole() -> None:
    root = authority("root")
    below = intermediate_ca(root, lifetime=timedelta(days=1), clock=ManualClock(NOW))
    chain = [certificate_pem(one.certificate) for one in (below, root)]

    crl = sign_lists([below, root], [below.certificate.serial_number], number=1, now=NOW)

    assert chain_coverage(crl, chain) is None


def test_two_signers_of_one_name_both_get_what_the_operators_list_holds() -> None:
    old, new = authority("same"), authority("same")
    plugged = sign_lists([new], [OTHER], number=1, now=NOW)

    found = parsed(sign_lists([old, new], [SERIAL], number=2, now=NOW, plugged=plugged))

    assert [serials(one) for one in found] == [{SERIAL, OTHER}] * 2


def test_a_damaged_list_is_refused() -> None:
    damaged = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"

    with pytest.raises(Malformed):
        sign_lists([authority("a")], [], number=1, now=NOW, plugged=damaged)


def test_the_list_of_another_ca_of_the_same_name_goes_along() -> None:
    ours, theirs = authority("O=cluster.local"), authority("O=cluster.local")
    plugged = sign_lists([theirs], [OTHER], number=1, now=NOW)

    found = parsed(sign_lists([ours], [], number=2, now=NOW, plugged=plugged))

    assert [serials(one) for one in found] == [{OTHER}, {OTHER}]
    assert found[1].is_signature_valid(theirs.certificate.public_key())  # type: ignore[arg-type]
