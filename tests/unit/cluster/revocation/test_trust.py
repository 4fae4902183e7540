from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from mutua.cluster.revocation.trust import MARGIN, RevocableTrust
from mutua.identity.bundle import TrustBundle
from mutua.identity.crl import FRESH, LIFETIME, sign_lists
from mutua.identity.material import SigningMaterial, self_signed
from mutua.identity.rotation import Evidence
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Fleet:
    """Remembers what it was told to trust."""

    def __init__(self) -> None:
        self.told: list[TrustBundle] = []
        self.lagging = Evidence()

    def trust(self, bundle: TrustBundle) -> None:
        self.told.append(bundle)

    def expect(self, signer: str) -> None:
        pass

    def evidence(self) -> Evidence:
        return self.lagging


class World:
    """One CA, or two of them."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.fleet = Fleet()
        self.signers = [self.authority("a")]
        self.trust = RevocableTrust(self.fleet, lambda: self.signers, self.clock)

    def authority(self, name: str) -> SigningMaterial:
        return self_signed(self_signed_ca(name, lifetime=timedelta(days=3650), clock=self.clock))

    def bundle(self, crl: str = "") -> TrustBundle:
        return TrustBundle(tuple(one.anchor for one in self.signers), crl)


def lists(bundle: TrustBundle) -> int:
    return bundle.crl.count("BEGIN X509 CRL")


def test_without_revocations_there_is_no_list() -> None:
    world = World()

    world.trust.trust(world.bundle())
    world.trust.revoke([])

    assert world.fleet.told == [world.bundle()]


def test_a_list_comes_with_the_first_revocation_and_goes_with_the_last() -> None:
    world = World()
    world.trust.trust(world.bundle())

    world.trust.revoke([7])
    world.trust.revoke([7])
    world.trust.revoke([])

    assert [lists(one) for one in world.fleet.told] == [0, 1, 0]


def test_what_is_revoked_stays_revoked_while_the_ca_rotates() -> None:
    world = World()
    world.trust.trust(world.bundle())
    world.trust.revoke([7])

    world.signers.append(world.authority("b"))
    world.trust.trust(world.bundle())

    assert lists(world.fleet.told[-1]) == 2
    assert world.fleet.told[-1].roots == world.bundle().roots


def test_the_same_again_is_not_signed_again_until_it_is_old() -> None:
    world = World()
    world.trust.trust(world.bundle())
    world.trust.revoke([7])
    told = len(world.fleet.told)

    world.trust.trust(world.bundle())
    world.trust.revoke([7])
    assert len(world.fleet.told) == told

    world.clock.instant += FRESH + timedelta(seconds=1)
    world.trust.revoke([7])
    first, second = (x509.load_pem_x509_crl(one.crl.encode()) for one in world.fleet.told[-2:])
    assert second.next_update_utc is not None
    assert first.next_update_utc is not None
    assert second.next_update_utc > first.next_update_utc


def test_an_operators_list_is_honoured_and_of_the_whole_chain_where_it_covers_it() -> None:
    world = World()
    plugged = sign_lists([one.signer for one in world.signers], [9], number=1, now=NOW)

    world.trust.trust(world.bundle(plugged))

    (told,) = world.fleet.told
    found = x509.load_pem_x509_crl(told.crl.encode())
    assert {one.serial_number for one in found} == {9}
    assert told.checks_authorities


def test_a_list_of_an_authority_above_that_ends_ends_no_traffic() -> None:
    world = World()
    (signer,) = world.signers
    above = world.authority("above")
    listed = sign_lists([signer.signer, above.signer], [9], number=1, now=NOW)
    bundle = TrustBundle((signer.anchor, above.anchor), listed)
    world.trust.trust(bundle)

    world.clock.instant += LIFETIME - MARGIN
    world.trust.revoke([])
    world.trust.revoke([])

    assert [one.checks_authorities for one in world.fleet.told] == [True, False]
    own = x509.load_pem_x509_crl(world.fleet.told[-1].crl.encode())
    assert own.next_update_utc == world.clock.instant + LIFETIME
    assert {one.serial_number for one in own} == {9}


def test_whoever_gets_no_certificate_holds_no_rotation_up() -> None:
    world = World()
    refused = {"kicked"}
    trust = RevocableTrust(
        world.fleet, lambda: world.signers, world.clock, is_refused=refused.__contains__
    )
    world.fleet.lagging = Evidence(("kicked", "web"), ("web", "kicked"))

    assert trust.evidence() == Evidence(("web",), ("web",))

    refused.clear()

    assert trust.evidence() == world.fleet.lagging


@pytest.mark.parametrize("by", [timedelta(hours=12), timedelta(days=2), timedelta(days=40)])
def test_a_list_does_not_lie_in_the_future_when_the_clock_is_set_back(by: timedelta) -> None:
    world = World()
    world.trust.trust(world.bundle())
    world.trust.revoke([7])

    world.clock.advance(-by)
    world.trust.revoke([7])
    world.trust.revoke([7])

    (*_, bundle) = world.fleet.told
    found = x509.load_pem_x509_crl(bundle.crl.encode())
    assert found.last_update_utc <= world.clock.now()
    assert found.get_revoked_certificate_by_serial_number(7) is not None
    assert len(world.fleet.told) == 3


def test_other_cas_are_trusted_besides_the_meshs_and_go_again() -> None:
    world = World()
    other = TrustBundle((world.authority("other").anchor,))
    world.trust.trust_also(other)
    world.trust.trust(world.bundle())
    world.trust.trust_also(TrustBundle(()))

    told = [one.roots for one in world.fleet.told]
    assert told == [world.bundle().roots + other.roots, world.bundle().roots]


def test_a_list_of_another_ca_makes_proxies_need_one_of_the_meshs() -> None:
    world = World()
    other = world.authority("other")
    crl = sign_lists([other.signer], [9], number=1, now=NOW)
    world.trust.trust(world.bundle())

    world.trust.trust_also(TrustBundle((other.anchor,), crl))

    [_, told] = world.fleet.told
    assert lists(told) == 2
    assert not told.checks_authorities


def test_another_ca_without_a_list_does_not_weaken_the_check_of_the_meshs_own() -> None:
    world = World()
    crl = sign_lists([one.signer for one in world.signers], [], number=1, now=NOW)
    world.trust.trust(world.bundle(crl))

    world.trust.trust_also(TrustBundle((world.authority("other").anchor,)))

    assert [one.checks_authorities for one in world.fleet.told] == [True, True]


def test_what_the_mesh_s_own_ca_certifies_is_told_apart_from_what_others_do() -> None:
    world = World()
    assert world.trust.own is None
    world.trust.trust(world.bundle())
    world.trust.trust_also(TrustBundle((world.authority("other").anchor,)))
    world.trust.revoke([7])

    own = world.trust.own
    assert own is not None
    assert own.roots == world.bundle().roots
    assert lists(own) == 1
