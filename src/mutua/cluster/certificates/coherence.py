"""The coherence check's ports, filled in: who holds what, and where the verdict is written.

agent ── bundle each proxy has confirmed ──> Coherence ──> events on pods and on the CA
                                                └──> condition Coherent of the CA's object
"""

import logging
from collections.abc import Callable, Sequence

from mutua.agent.agent import CertificateStatus
from mutua.api.condition import carried_over, find_condition
from mutua.api.object import CERTIFICATE_AUTHORITIES, PODS, Object
from mutua.cluster.controllers.events import EventRecorder, Severity
from mutua.cluster.controllers.view import View
from mutua.controlplane.ca.record import NAME, NAMESPACE
from mutua.controlplane.coherence.coherence import Holder, Verdict
from mutua.foundation.clock import Clock, rfc3339
from mutua.foundation.errors import Conflict, MutuaError
from mutua.identity.bundle import TrustBundle
from mutua.store.mirror import uid
from mutua.store.port import NotFound

COHERENT = "Coherent"
"""The condition that says whether what is issued fits what is trusted."""

ATTEMPTS = 3
"""Times a status that somebody else writes as well is written."""

log = logging.getLogger(__name__)


class ConfirmedBundles:
    """What each proxy has confirmed last; one that has confirmed nothing yet is left out."""

    def __init__(self, statuses: Callable[[], Sequence[CertificateStatus]]) -> None:
        self._statuses = statuses
        self._confirmed: dict[str, TrustBundle] = {}

    def holders(self) -> list[Holder]:
        """Return them, as the agent knows it now."""
        known = {one.workload.uid: one for one in self._statuses()}
        kept = {pod: bundle for pod, bundle in self._confirmed.items() if pod in known}
        fresh = {
            pod: one.bundle
            for pod, one in known.items()
            if one.bundle is not None and one.is_bundle_confirmed
        }
        self._confirmed = kept | fresh
        return [
            Holder(pod, known[pod].workload.identity, bundle)
            for pod, bundle in self._confirmed.items()
        ]


class VerdictWriter:
    """Tells what a check found."""

    def __init__(self, view: View, events: EventRecorder, clock: Clock) -> None:
        """Prepare.

        Args:
            view: Follows pods; the CA's object is read from the store behind it.
            events: Where changes are told.
            clock: For the condition.
        """
        self._view = view
        self._events = events
        self._clock = clock

    def record(self, pod_uid: str, severity: Severity, reason: str, message: str) -> None:
        """Note an event on a pod, or on the CA for ""."""
        found: Object | None = {
            "apiVersion": "mutua.io/v1alpha1",
            "kind": "CertificateAuthority",
            "metadata": {"namespace": NAMESPACE, "name": NAME},
        }
        if pod_uid:
            pods = self._view[PODS].list()
            found = next((pod for pod in pods if uid(pod) == pod_uid), None)
        if found is not None:
            self._events.record(found, severity, reason, message, component="istiod")

    async def publish(self, verdict: Verdict) -> None:
        """Write the condition, if it has changed."""
        for _ in range(ATTEMPTS):
            try:
                await self._write(verdict)
            except Conflict:
                continue
            except NotFound:
                pass  # not created yet
            except MutuaError as error:
                log.warning("coherence not written", extra={"reason": str(error)})
            return

    async def _write(self, verdict: Verdict) -> None:
        store = self._view.store
        stored = await store.get(CERTIFICATE_AUTHORITIES, NAMESPACE, NAME)
        status = stored.get("status") or {}
        others = [one for one in status.get("conditions") or () if one["type"] != COHERENT]
        known = find_condition(stored, COHERENT)
        new = {
            "type": COHERENT,
            "status": "True" if verdict.is_coherent else "False",
            "reason": "Accepted" if verdict.is_coherent else "Refused",
            "message": verdict.message,
        }
        ours = carried_over(known, new, rfc3339(self._clock.now()))
        if ours != known:
            changed = {**stored, "status": {**status, "conditions": [*others, ours]}}
            await store.update_status(CERTIFICATE_AUTHORITIES, changed)
