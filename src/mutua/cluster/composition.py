"""How the parts of one machine's mesh are put together, and in which order they start.

    store ─► registry (admission: Service addresses, injection) ─► everybody else
    mesh config ─► live settings of everybody below
    agent ─► sidecars ─► node ◄── shim, network
    controllers, DNS: over the registry
    node ─► pod of Deployment istiod ─► control plane (mutua.cluster.instance)

The control plane comes and goes with its pod; everything else lives as long as the daemon.  The API
server is last: when `mutua up` returns, everything behind it works.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from mutua.agent.agent import Agent
from mutua.agent.issuer import ReplaceableIssuer
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
from mutua.cluster.apiserver.renewal import CredentialRenewal
from mutua.cluster.apiserver.server import ApiServer
from mutua.cluster.apiserver.streaming import ContainerStreams
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import TokenIssuer
from mutua.cluster.certificates.reporter import CertificateReporter
from mutua.cluster.controllers.cluster import Controllers
from mutua.cluster.controllers.events import Severity
from mutua.cluster.controllers.service_ip import ServiceAddresses
from mutua.cluster.controllers.view import View
from mutua.cluster.hosting import HostedContainers
from mutua.cluster.instance import ControlPlaneInstance, Surroundings
from mutua.cluster.istiod import admit_deployment, create_control_plane, is_scaled_to_zero
from mutua.cluster.nameservice import NameService
from mutua.cluster.node.binding import NodeBinding
from mutua.cluster.node.context import NodeContext
from mutua.cluster.node.control_plane_pod import NAME, NAMESPACE
from mutua.cluster.node.node import Node
from mutua.cluster.node.ports import PodRuntime
from mutua.cluster.node.settings import NodeSettings
from mutua.cluster.settings import DaemonSettings
from mutua.cluster.sidecar import MeshSidecars
from mutua.controlplane.advice import Adviser
from mutua.controlplane.injection import SidecarInjector
from mutua.controlplane.mesh_config import LiveSettings, MeshConfigFollower, admit_mesh_config
from mutua.controlplane.proxy_container import InjectionSettings
from mutua.foundation.clock import SystemClock
from mutua.foundation.layout import Layout
from mutua.identity.authority import DEFAULT_TTL
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

FIRST_NAMESPACES: Final = (
    "default",
    "istio-system",
    "kube-node-lease",
    "kube-public",
    "kube-system",
)
"""What is there before anybody creates anything: Kubernetes' own, and Istio's."""

DEFAULT_TRUST_DOMAIN: Final = MeshSettings().trust_domain

PATIENCE: Final = 20.0
"""Seconds the control plane may take; then the API opens without it, so that its owner can see and
mend what is wrong with the Deployment."""

START_AGAIN: Final = f"kubectl scale deployment/{NAME} -n {NAMESPACE} --replicas=1 starts one"
LOOK: Final = f"kubectl describe pods -n {NAMESPACE} says why"

SYNC_STATUS: Final = "/debug/syncz"
"""What `proxy-status` reads; Istio's control plane has it at the same path."""

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

        def keys() -> KeyStore:
            return KeyStore.open(layout.pki / "ca", domain, clock, sealer=outside.sealer)

        ttl = timedelta(seconds=settings.workload_cert_ttl) or DEFAULT_TTL
        live = LiveSettings(
            MeshSettings(trust_domain=keys().trust_domain, workload_cert_ttl=ttl.total_seconds())
        )
        injector = SidecarInjector(
            outside.store, lambda: InjectionSettings(trust_domain=live.current.trust_domain)
        )
        addresses = ServiceAddresses(outside.store)
        envoy = find_envoy(Path(settings.envoy) if settings.envoy else None)
        node = node_settings(settings, envoy)
        hooks = (
            addresses.admit,
            injector,
            NodeBinding(node).admit,
            admit_deployment,
            admit_mesh_config,
        )
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
        issuer = ReplaceableIssuer()
        self._agent = Agent(issuer, clock, rng.random)
        self._mesh_config = MeshConfigFollower(
            self.registry, live, self._tell, settings.trust_domain
        )
        self._sidecars = MeshSidecars(self._agent, envoy, live)
        around = Surroundings(
            store=self.registry,
            clock=clock,
            settings=live,
            keys=keys,
            journal=self._issuance,
            issuer=issuer,
            agent=self._agent,
            view=self._controllers.view,
            events=self._controllers.events,
            rng=rng,
            sidecars=self._sidecars,
            program=ProgramFinder(layout.netns).find,
            report=self._tell,
            record_policy=self._record_policy,
            address=node.address,
            network=outside.network,
            ttl=ttl,
            reviews=TokenReviews(TokenReviewer(self.registry, self._signer, clock)),
            front=layout.run / "ca.sock",
            deadlines=layout.run / "deadlines.json",
            checkpoint=layout.run / "checkpoint.json",
        )
        self._containers = HostedContainers(
            outside.shim, lambda stop, ready: ControlPlaneInstance(around).run(stop, ready), clock
        )
        self._names = NameService(self._controllers.view, node)
        prober = NetworkProber(outside.network)
        self._node = Node(
            NodeContext(
                settings=node,
                runtime=PodRuntime(self._containers, outside.network, prober),
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
            "rules": self._follow_rules,
            "agent": self._agent.run,
            "certificates": self._certificates.run,
            "dns": self._names.run,
            "hosting": self._containers.run,
            "node": announced("starting the node", self._run_node),
            "control plane": partial(self._await_control_plane, report),
            "api": announced("opening the API", self._serve_api),
        }

    def _record_policy(self, policy: Object, severity: Severity, reason: str, note: str) -> None:
        events = self._controllers.events
        events.record(policy, severity, reason, note, component="strict-guard")

    async def _run_mesh_config(self, ready: Ready) -> None:
        await create_namespaces(self.registry)
        await create_control_plane(self.registry)
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

    async def _await_control_plane(self, report: Callable[[str], None], ready: Ready) -> None:
        """Wait for the control plane, unless its owner wants none.

        Raises:
            Exception: It does not start; the reason is its own.
        """
        if await is_scaled_to_zero(self.registry):
            report(f"no control plane: deployment/{NAME} has 0 replicas; {START_AGAIN}")
        else:
            report("starting the control plane")
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._containers.wait_settled()
            except TimeoutError:
                report(f"no control plane after {PATIENCE:g} s; {LOOK}")
        ready()
        await asyncio.Event().wait()

    async def _serve_api(self, ready: Ready) -> None:
        listener, layout = self._outside.listener, self._settings.layout
        reviewer = TokenReviewer(self.registry, self._signer, self._clock)
        authenticators = (CertificateAuthenticator(), TokenAuthenticator(reviewer))
        server = ApiServer(
            self.registry,
            authenticator=FirstOf(authenticators),
            streaming=ContainerStreams(self.registry, self._containers, layout),
            tokens=self._signer,
            clock=self._clock,
            pages={SYNC_STATUS: self._sidecars.sync_status},
        )
        _announce(layout, listener, self.credentials)
        tls = tls_context(
            self.credentials.server_file,
            self.credentials.authority_pem,
            password=self.credentials.server_password,
        )

        def adopt(new: ApiCredentials) -> None:
            tls.load_cert_chain(new.server_file, password=new.server_password)
            _announce(layout, listener, new)

        make = partial(prepare_credentials, layout.pki, self._clock, self._outside.sealer)
        renewal = CredentialRenewal(make, adopt, self._clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(renewal.run(self.credentials), name="API certificates")
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
