"""Writes down what certificates the pods of this machine have, whenever that changes.

The agent is asked every REST; an object is written when the answer is another than before, at most
BATCH a round, so that a thousand renewals at once are a trickle of writes.  Nobody else may write
these objects (the API serves them read-only), so there is nothing to put back.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from mutua.agent.agent import CertificateStatus
from mutua.api.object import PODS, WORKLOAD_CERTIFICATES, Object
from mutua.cluster.certificates.record import certificate_object, notice
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.ownership import is_controlled_by
from mutua.cluster.controllers.view import View
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError
from mutua.lifecycle.supervisor import Ready
from mutua.store.mirror import address, uid

REST: Final = 1.0
"""Seconds between two looks at the agent, which itself looks at its certificates every second."""

BATCH: Final = 50
"""Objects written in one round; each is a synchronous write of the store."""

COMPONENT: Final = "istio-agent"
"""Who events come from."""

log = logging.getLogger(__name__)


class CertificateReporter:
    """Keeps the WorkloadCertificates of one machine true."""

    def __init__(
        self,
        view: View,
        events: EventRecorder,
        statuses: Callable[[], Sequence[CertificateStatus]],
        clock: Clock,
    ) -> None:
        """Prepare; nothing is written before `run`.

        Args:
            view: Follows pods and WorkloadCertificates.
            events: Where trouble with renewals, and its end, are told.
            statuses: What the agent knows, one per workload.
            clock: Decides whether a certificate has ended.
        """
        self._view = view
        self._events = events
        self._statuses = statuses
        self._clock = clock
        self._written: dict[str, CertificateStatus] = {}

    async def run(self, ready: Ready) -> None:
        """Report until cancelled; the view has to be synced."""
        ready()
        while True:
            await self.report()
            await asyncio.sleep(REST)

    async def report(self) -> None:
        """Write what has changed since the last time, a batch of it."""
        known = {one.workload.uid: one for one in self._statuses()}
        self._written = {pod: one for pod, one in self._written.items() if pod in known}
        changed = [pod for pod, one in known.items() if self._written.get(pod) != one][:BATCH]
        if not changed:
            return
        pods = {uid(pod): pod for pod in self._view[PODS].list()}
        for pod_uid in changed:
            if (pod := pods.get(pod_uid)) is not None:
                await self._report(pod, known[pod_uid])

    async def _report(self, pod: Object, known: CertificateStatus) -> None:
        present = self._view[WORKLOAD_CERTIFICATES].get(*address(pod))
        if present is not None and not is_controlled_by(present, pod):
            return  # of an earlier pod of this name; it is being collected
        before = (present or {}).get("status") or {}
        wanted = certificate_object(pod, known, before)
        try:
            if present is None:
                await self._view.create(WORKLOAD_CERTIFICATES, wanted)
            elif present.get("status") != wanted["status"]:
                changed = {**present, "status": wanted["status"]}
                await self._view.update_status(WORKLOAD_CERTIFICATES, changed)
        except MutuaError as error:
            # Its namespace is going, or the store is busy: the next round tries again.
            log.debug("certificate not reported", extra={"reason": str(error)})
            return
        self._written[uid(pod)] = known
        if told := notice(before, wanted["status"], self._clock.now()):
            self._events.record(pod, told.severity, told.reason, told.message, component=COMPONENT)
