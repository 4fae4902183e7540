"""When the certificate server's own certificate is replaced."""

from datetime import timedelta

import pytest

from mutua.controlplane.certificates.serving import LIFETIME, ServingCertificate
from mutua.foundation.errors import Unavailable
from mutua.identity.authority import Authority
from mutua.identity.material import self_signed
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import ManualClock


def made(clock: ManualClock, lifetime: timedelta) -> tuple[Authority, ServingCertificate]:
    ca = self_signed_ca("", organization="cluster.local", lifetime=lifetime, clock=clock)
    authority = Authority(ca, "cluster.local", clock)
    return authority, ServingCertificate(authority, clock)


def test_it_is_replaced_at_half_of_its_life_by_the_wall_clock() -> None:
    clock = ManualClock()
    _, serving = made(clock, timedelta(days=3650))
    assert serving.renewed() is not None
    assert serving.renewed() is None

    clock.advance(LIFETIME / 2 - timedelta(hours=1))
    assert serving.renewed() is None
    clock.advance(timedelta(hours=1))
    assert serving.renewed() is not None
    assert serving.renewed() is None
    clock.advance(-timedelta(days=2))  # the clock is set back: not valid yet
    assert serving.renewed() is not None


def test_it_is_replaced_when_the_authority_changes() -> None:
    clock = ManualClock()
    authority, serving = made(clock, timedelta(days=30))
    serving.renewed()
    fresh = self_signed(
        self_signed_ca("", organization="cluster.local", lifetime=timedelta(days=9), clock=clock)
    )

    authority.adopt(fresh, fresh.bundle)

    assert serving.renewed() is not None
    assert serving.renewed() is None


def test_an_expired_authority_is_said_and_asked_again() -> None:
    clock = ManualClock()
    _, serving = made(clock, timedelta(days=1))
    clock.advance(timedelta(days=2))
    with pytest.raises(Unavailable):
        serving.renewed()

    clock.advance(-timedelta(days=2))
    assert serving.renewed() is not None
