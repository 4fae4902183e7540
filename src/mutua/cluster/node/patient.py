"""What a probe's verdict does to a container, and when a sidecar is ready."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mutua.cluster.node import probing
from mutua.cluster.node.context import NodeContext, PodState
from mutua.cluster.node.ports import Target
from mutua.cluster.node.probing import Subject
from mutua.cluster.node.record import Record

ENVOY_READY: Final = "/ready"
"""Envoy's admin endpoint: 200 once all listeners are initialised."""

ENVOY_ADMIN_PORT: Final = 15000
"""Istio's port for Envoy's admin interface, on 127.0.0.1 of the pod."""


class ContainerPatient:
    """Applies verdicts to one attempt of a container; later attempts are not touched."""

    def __init__(
        self, state: PodState, record: Record, kill: Callable[[Record, str], None]
    ) -> None:
        self._state = state
        self._record = record
        self._attempt = record.attempt
        self._kill = kill

    def started(self) -> None:
        """The startup probe has succeeded; without a readiness probe that is all it takes."""
        if self._is_current():
            self._record.started = True
            self._record.ready = not self._record.spec.get("readinessProbe")
            self._state.wake.set()

    def ready(self, *, ready: bool) -> None:
        """The readiness probe has changed its mind."""
        if self._is_current():
            self._record.ready = ready
            self._state.wake.set()

    def unhealthy(self, kind: str, message: str) -> None:
        """A probe has failed once."""
        if self._is_current():
            self._state.tell("Warning", "Unhealthy", f"{kind} probe failed: {message}")

    def failed(self, kind: str) -> None:
        """The startup or liveness probe has failed for good."""
        if self._is_current():
            self._kill(self._record, kind)

    def _is_current(self) -> bool:
        return self._record.is_running and self._record.attempt == self._attempt


async def watch_sidecar(subject: Subject, patient: ContainerPatient, node: NodeContext) -> None:
    """Wait until the proxy has its configuration and listens; then probe it as usual."""
    container = subject.container
    probe = container.get("startupProbe") or container.get("readinessProbe")
    uid = str(subject.pod["metadata"]["uid"])
    admin = Target(uid=uid, host="127.0.0.1", port=ENVOY_ADMIN_PORT, path=ENVOY_READY, inside=True)

    async def is_well() -> bool:
        if not node.sidecars.is_ready(uid):
            return False
        if probe is not None:
            return not await probing.ask(probe, subject, node.runtime)
        return not await node.runtime.prober.http(admin)

    await probing.wait_until(is_well)
    patient.started()
    patient.ready(ready=True)
    # Startup is over, and readiness was just established: what is left can only take it back.
    await probing.watch(replace(subject, started=True, ready=True), patient, node.runtime)
