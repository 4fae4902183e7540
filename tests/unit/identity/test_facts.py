"""What `mutua certs show` and `proxy-config secret` can say about a certificate."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.facts import (
    certificate_facts,
    count_private_keys,
    is_self_signed,
    signed_by_next,
)
from mutua.identity.keys import Malformed
from mutua.identity.x509 import certificate_pem, self_signed_ca, server_certificate, subject_name
from mutua.testing.clock import START, ManualClock

DAY = timedelta(days=1)
CLOCK = ManualClock(START)
ROOT = self_signed_ca("", organization="td", lifetime=10 * DAY, clock=CLOCK)


def chain() -> str:
    identity = SpiffeId("td", "shop", "web")
    issued = Authority(ROOT, "td", CLOCK).sign(new_request(identity).csr_pem, identity)
    return issued.chain_pem


def test_a_leaf_is_told_from_its_root() -> None:
    leaf, root = certificate_facts(chain())

    assert leaf.uris == ("spiffe://td/ns/shop/sa/web",)
    assert (leaf.subject, leaf.issuer, root.subject, root.issuer) == ("", "O=td", "O=td", "O=td")
    assert (leaf.is_authority, root.is_authority) == (False, True)
    assert (leaf.key, leaf.signature) == ("ECDSA P-256", "ECDSA with SHA-256")
    assert leaf.signer_key_id == root.key_id != ""
    assert leaf.is_valid(START)
    assert not leaf.is_valid(START + 2 * DAY)
    assert leaf.not_after == START + DAY


def test_a_chain_tells_who_signed_whom() -> None:
    pem = chain()
    other = self_signed_ca("", organization="td", lifetime=DAY, clock=CLOCK)

    assert signed_by_next(pem) == [True]
    assert is_self_signed(pem)
    assert not is_self_signed(
        pem.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
    )
    # Of the same name, and not the signer:
    leaf = pem.split("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
    assert signed_by_next(leaf + other.chain_pem) == [False]


def test_other_names_and_other_algorithms_are_told_too() -> None:
    server = server_certificate(ROOT, names=["web.shop", "127.0.0.1"], lifetime=DAY, clock=CLOCK)
    (facts,) = certificate_facts(server.chain_pem)
    assert (facts.names, facts.uris) == (("web.shop", "127.0.0.1"), ())

    for key, told in (
        (rsa.generate_private_key(65537, 2048), ("RSA 2048", "RSA with SHA-256")),
        (ed25519.Ed25519PrivateKey.generate(), ("Ed25519", "Ed25519")),
    ):
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject_name("bare", []))
            .issuer_name(subject_name("bare", []))
            .not_valid_before(START)
            .not_valid_after(START + DAY)
            .serial_number(0xAB)
            .public_key(key.public_key())
            .sign(key, hashes.SHA256() if is_rsa else None)
        )
        (bare,) = certificate_facts(certificate_pem(made))
        assert (bare.key, bare.signature) == told
        assert bare.serial_number == "000000000000000000000000000000ab"
        assert (bare.key_id, bare.signer_key_id, bare.names) == ("", "", ())


@pytest.mark.parametrize("label", ["", "EC ", "RSA ", "ENCRYPTED ", "OPENSSH "])
def test_private_keys_are_counted(label: str) -> None:
    assert count_private_keys(f"-----BEGIN {label}PRIVATE KEY-----\nMIIE\n") == 1
    assert count_private_keys(f"-----BEGIN {label}PUBLIC KEY-----\nMIIE\n") == 0
    assert count_private_keys(ROOT.key.pem() + ROOT.chain_pem + ROOT.key.pem()) == 2


def test_a_text_without_certificates_is_refused() -> None:
    for text in ("", "no PEM", ROOT.key.pem()):
        with pytest.raises(Malformed):
            certificate_facts(text)
