from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.csr import MAX_CSR_CHARACTERS, SigningRequest, new_request, proven_key

WEB = SpiffeId("cluster.local", "shop", "web")


@pytest.fixture(scope="module")
def request_() -> SigningRequest:
    return new_request(WEB)


def test_openssl_verifies_the_request_and_reads_the_identity(
    request_: SigningRequest, openssl: Callable[..., str]
) -> None:
    said = openssl("req", "-in", "csr", "-verify", "-noout", "-text", csr=request_.csr_pem)

    assert "self-signature verify OK" in said
    assert "X509v3 Subject Alternative Name: critical" in said
    assert f"URI:{WEB}" in said


def test_a_request_proves_its_own_key(request_: SigningRequest) -> None:
    assert proven_key(request_.csr_pem) == request_.key.public


def test_every_request_has_a_fresh_key(request_: SigningRequest) -> None:
    assert new_request(WEB).key.public != request_.key.public


def test_a_request_never_shows_its_key(request_: SigningRequest) -> None:
    assert "redacted" in repr(request_)
    assert "PRIVATE" not in repr(request_)


@pytest.mark.parametrize(
    ("algorithm", "accepted"),
    [
        (["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], True),
        (["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], True),
        (["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], False),
        (["rsa:2048"], True),
        (["rsa:1024"], False),
        (["ed25519"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_requests_of_openssl(
    algorithm: list[str], *, accepted: bool, openssl: Callable[..., str]
) -> None:
    said = openssl(
        *("req", "-new", "-newkey", *algorithm, "-nodes", "-subj", "/", "-keyout", "/dev/null")
    )
    csr = said[said.index("-----BEGIN CERTIFICATE REQ") :]

    if accepted:
        proven_key(csr)
    else:
        with pytest.raises(Rejected, match="not certified"):
            proven_key(csr)


def test_a_tampered_request_proves_nothing(request_: SigningRequest) -> None:
    lines = request_.csr_pem.splitlines()
    lines[-2] = lines[-2][:-8] + "AAAAAAA="  # the end of the signature

    with pytest.raises(Rejected):
        proven_key("\n".join(lines))


def test_an_endless_request_is_not_even_parsed() -> None:
    with pytest.raises(Rejected, match="longer"):
        proven_key("A" * (MAX_CSR_CHARACTERS + 1))


@given(noise=st.text() | st.text().map(lambda t: f"-----BEGIN CERTIFICATE REQUEST-----\n{t}"))
def test_anything_else_is_rejected_and_raises_nothing_else(noise: str) -> None:
    with pytest.raises(Rejected):
        proven_key(noise)
