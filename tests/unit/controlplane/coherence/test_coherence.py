"""The control plane says when what it issues would be refused, by whom, and when that is over."""

import asyncio
import random
from datetime import timedelta

from mutua.controlplane.coherence.coherence import (
    CANARY_TTL,
    FRESH,
    STALE,
    Coherence,
    Holder,
    Verdict,
)
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.crl import LIFETIME, sign_lists
from mutua.identity.journal import Issuance, Journal
from mutua.identity.material import self_signed
from mutua.identity.x509 import Credential, self_signed_ca
from mutua.testing.clock import ManualClock
from mutua.testing.proxy import running

WEB = SpiffeId("td", "shop", "web")


class Notebook(Journal):
    def __init__(self) -> None:
        self.entries: list[Issuance] = []
        self.is_full = False

    def record(self, issuance: Issuance) -> None:
        if self.is_full:
            raise Unavailable("no space left")
        self.entries.append(issuance)


class Checked:
    def __init__(self) -> None:
        self.began = SystemClock().now()  # OpenSSL has no other clock
        self.clock = ManualClock(self.began)
        self.journal = Notebook()
        self.root = self.new_root()
        self.authority = Authority(self.root, "td", self.clock, journal=self.journal)
        self.holders = [Holder("a", WEB, self.authority.bundle)]
        self.published: list[Verdict] = []
        self.told: list[tuple[str, str, str]] = []
        self.coherence = Coherence(
            self.authority,
            lambda: self.holders,
            lambda: None,
            lambda pod, severity, reason, _message: self.told.append((pod, severity, reason)),
            self.publish,
            clock=self.clock,
            rng=random.Random(1),
        )

    async def publish(self, verdict: Verdict) -> None:
        self.published.append(verdict)

    def new_root(self) -> Credential:
        return self_signed_ca("", organization="td", lifetime=timedelta(days=10), clock=self.clock)


async def test_a_mesh_that_fits_is_coherent_and_nothing_is_told() -> None:
    checked = Checked()
    verdict = await checked.coherence.check()

    assert (verdict.is_coherent, verdict.bundles, verdict.at) == (True, 1, checked.began)
    assert checked.told == []
    assert [str(one.identity) for one in checked.journal.entries] == [
        "spiffe://td/ns/istio-system/sa/istiod"
    ]
    entry = checked.journal.entries[0]
    assert entry.authenticated == "coherence check"
    assert entry.not_after == checked.began.replace(microsecond=0) + CANARY_TTL


async def test_a_proxy_that_trusts_another_root_is_named_once_and_its_recovery_too() -> None:
    checked = Checked()
    stale = Holder("b", WEB, TrustBundle((checked.new_root().chain_pem,)))
    checked.holders.append(stale)

    first = await checked.coherence.check()
    await checked.coherence.check()
    checked.holders.remove(stale)
    last = await checked.coherence.check()

    assert list(first.problems) == ["b"]
    assert "not accepted under the trust bundle" in first.message
    assert last.is_coherent
    assert checked.told == [("b", "Warning", "TrustIncoherent"), ("b", "Normal", "TrustCoherent")]


async def test_signing_with_a_new_root_before_proxies_trust_it_is_noticed() -> None:
    checked = Checked()
    await checked.coherence.check()
    fresh = self_signed(checked.new_root())
    checked.authority.adopt(fresh, fresh.bundle)  # what a rotation must not do

    assert list((await checked.coherence.check()).problems) == ["a"]


async def test_an_authority_that_cannot_issue_is_the_problem_itself() -> None:
    checked = Checked()
    checked.journal.is_full = True
    verdict = await checked.coherence.check()

    assert verdict.problems == {"": "no certificate can be issued: no space left"}
    assert checked.told == [("", "Warning", "TrustIncoherent")]


async def test_a_bundle_that_nobody_can_read_is_a_problem_and_not_a_crash() -> None:
    checked = Checked()
    anchor = checked.authority.material.anchor
    broken = TrustBundle((anchor,), crl="-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    checked.authority.adopt(checked.authority.material, broken)

    assert "" in (await checked.coherence.check()).problems


async def test_a_canary_is_used_for_a_while_and_not_after_a_change_of_the_ca() -> None:
    checked = Checked()

    async def issued() -> int:
        await checked.coherence.check()
        return len(checked.journal.entries)

    assert [await issued(), await issued()] == [1, 1]
    checked.clock.instant = checked.began + FRESH
    assert await issued() == 2
    fresh = self_signed(checked.new_root())
    checked.authority.adopt(fresh, fresh.bundle)
    assert await issued() == 3
    checked.authority.trust_domain = "td2"
    assert await issued() == 4


async def test_a_single_refusal_of_a_pod_is_a_suspicion_only() -> None:
    checked = Checked()
    confirm = checked.coherence._confirmed_suspicions

    assert confirm({"a": "no", "b": ""}) == {}
    assert confirm({"a": "no", "b": "no"}) == {"a": "no"}
    assert confirm({"a": "", "b": None}) == {}
    assert confirm({"b": "no"}) == {}


async def test_a_ca_that_shall_sign_is_judged_before_it_does() -> None:
    checked = Checked()
    target = self_signed(checked.new_root())
    bundle = checked.authority.bundle
    both = TrustBundle((*bundle.roots, target.anchor))

    unknown = checked.coherence.objection(target)
    checked.authority.adopt(checked.authority.material, both)
    behind = checked.coherence.objection(target)
    checked.holders = [Holder("a", WEB, both)]

    assert "not accepted under the trust bundle" in unknown
    assert "not accepted under the trust bundle" in behind  # by the proxy that has not heard
    assert checked.coherence.objection(target) == ""
    assert checked.authority.material.fingerprint != target.fingerprint


async def test_an_outdated_revocation_list_speaks_against_a_ca() -> None:
    checked = Checked()
    (root,) = [self_signed(checked.root)]
    outdated = sign_lists([checked.root], [], number=1, now=checked.began - 2 * LIFETIME)
    checked.authority.adopt(root, TrustBundle((root.anchor,), outdated))

    assert "expired" in checked.coherence.objection(root)


async def test_what_proxies_said_speaks_against_the_ca_that_signs_and_against_no_other() -> None:
    checked = Checked()
    other = self_signed(checked.new_root())
    both = TrustBundle((*checked.authority.bundle.roots, other.anchor))
    checked.authority.adopt(checked.authority.material, both)
    checked.holders = []
    checked.coherence.verdict = Verdict(checked.began, {"a": "the proxy at 10.0.0.1 refuses"})

    assert "10.0.0.1" in checked.coherence.objection(checked.authority.material)
    assert checked.coherence.objection(other) == ""


async def test_a_rotation_that_a_verdict_holds_up_does_not_wait_for_the_next_look() -> None:
    checked = Checked()
    stale = Holder("b", WEB, TrustBundle((checked.new_root().chain_pem,)))
    checked.holders.append(stale)
    async with running(checked.coherence.run):
        await asyncio.sleep(0.1)
        checked.holders.remove(stale)
        assert checked.coherence.objection(checked.authority.material) != ""
        checked.clock.advance(STALE + timedelta(seconds=1))
        checked.coherence.objection(checked.authority.material)
        await asyncio.sleep(0.1)

        assert checked.coherence.objection(checked.authority.material) == ""
