"""How the parts of one machine's mesh are put together, and in which order they start.

    store ─► registry (admission: Service addresses, injection) ─► everybody else
    mesh config ─► live settings of everybody below
    authority ─► agent ─┐
    control plane ──────┴─► sidecars ─► node ◄── shim, network
    controllers, DNS, root certificates: over the registry

The API server is last: when `mutua up` returns, everything behind it works.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer
from mutua.api.kinds import KINDS
from mutua.api.object import (
    DESTINATION_RULES,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    SERVICE_ENTRIES,
    Object,
    Resource,
)
from mutua.cluster.adapters import NetworkProber, PodTokens, ProgramFinder, TokenReviews
from mutua.cluster.apiserver.auth import CertificateAuthenticator, FirstOf, TokenAuthenticator
from mutua.cluster.apiserver.credentials import (
    ApiCredentials,
    prepare_credentials,
    write_kubeconfig,
)
from mutua.cluster.apiserver.http import tls_context
from mutua.cluster.apiserver.registry import Registry
from mutua.cluster.apiserver.server import ApiServer
from mutua.cluster.apiserver.streaming import ContainerStreams
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import TokenIssuer
from mutua.cluster.certificates.coherence import ConfirmedBundles, VerdictWriter
from mutua.cluster.certificates.reporter import CertificateReporter
from mutua.cluster.controllers.cluster import Controllers
from mutua.cluster.controllers.events import Severity
from mutua.cluster.controllers.service_ip import ServiceAddresses
from mutua.cluster.controllers.view import View
from mutua.cluster.nameservice import NameService
from mutua.cluster.node.binding import NodeBinding
from mutua.cluster.node.context import NodeContext
from mutua.cluster.node.node import Node
from mutua.cluster.node.ports import PodRuntime
from mutua.cluster.node.settings import NodeSettings
from mutua.cluster.revocation.reaper import Reaper
from mutua.cluster.revocation.register import Gate, Register
from mutua.cluster.revocation.revoker import Revoker
from mutua.cluster.revocation.trust import RevocableTrust
from mutua.cluster.running_proxies import running_proxies
from mutua.cluster.settings import DaemonSettings
from mutua.cluster.sidecar import MeshSidecars
from mutua.cluster.trust_domain import TrustDomainFollower
from mutua.controlplane.advice import Adviser
from mutua.controlplane.ca.rotator import Rotator
from mutua.controlplane.ca.service import CertificateAuthorityService
from mutua.controlplane.certificates.caller import Authenticators
from mutua.controlplane.certificates.server import PORT as CERTIFICATES_PORT
from mutua.controlplane.certificates.server import CertificateServer
from mutua.controlplane.certificates.service import CertificateService
from mutua.controlplane.certificates.serving import ServingCertificate
from mutua.controlplane.coherence.coherence import Coherence
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.injection import SidecarInjector
from mutua.controlplane.ledger.keeper import Keeper
from mutua.controlplane.mesh_config import LiveSettings, MeshConfigFollower
from mutua.controlplane.proxy_container import InjectionSettings
from mutua.controlplane.root_cert import RootCertificatePublisher
from mutua.controlplane.strict.guard import Guard
from mutua.foundation.clock import SystemClock
from mutua.foundation.layout import Layout
from mutua.identity.authority import DEFAULT_TTL, Authority
from mutua.identity.issuance_log import IssuanceLog
from mutua.identity.keystore import KeyStore
from mutua.identity.sealing import Sealer
from mutua.lifecycle.supervisor import Ready, Service
from mutua.model.settings import MeshSettings
from mutua.runtime.envoy import find_envoy
from mutua.runtime.network.node import NodeNetwork
from mutua.runtime.shim.client import ShimClient
from mutua.store.port import AlreadyExists, ObjectStore
from mutua.store.sqlite import SqliteStore
from mutua.xds.sighting import Sighting

FIRST_NAMESPACES: Final = (
    "default",
    "istio-system",
    "kube-node-lease",
    "kube-public",
    "kube-system",
)
"""What is there before anybody creates anything: Kubernetes' own, and Istio's."""

DEFAULT_TRUST_DOMAIN: Final = MeshSettings().trust_domain

RULES: Final = (PEER_AUTHENTICATIONS, DESTINATION_RULES, SERVICE_ENTRIES)
"""Kinds that no controller follows, and advice is given from."""

AGENTS_OF_THE_USER: Final = (
    "/run/user",  # the session's bus, systemd, SSH and GPG agents
    "/run/dbus",
    "/run/systemd/private",
    "/run/docker.sock",
    "/run/containerd",
    "/run/crio",
    "/run/podman",
)
"""Sockets behind which something outside would read a file or start a program for whoever has
this user's uid: a way around everything that is hidden from containers."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon brought along or opened before it put the parts together."""

    listener: socket.socket
    store: SqliteStore
    shim: ShimClient
    network: NodeNetwork
    sealer: Sealer


