"""One control plane from start to end: what a restart of Deployment `istiod` makes anew.

    keys, read from disk ─► authority ─► agent's requests
    objects ─► control plane ─► sidecars' streams
    rotation of the CA, ledger, guard, root certificates, trust domain, metrics

What stays is the daemon's: API, controllers, node, agent, DNS, and every proxy with what it has.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mutua import __version__
from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer, ReplaceableIssuer
from mutua.api.object import PODS
from mutua.cluster.certificates.coherence import ConfirmedBundles, VerdictWriter
from mutua.cluster.certificates.figures import certificate_figures
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.view import View
from mutua.cluster.istiod import MONITORING_PORT
from mutua.cluster.monitoring import Monitoring
from mutua.cluster.running_proxies import running_proxies
from mutua.cluster.sidecar import MeshSidecars
from mutua.cluster.trust_domain import TrustDomainFollower
from mutua.controlplane.ca.rotator import Rotator
from mutua.controlplane.ca.service import CertificateAuthorityService
from mutua.controlplane.coherence.coherence import Coherence
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.ledger.keeper import Keeper, Program
from mutua.controlplane.mesh_config import LiveSettings, Report
from mutua.controlplane.root_cert import RootCertificatePublisher
from mutua.controlplane.strict.guard import Guard, Record
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError
from mutua.identity.authority import Authority
from mutua.identity.journal import Journal
from mutua.identity.keystore import KeyStore
from mutua.identity.x509 import Malformed
from mutua.lifecycle.supervisor import Ready, Service, supervise
from mutua.model.settings import MeshSettings
from mutua.store.port import ObjectStore
from mutua.telemetry import certificates
from mutua.telemetry import metrics as names
from mutua.telemetry.certificates import Sample
from mutua.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stays when a control plane goes.

    Attributes:
        store: The cluster's objects.
        clock: Wall time.
        settings: Of the mesh, live.
        keys: Reads the CA's keys anew.
        journal: Where issuances are written down.
        issuer: Whom the agent asks; served by the control plane of the moment.
        agent: Keeps the workloads' certificates.
        view: The objects in memory.
        events: Where what happens is told.
        rng: Chooses whom to check.
        sidecars: Serves the proxies.
        program: Finds out which program called.
        report: Told what happened to an object.
        record_policy: The same for policies on probation.
        address: The node's own; where the control plane listens.
    """

    store: ObjectStore
    clock: Clock
    settings: LiveSettings
    keys: Callable[[], KeyStore]
    journal: Journal
    issuer: ReplaceableIssuer
    agent: Agent
    view: View
    events: EventRecorder
    rng: random.Random
    sidecars: MeshSidecars
    program: Program
    report: Report
    record_policy: Record
    address: str


class ControlPlaneInstance:
    """One control plane."""

    def __init__(self, around: Surroundings) -> None:
        """Put the parts together; nothing runs yet.

        Raises:
            MutuaError: The authority cannot be used.
        """
        self._around = around
        store, clock = around.store, around.clock
        started_at = clock.now().timestamp()
        keys = around.keys()
        self._authority = Authority(
            keys.material(keys.state.issuing), keys.trust_domain, clock, journal=around.journal
        )
        # Its own copy, so that its listeners end with it.
        self._settings = LiveSettings(MeshSettings(trust_domain=self._authority.trust_domain))
        self._plane = ControlPlane(
            store, clock=clock, settings=self._settings, report=around.report
        )
        self._trust_domain = TrustDomainFollower(
            self._settings, self._authority, self._plane, around.agent
        )
        self._roots = RootCertificatePublisher(store, lambda: self._authority.roots_pem)
        self._authority.listen(self._roots.refresh)
        self._rotator = Rotator(
            keys, self._authority, around.agent, clock, names=running_proxies(around.view)
        )
        self._rotation = CertificateAuthorityService(
            store, self._rotator, self._authority, clock, around.report
        )
        writer = VerdictWriter(around.view, around.events, clock)
        self._coherence = Coherence(
            self._authority,
            ConfirmedBundles(around.agent.status).holders,
            lambda: self._plane.snapshot,
            writer.record,
            writer.publish,
            clock=clock,
            rng=around.rng,
        )
        self._keeper = Keeper(store, clock, lambda: self._plane.snapshot, program=around.program)
        self._guard = Guard(store, clock, lambda: self._plane.snapshot, around.record_policy)
        self._keeper.on_refusal = self._guard.refused
        self.metrics = Metrics(
            version=__version__, started_at=started_at, now=lambda: clock.now().timestamp()
        )
        self.metrics.gauge(
            names.PROXIES,
            "Proxies connected to this control plane.",
            lambda: self._plane.connected,
            version=__version__,
        )
        self.metrics.samples(certificates.HELP, self._certificate_samples)
        self._authority.observe = self._count
        self._monitoring = Monitoring(
            self.metrics, clock, address=around.address, port=MONITORING_PORT, version=__version__
        )

    @property
    def services(self) -> Mapping[str, Service]:
        """What runs, in start order."""
        return {
            "settings": self._follow_settings,
            "control plane": self._plane.run,
            "ledger": self._keeper.run,
            "guard": self._guard.run,
            "certificate authority": self._rotation.run,  # before anything is signed
            "issuer": self._serve_authority,
            "trust domain": self._trust_domain.run,
            "root certificates": self._roots.run,
            "proxies": self._serve_proxies,
            "coherence": self._coherence.run,
            "monitoring": self._monitoring.run,
        }

    async def run(self, stop: asyncio.Event, ready: Ready) -> None:
        """Run everything until `stop` is set; `ready` is called once all of it serves.

        Raises:
            ExceptionGroup: Something failed, and everything else has been stopped.
        """

        async def announce(begun: Ready) -> None:
            ready()
            begun()
            await asyncio.Event().wait()

        await supervise({**self.services, "readiness": announce}, stop=stop)

    async def _follow_settings(self, ready: Ready) -> None:
        live = self._around.settings
        unsubscribe = live.subscribe(lambda: self._settings.put(live.current))
        try:
            self._settings.put(live.current)
            ready()
            await asyncio.Event().wait()
        finally:
            unsubscribe()

    async def _serve_authority(self, ready: Ready) -> None:
        issuer = self._around.issuer
        issuer.put(LocalIssuer(self._authority))
        try:
            ready()
            await asyncio.Event().wait()
        finally:
            issuer.put(None)

    def _certificate_samples(self) -> Iterator[Sample]:
        figures = certificate_figures(
            self._authority,
            self._rotator.state.rotation,
            self._coherence.verdict,
            self._around.agent.status(),
            self._around.view[PODS].list(),
        )
        return certificates.samples(figures, self._around.clock.now())

    def _count(self, failure: MutuaError | None) -> None:
        """Note how a signing request ended."""
        self.metrics.count(names.CSRS)
        match failure:
            case None:
                self.metrics.count(names.ISSUED)
            case Malformed():
                self.metrics.count(names.PARSING_ERRORS)
            case _:
                self.metrics.count(names.SIGNING_ERRORS, failure.code)

    async def _serve_proxies(self, ready: Ready) -> None:
        sidecars = self._around.sidecars
        try:
            await sidecars.connect(self._plane, self._keeper.witness)
            ready()
            await asyncio.Event().wait()
        finally:
            await sidecars.disconnect()
