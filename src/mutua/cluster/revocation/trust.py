"""What do proxies trust?  The CA's bundle, and other CAs', less what is revoked.

    rotation, plugged-in CA ──> trust(bundle) ─┐
    mesh config ──> trust_also(bundle) ────────┼─> bundle with revocation lists ──> agent
    revocations ──> revoke(serial numbers) ────┘

No lists while nothing is revoked and no operator plugged one in: with a list, proxies refuse every
leaf whose issuer has none.  Else one for each CA that is trusted and whose key is at hand.  Whole
chains are checked while every authority above has a current list too: one that an operator forgot
to replace must not end all traffic.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from mutua.foundation.clock import Clock
from mutua.identity.bundle import TrustBundle
from mutua.identity.crl import BACKDATE, FRESH, Span, chain_coverage, sign_lists
from mutua.identity.material import SigningMaterial
from mutua.identity.rotation import Evidence

MARGIN: Final = timedelta(minutes=1)
"""Before the end of an operator's list from which whole chains are no longer checked: proxies need
a moment to follow."""


class Fleet(Protocol):
    """The agents; see `mutua.agent.agent.Agent`."""

    def trust(self, bundle: TrustBundle) -> None:
        """Have every proxy verify with this bundle."""
        ...

    def expect(self, signer: str) -> None:
        """Have every workload certified by the CA with this fingerprint."""
        ...

    def evidence(self) -> Evidence:
        """Tell who lags."""
        ...


class RevocableTrust:
    """A fleet whose bundles carry revocation lists."""

    def __init__(
        self,
        fleet: Fleet,
        signers: Callable[[], Sequence[SigningMaterial]],
        clock: Clock,
        is_refused: Callable[[str], bool] = lambda _uid: False,
    ) -> None:
        """Stand in front of a fleet.

        Args:
            fleet: Who is told.
            signers: Returns every CA that is trusted and whose key is at hand.
            clock: Wall time.
            is_refused: Tells of a pod, by uid, whether it gets no certificate.
        """
        self._fleet = fleet
        self._is_refused = is_refused
        self._signers = signers
        self._clock = clock
        self._bundle: TrustBundle | None = None
        self._others = TrustBundle(())
        self._serials: frozenset[int] = frozenset()
        self._signed_at: datetime | None = None
        self._signed_for: tuple[Any, ...] | None = None
        self._number = 0
        self._coverage: Span | None = None
        self._handed_out: TrustBundle | None = None

    @property
    def own(self) -> TrustBundle | None:
        """The CA's bundle with the lists handed out last, without other CAs; None before that."""
        own, told = self._bundle, self._handed_out
        return replace(told, roots=own.roots) if own and told else None

    def trust(self, bundle: TrustBundle) -> None:
        """Have every proxy verify with this bundle, and with the lists that belong to it."""
        self._bundle = bundle
        self._hand_out()

    def trust_also(self, others: TrustBundle) -> None:
        """Have every proxy verify with these anchors besides the CA's, and with no others."""
        if others != self._others:
            self._others = others
            self._hand_out()

    def expect(self, signer: str) -> None:
        """Have every workload certified by the CA with this fingerprint."""
        self._fleet.expect(signer)

    def evidence(self) -> Evidence:
        """Tell who lags; whoever gets no certificate is not waited for, as nobody accepts it."""
        found = self._fleet.evidence()
        return Evidence(self._unrefused(found.without_bundle), self._unrefused(found.with_others))

    def _unrefused(self, uids: Iterable[str]) -> tuple[str, ...]:
        return tuple(uid for uid in uids if not self._is_refused(uid))

    def revoke(self, serials: Collection[int]) -> None:
        """Have every proxy refuse these certificates, and no others; nothing new is fine.

        Lists are signed anew long before they are too old, and when the clock was set back so far
        that they would soon lie in the future, if this is called now and then.
        """
        found, is_stale = frozenset(serials), self._is_stale()
        if found != self._serials or is_stale:
            self._serials = found
            self._hand_out(anew=is_stale)

    def _is_stale(self) -> bool:
        if self._signed_at is None:
            return False
        now, held = self._clock.now(), self._handed_out
        is_whole = held is not None and held.checks_authorities
        is_old = not -BACKDATE / 2 < now - self._signed_at <= FRESH
        return is_old or is_whole != self._is_covered(now)

    def _is_covered(self, now: datetime) -> bool:
        return self._coverage is not None and self._coverage.holds(now + MARGIN)

    def _hand_out(self, *, anew: bool = False) -> None:
        if self._bundle is None:
            return
        own, others = self._bundle, self._others
        roots = tuple(dict.fromkeys((*own.roots, *others.roots)))
        if not self._serials and not own.crl and not others.crl:
            self._signed_at = self._signed_for = None
            self._trust(TrustBundle(roots))
            return
        signers, now = self._signers(), self._clock.now()
        key = (own, others, self._serials, tuple(one.fingerprint for one in signers))
        if key != self._signed_for or anew:
            lists = self._lists(own.crl + others.crl, signers, now)
            authorities = [*own.roots, *(pem for one in signers for pem in one.intermediates)]
            # Of the mesh's own CA: one list less of another CA must not weaken this check.
            self._coverage = chain_coverage(lists, authorities) if own.crl else None
            self._trust(TrustBundle(roots, lists, self._is_covered(now)))
            self._signed_for, self._signed_at = key, now

    def _trust(self, bundle: TrustBundle) -> None:
        self._handed_out = bundle
        self._fleet.trust(bundle)

    def _lists(self, plugged: str, signers: Sequence[SigningMaterial], now: datetime) -> str:
        self._number = max(self._number + 1, int(now.timestamp() * 1000))
        credentials = [one.signer for one in signers]
        return sign_lists(credentials, self._serials, number=self._number, now=now, plugged=plugged)
