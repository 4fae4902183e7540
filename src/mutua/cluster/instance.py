"""One control plane from start to end: what a restart of Deployment `istiod` makes anew.

    keys, read from disk ─► authority ─► agent's requests
    objects ─► control plane ─► sidecars' streams
    rotation of the CA, ledger, guard, root certificates, trust domain, metrics

What stays is the daemon's: API, controllers, node, agent, DNS, and every proxy with what it has.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from mutua import __version__
from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer, ReplaceableIssuer
from mutua.api.object import PODS
from mutua.cluster.adapters import CertificateReviews
from mutua.cluster.certificates.coherence import ConfirmedBundles, VerdictWriter
from mutua.cluster.certificates.counted import CountedIssuer
from mutua.cluster.certificates.figures import certificate_figures
from mutua.cluster.certificates.issued import held_elsewhere, issued_about, note_state
from mutua.cluster.checkpoint_file import CheckpointFile
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.view import View
from mutua.cluster.istiod import MONITORING_PORT
from mutua.cluster.monitoring import Monitoring
from mutua.cluster.revocation.kept import DeadlineFile
from mutua.cluster.revocation.reaper import Reaper
from mutua.cluster.revocation.register import Gate, Register
from mutua.cluster.revocation.revoker import Revoker
from mutua.cluster.revocation.trust import RevocableTrust
from mutua.cluster.running_proxies import running_proxies
from mutua.cluster.sidecar import MeshSidecars
from mutua.cluster.trust_domain import TrustDomainFollower
from mutua.controlplane.ca.rotator import Rotator
from mutua.controlplane.ca.service import CertificateAuthorityService
from mutua.controlplane.certificates.caller import Authenticators, Caller, TokenReviewer
from mutua.controlplane.certificates.server import PORT as CERTIFICATES_PORT
from mutua.controlplane.certificates.server import CertificateServer
from mutua.controlplane.certificates.service import CertificateService
from mutua.controlplane.certificates.serving import ServingCertificate
from mutua.controlplane.coherence.coherence import Coherence, Holder
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.credentials import Credentials
from mutua.controlplane.ledger.keeper import Keeper, Program
from mutua.controlplane.mesh_config import LiveSettings, Report, peer_authorities
from mutua.controlplane.proxy_container import InjectionSettings
from mutua.controlplane.rollout import Rollout
from mutua.controlplane.root_cert import RootCertificatePublisher
from mutua.controlplane.strict.guard import Guard, Record
from mutua.foundation.clock import Clock
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.issuance_log import IssuanceLog
from mutua.identity.keystore import KeyStore
from mutua.identity.renewal import effective_ttl
from mutua.lifecycle.supervisor import Ready, Service, supervise
from mutua.model.settings import MeshSettings
from mutua.runtime.network.node import NodeNetwork
from mutua.store.port import ObjectStore
from mutua.telemetry import certificates
from mutua.telemetry import metrics as names
from mutua.telemetry.certificates import Sample
from mutua.telemetry.metrics import Metrics
from mutua.xds.sighting import Sighting

TICK: Final = 1.0
"""Seconds between two looks at how long the signing CA lasts."""


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
        network: The pods' connections, for those that have to end.
        ttl: Of workload certificates.
        reviews: Tells whom a token speaks for.
        front: Path of the socket between the CSR service's TLS and its gRPC.
        deadlines: Path of the file that says when older connections have to end.
        checkpoint: Path of the file that says how far a change of modes is.
    """

    store: ObjectStore
    clock: Clock
    settings: LiveSettings
    keys: Callable[[], KeyStore]
    journal: IssuanceLog
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
    network: NodeNetwork
    ttl: timedelta
    reviews: TokenReviewer
    front: Path
    deadlines: Path
    checkpoint: Path


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
        self._settings = LiveSettings(
            MeshSettings(
                trust_domain=self._authority.trust_domain,
                workload_cert_ttl=around.ttl.total_seconds(),
            )
        )
        checkpoint = CheckpointFile(around.checkpoint)
        rollout = Rollout(checkpoint.read())
        rollout.on_checkpoint = checkpoint.write
        self._plane = ControlPlane(
            store, clock=clock, settings=self._settings, report=around.report, rollout=rollout
        )
        self._credentials = Credentials(store)
        self._plane.on_state = self._credentials.follow
        self._credentials.on_change = self._plane.reconsider_status
        self._plane.remarks.credential_fault = self._credentials.fault
        self._plane.knows_proxies = False  # until those that run already are connected
        self._trust_domain = TrustDomainFollower(
            self._settings, self._authority, self._plane, around.agent
        )
        self._roots = RootCertificatePublisher(
            store, lambda: self._authority.roots_pem, lambda: self._authority.bundle.crl
        )
        self._authority.listen(self._roots.refresh)
        self._register = Register()
        self._trust = trust = RevocableTrust(
            around.agent,
            lambda: [keys.material(one) for one in keys.state.trusted],
            clock,
            is_refused=self._is_refused,
        )
        self._rotator = Rotator(
            keys,
            self._authority,
            trust,
            clock,
            names=running_proxies(around.view),
            elsewhere=partial(held_elsewhere, around.journal),
            note=partial(note_state, around.journal),
            objects=lambda material: self._coherence.objection(material),
        )
        self._rotation = CertificateAuthorityService(
            store, self._rotator, self._authority, clock, around.report
        )
        self._confirmed = ConfirmedBundles(around.agent.status)
        writer = VerdictWriter(around.view, around.events, clock)
        self._coherence = Coherence(
            self._authority,
            self._accepted_holders,
            lambda: self._plane.snapshot,
            writer.record,
            writer.publish,
            clock=clock,
            rng=around.rng,
            bundle=self._bundle_in_force,
        )
        self._keeper = Keeper(store, clock, lambda: self._plane.snapshot, program=around.program)
        self._authority.refusal = self._register.refusal
        self._gate = Gate(LocalIssuer(self._authority, around.ttl), self._register)
        self._revoker = Revoker(
            store,
            clock,
            register=self._register,
            trust=trust,
            holders=around.agent,
            network=around.network,
            issued=partial(issued_about, around.journal),
        )
        self._reaper = Reaper(
            clock,
            network=around.network,
            is_presented=around.agent.presents,
            held=lambda: [one.uid for one in around.agent.workloads()],
            addresses=self._revoker.addresses,
            kept=DeadlineFile(around.deadlines),
        )
        self._gate.listener = self._reaper.certified
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
        self.metrics.gauge(
            names.INBOUND_CONFLICTS,
            "Pairs of Services that disagree on the protocol of one container port.",
            lambda: self._plane.conflicts.protocol_conflicts,
        )
        self.metrics.samples(certificates.HELP, self._certificate_samples)
        self._issuer = CountedIssuer(self._gate, self.metrics.count)
        self._certificates = CertificateServer(
            CertificateService(
                self._authority,
                Authenticators(
                    around.reviews,
                    CertificateReviews(
                        store,
                        clock,
                        issued=around.journal.unexpired,
                        pods=around.view[PODS].list,
                    ),
                    trust_domain=lambda: self._authority.trust_domain,
                    clock=clock,
                    clusters=(InjectionSettings().cluster_id,),
                ),
                monotonic=time.monotonic,
                refusal=self._refusal,
                count=self.metrics.count,
            ),
            ServingCertificate(self._authority, clock, self._bundle_in_force),
            around.front,
        )
        self._monitoring = Monitoring(
            self.metrics, clock, address=around.address, port=MONITORING_PORT, version=__version__
        )

    @property
    def services(self) -> Mapping[str, Service]:
        """What runs, in start order."""
        return {
            "settings": self._follow_settings,
            "credentials": self._credentials.run,
            "control plane": self._plane.run,
            "ledger": self._keeper.run,
            "guard": self._guard.run,
            "certificate authority": self._rotation.run,  # before anything is signed
            "revocations": self._revoker.run,  # before that as well
            "issuer": self._serve_authority,
            "expiry": self._reaper.run,
            "trust domain": self._trust_domain.run,
            "root certificates": self._roots.run,
            "proxies": self._serve_proxies,
            "coherence": self._coherence.run,
            "certificate server": self._serve_certificates,
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
        live, changed = self._around.settings, asyncio.Event()

        def follow() -> None:
            self._adopt_settings()
            changed.set()

        unsubscribe = live.subscribe(follow)
        try:
            follow()
            while True:
                if changed.is_set():
                    changed.clear()
                    self._trust.trust_also(peer_authorities(live.current.ca_certificates))
                    ready()
                self._adopt_settings()
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK):
                        await changed.wait()
        finally:
            unsubscribe()

    def _adopt_settings(self) -> None:
        """Put the settings into force, with the lifetime that the signing CA's end allows."""
        around = self._around
        left = self._authority.material.not_after - around.clock.now()
        ttl = effective_ttl(around.ttl, left).total_seconds()
        self._settings.put(replace(around.settings.current, workload_cert_ttl=ttl))

    async def _serve_authority(self, ready: Ready) -> None:
        issuer = self._around.issuer
        issuer.put(self._issuer)
        try:
            ready()
            await asyncio.Event().wait()
        finally:
            issuer.put(None)

    async def _serve_certificates(self, ready: Ready) -> None:
        """Serve CSRs to pods: the node's address is inside the mesh, never the host's."""
        address = (self._around.address, CERTIFICATES_PORT)
        with socket.create_server(address, backlog=128) as listener:
            listener.settimeout(0)
            await self._certificates.serve(listener, ready)

    def _accepted_holders(self) -> Sequence[Holder]:
        # Who is kicked is to be refused, and no sign that something does not fit.
        return [one for one in self._confirmed.holders() if not self._is_refused(one.pod)]

    def _bundle_in_force(self) -> TrustBundle:
        # Without the CAs of other meshes: whom they certify speaks to workloads only.
        return self._trust.own or self._authority.bundle

    def _is_refused(self, pod_uid: str) -> bool:
        held = (one for one in self._around.agent.workloads() if one.uid == pod_uid)
        return any(self._register.refuses(one.identity, one.uid) for one in held)

    def _refusal(self, caller: Caller) -> str:
        serial = int(caller.serial_number or "0", 16)
        return self._register.refusal(caller.identity, caller.pod_uid, serial)

    def _witness(self, pod_uid: str) -> Callable[[Sighting], None]:
        """Return who listens to what a pod's proxy sees."""
        keep = self._keeper.witness(pod_uid)

        def hear(sighting: Sighting) -> None:
            keep(sighting)
            self._revoker.hear(sighting)
            self._reaper.hear(sighting)

        return hear

    def _certificate_samples(self) -> Iterator[Sample]:
        figures = certificate_figures(
            self._authority,
            self._rotator.state.rotation,
            self._coherence.verdict,
            self._around.agent.status(),
            self._around.view[PODS].list(),
        )
        return certificates.samples(figures, self._around.clock.now())

    async def _serve_proxies(self, ready: Ready) -> None:
        sidecars = self._around.sidecars
        try:
            await sidecars.connect(self._plane, self._witness, self._credentials)
            self._plane.knows_proxies = True
            ready()
            await asyncio.Event().wait()
        finally:
            await sidecars.disconnect()
