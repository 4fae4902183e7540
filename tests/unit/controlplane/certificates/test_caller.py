"""Which authenticator decides, and on what."""

from datetime import timedelta

import pytest
from typing_extensions import override

from mutua.controlplane.certificates.caller import (
    Authenticators,
    Caller,
    CertificateReviewer,
    ReviewedUser,
    Shown,
    TokenReviewer,
    Unauthenticated,
)
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.keys import Malformed
from mutua.identity.svid import Svid, read_svid
from mutua.identity.x509 import parse_certificates, self_signed_ca
from mutua.testing.clock import ManualClock

WEB = SpiffeId("cluster.local", "shop", "web")
GOOD = ReviewedUser("system:serviceaccount:shop:web", ("system:serviceaccounts",))


class Reviews(TokenReviewer):
    """Knows the tokens it is given."""

    def __init__(self, **known: ReviewedUser) -> None:
        self.known = known

    @override
    async def review(self, token: str, audience: str) -> ReviewedUser:
        assert audience == "istio-ca"
        if token not in self.known:
            raise Rejected("unknown token")
        return self.known[token]


class Certificates(CertificateReviewer):
    """Says that every certificate is of pod 7."""

    @override
    async def review(self, svid: Svid) -> str:
        return "7"


def authenticators(clock: ManualClock, **known: ReviewedUser) -> Authenticators:
    return Authenticators(
        Reviews(**known),
        Certificates(),
        trust_domain=lambda: "cluster.local",
        clock=clock,
        clusters=("one",),
    )


def der(clock: ManualClock, identity: SpiffeId = WEB) -> bytes:
    ca = self_signed_ca("", organization="x", lifetime=timedelta(days=9), clock=clock)
    authority = Authority(ca, identity.trust_domain, clock)
    issued = authority.sign(new_request(identity).csr_pem, identity)
    from cryptography.hazmat.primitives.serialization import Encoding

    return parse_certificates(issued.leaf)[0].public_bytes(Encoding.DER)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer "])
async def test_a_token(scheme: str) -> None:
    who = authenticators(ManualClock(), good=GOOD)

    caller = await who.authenticate(Shown(authorization=f"{scheme}good", cluster="one"))

    assert caller == Caller(identity=WEB, authenticated="service account token")


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (Shown(), "no bearer token"),
        (Shown(authorization="Basic Z29vZA=="), "no bearer token"),
        (Shown(authorization="Bearer "), "no bearer token"),
        (Shown(authorization="Bearer unknown"), "unknown token"),
        (Shown(authorization="Bearer " + "x" * 9000), "longer than"),
        (Shown(authorization="Bearer good", cluster="two"), "unknown cluster 'two'"),
        (Shown(authorization="Bearer person"), "jane is not a service account"),
        (Shown(authorization="Bearer ungrouped"), "is not a service account"),
        (Shown(authorization="Bearer five"), "is not a service account"),
        (Shown(authorization="Bearer path"), "not a SPIFFE path segment"),
        (Shown(certificate=b"x", authorization=""), "not a certificate"),
    ],
)
async def test_nobody_vouches(shown: Shown, why: str) -> None:
    who = authenticators(
        ManualClock(),
        good=GOOD,
        person=ReviewedUser("jane", ("system:masters",)),
        ungrouped=ReviewedUser("system:serviceaccount:shop:web", ()),
        five=ReviewedUser("system:serviceaccount:shop:web:x", GOOD.groups),
        path=ReviewedUser("system:serviceaccount:shop:a/sa/b", GOOD.groups),
    )

    with pytest.raises(Unauthenticated, match=why):
        await who.authenticate(shown)


async def test_a_certificate_counts_while_it_is_valid() -> None:
    clock = ManualClock()
    who, shown = authenticators(clock), Shown(certificate=der(clock))
    caller = await who.authenticate(shown)
    assert (caller.authenticated, caller.pod_uid) == ("client certificate", "7")

    clock.advance(timedelta(hours=24))

    with pytest.raises(Unauthenticated, match="expired at"):
        await who.authenticate(shown)


async def test_a_token_counts_when_the_certificate_does_not() -> None:
    clock = ManualClock()
    stranger = der(clock, SpiffeId("elsewhere", "shop", "web"))

    caller = await authenticators(clock, good=GOOD).authenticate(
        Shown(certificate=stranger, authorization="Bearer good")
    )

    assert caller.authenticated == "service account token"


def test_an_authority_is_nobodys_certificate() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    clock = ManualClock()
    ca = self_signed_ca("", organization="x", lifetime=timedelta(days=9), clock=clock)

    with pytest.raises(Malformed):
        read_svid(ca.certificate.public_bytes(Encoding.DER))