class Mesh:
    """One machine's mesh.  `services` is what the supervisor runs."""

    def __init__(self, settings: DaemonSettings, outside: Outside) -> None:
        """Put the parts together; nothing runs yet.

        Raises:
            Rejected: A key file cannot be used; it is left as it is.
            EnvoyMissing: There is no Envoy to run.
        """
        self._outside = outside
        self._settings = settings
        layout, domain = settings.layout, settings.trust_domain or DEFAULT_TRUST_DOMAIN
        clock, rng = SystemClock(), random.SystemRandom()
        self._issuance = IssuanceLog(layout.issuance, clock)
        self.credentials = prepare_credentials(layout.pki, clock, outside.sealer)
        keys = KeyStore.open(layout.pki / "ca", domain, clock, sealer=outside.sealer)
        authority = Authority(
            keys.material(keys.state.issuing), keys.trust_domain, clock, journal=self._issuance
        )
        ttl = timedelta(seconds=settings.workload_cert_ttl) or DEFAULT_TTL
        live = LiveSettings(
            MeshSettings(trust_domain=authority.trust_domain, workload_cert_ttl=ttl.total_seconds())
        )
        injector = SidecarInjector(
            outside.store, lambda: InjectionSettings(trust_domain=live.current.trust_domain)
        )
        addresses = ServiceAddresses(outside.store)
        envoy = find_envoy(Path(settings.envoy) if settings.envoy else None)
        node = node_settings(settings, envoy)
        hooks = (addresses.admit, injector, NodeBinding(node).admit)
        self.registry = Registry(
            outside.store,
            admission=hooks,
            adviser=Adviser(self._listed, lambda: live.current),
            clock=clock,
        )
        self._signer = TokenIssuer(self.credentials.token_key, clock)
        namespaced = [kind.resource for kind in KINDS if kind.namespaced and kind.stored]
        self._controllers = Controllers(self.registry, clock, namespaced=namespaced, rng=rng)
        self._rules = View(self.registry, RULES)
        register = Register()
        authority.refusal = register.refusal
        gate = Gate(LocalIssuer(authority, ttl), register)
        self._agent = Agent(gate, clock, rng.random)
        self._certificate_server = CertificateServer(
            CertificateService(
                authority,
                Authenticators(
                    TokenReviews(TokenReviewer(self.registry, self._signer, clock)),
                    trust_domain=lambda: authority.trust_domain,
                    clock=clock,
                    clusters=(InjectionSettings().cluster_id,),
                ),
                monotonic=time.monotonic,
                refusal=lambda caller: register.refusal(
                    caller.identity, caller.pod_uid, int(caller.serial_number or "0", 16)
                ),
            ),
            ServingCertificate(authority, clock),
            layout.run / "ca.sock",
        )
        self._node_address = node.address
        self._mesh_config = MeshConfigFollower(
            self.registry, live, self._tell, settings.trust_domain
        )
        self._control_plane = ControlPlane(
            self.registry, clock=clock, settings=live, report=self._tell
        )
        self._trust_domain = TrustDomainFollower(live, authority, self._control_plane, self._agent)
        self._root_certificates = RootCertificatePublisher(
            self.registry, lambda: authority.roots_pem
        )
        authority.listen(self._root_certificates.refresh)
        names = running_proxies(self._controllers.view)
        trust = RevocableTrust(
            self._agent, lambda: [keys.material(one) for one in keys.state.trusted], clock
        )
        rotator = Rotator(keys, authority, trust, clock, names=names)
        self._authority = CertificateAuthorityService(
            self.registry, rotator, authority, clock, self._tell
        )
        self._keeper = Keeper(
            self.registry,
            clock,
            lambda: self._control_plane.snapshot,
            program=ProgramFinder(layout.netns).find,
        )
        self._guard = Guard(
            self.registry, clock, lambda: self._control_plane.snapshot, self._record_policy
        )
        self._keeper.on_refusal = self._guard.refused
        self._sidecars = MeshSidecars(self._control_plane, self._agent, envoy, live, self._witness)
        self._revoker = Revoker(
            self.registry,
            clock,
            register=register,
            trust=trust,
            holders=self._agent,
            network=outside.network,
            issued=self._issuance.unexpired_of,
        )
        self._reaper = Reaper(
            clock,
            network=outside.network,
            is_presented=self._agent.presents,
            held=lambda: [one.uid for one in self._agent.workloads()],
            addresses=self._revoker.addresses,
        )
        gate.listener = self._reaper.certified
        self._names = NameService(self._controllers.view, node)
        prober = NetworkProber(outside.network)
        self._node = Node(
            NodeContext(
                settings=node,
                runtime=PodRuntime(outside.shim, outside.network, prober),
                view=self._controllers.view,
                events=self._controllers.events,
                clock=clock,
                sidecars=self._sidecars,
                tokens=PodTokens(self.registry, self._signer),
            )
        )
        self._certificates = CertificateReporter(
            self._controllers.view, self._controllers.events, self._agent.status, clock
        )
        writer = VerdictWriter(self._controllers.view, self._controllers.events, clock)
        self._coherence = Coherence(
            authority,
            ConfirmedBundles(self._agent.status).holders,
            lambda: self._control_plane.snapshot,
            writer.record,
            writer.publish,
            clock=clock,
            rng=rng,
        )
        self._clock = clock

    def services(self, report: Callable[[str], None]) -> Mapping[str, Service]:
        """Return the services in start order.

        Args:
            report: Told, in a person's words, what starts.
        """

        def announced(what: str, service: Service) -> Service:
            async def serve(ready: Ready) -> None:
                report(what)
                await service(ready)

            return serve

        return {
            "issuance log": self._issuance.run,
            "mesh config": self._run_mesh_config,
            "controllers": announced("starting the controllers", self._run_controllers),
            "control plane": announced("starting the control plane", self._control_plane.run),
            "rules": self._follow_rules,
            "ledger": self._keeper.run,
            "guard": self._guard.run,
            "certificate authority": self._authority.run,
            "revocations": self._revoker.run,
            "expiry": self._reaper.run,
            "agent": self._agent.run,
            "certificates": self._certificates.run,
            "trust domain": self._trust_domain.run,
            "certificate server": self._serve_certificates,
            "root certificates": self._root_certificates.run,
            "dns": self._names.run,
            "node": announced("starting the node", self._run_node),
            "coherence": self._coherence.run,
            "api": announced("opening the API", self._serve_api),
        }

    def _witness(self, pod_uid: str) -> Callable[[Sighting], None]:
        """Return who listens to what a pod's proxy sees."""
        keep = self._keeper.witness(pod_uid)

        def hear(sighting: Sighting) -> None:
            keep(sighting)
            self._revoker.hear(sighting)
            self._reaper.hear(sighting)

        return hear

    def _record_policy(self, policy: Object, severity: Severity, reason: str, note: str) -> None:
        events = self._controllers.events
        events.record(policy, severity, reason, note, component="strict-guard")

    async def _run_mesh_config(self, ready: Ready) -> None:
        await create_namespaces(self.registry)
        await self._mesh_config.run(ready)

    def _tell(self, subject: Object, severity: Severity, reason: str, message: str) -> None:
        events = self._controllers.events
        events.record(subject, severity, reason, message, component="istiod")

    async def _run_controllers(self, ready: Ready) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._controllers.run(), name="controllers")
            await self._controllers.view.wait_synced()
            ready()

    async def _follow_rules(self, ready: Ready) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rules.run(), name="rules")
            await self._rules.wait_synced()
            ready()

    def _listed(self, kind: Resource, namespace: str | None) -> Sequence[Object]:
        """List what advice is given from, out of memory."""
        for view in (self._controllers.view, self._rules):
            if kind in view.resources:
                return view[kind].list(namespace)
        return ()

    async def _run_node(self, ready: Ready) -> None:
        try:
            await self._node.run(ready)
        finally:
            await self._sidecars.stop()

    async def _serve_certificates(self, ready: Ready) -> None:
        """Serve CSRs to pods: the node's address is inside the mesh, never the host's."""
        address = (self._node_address, CERTIFICATES_PORT)
        with socket.create_server(address, backlog=128) as listener:
            listener.settimeout(0)
            await self._certificate_server.serve(listener, ready)

    async def _serve_api(self, ready: Ready) -> None:
        listener, layout = self._outside.listener, self._settings.layout
        reviewer = TokenReviewer(self.registry, self._signer, self._clock)
        authenticators = (CertificateAuthenticator(), TokenAuthenticator(reviewer))
        server = ApiServer(
            self.registry,
            authenticator=FirstOf(authenticators),
            streaming=ContainerStreams(self.registry, self._outside.shim, layout),
            tokens=self._signer,
            clock=self._clock,
        )
        _announce(layout, listener, self.credentials)
        tls = tls_context(
            self.credentials.server_file,
            self.credentials.authority_pem,
            password=self.credentials.server_password,
        )
        await server.serve(listener, tls=tls, ready=ready)


async def create_namespaces(store: ObjectStore) -> None:
    """Create the namespaces that a cluster has from the start."""
    for name in FIRST_NAMESPACES:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await store.create(NAMESPACES, namespace)
        except AlreadyExists:
            continue


def node_settings(settings: DaemonSettings, envoy: Path) -> NodeSettings:
    """Return what the node is told.

    Every mesh of this user is hidden from containers, not only this one: with a single uid,
    nothing but visibility separates them.
    """
    layout = settings.layout
    hide = [str(layout.run.parent), *AGENTS_OF_THE_USER]
    if layout.state.parent.name == "mutua":
        hide.append(str(layout.state.parent))
    return NodeSettings(
        layout=layout,
        python=settings.python,
        path=settings.path,
        hide=tuple(hide),
        visible=(*settings.visible, str(envoy)),
    )


def _announce(layout: Layout, listener: socket.socket, credentials: ApiCredentials) -> None:
    port = listener.getsockname()[1]
    write_kubeconfig(layout.kubeconfig, name=layout.name, port=port, credentials=credentials)
