"""What does a meshed pod's proxy run, and who serves it?  The node's port, filled in by the mesh.

Per pod, in its private directory, which only its istio-proxy sees:

    proxy/envoy.json     what Envoy starts with
    xds/XDS              its own socket to the control plane
    sds/socket           its own socket to the agent
    certs/               key.pem, cert-chain.pem, root-cert.pem

Being connected to one of these sockets is being that pod: they are the workload's credentials.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from typing_extensions import override

from mutua import __version__
from mutua.agent.agent import Agent
from mutua.agent.sds import sds_handler
from mutua.agent.workload import Workload
from mutua.api.object import Object
from mutua.cluster.node.sidecar import SIDECAR, SidecarPlan, SidecarProvider
from mutua.controlplane.capture import capture_rules
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.credentials import Credentials
from mutua.controlplane.mesh_config import LiveSettings
from mutua.controlplane.proxy_settings import proxy_settings
from mutua.controlplane.sync_status import GenericXdsConfig
from mutua.foundation.spiffe import SpiffeId
from mutua.runtime.envoy import envoy_command
from mutua.runtime.spec import Mount
from mutua.xds.bootstrap import SDS_SOCKET, XDS_SOCKET, Sidecar, bootstrap
from mutua.xds.server import (
    SDS,
    LogReader,
    WorkloadServer,
    ads_handler,
    delta_handler,
    serve_workload,
)
from mutua.xds.sighting import Sighting

CONFIG: Final = "/etc/istio/config/envoy.json"
CERTIFICATES: Final = "/etc/certs"

CONCURRENCY: Final = 2
"""Envoy's worker threads, Istio's default."""

PRIVATE: Final = 0o700

Witness = Callable[[str], Callable[[Sighting], None]]
"""Uid of a pod -> what its proxy's sightings are told to."""


@dataclass(slots=True)
class MeshSidecars(SidecarProvider):
    """Serves the proxies of this machine.

    Certificates are served as long as the pod is there; configuration while there is a control
    plane.  Without one a proxy keeps what it has, and finds no socket to connect to.

    Attributes:
        agent: Where certificates come from.
        envoy: The binary.
        settings: Of the mesh.
    """

    agent: Agent
    envoy: Path
    settings: LiveSettings
    _control_plane: ControlPlane | None = None
    _credentials: Credentials | None = None
    _witness: Witness = lambda _uid: lambda _sighting: None
    _logs: LogReader = field(default_factory=LogReader)
    _secrets: dict[str, WorkloadServer] = field(default_factory=dict)
    _folders: dict[str, tuple[Path, str]] = field(default_factory=dict)  # with the namespace
    _servers: dict[str, WorkloadServer] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def connect(
        self, control_plane: ControlPlane, witness: Witness, credentials: Credentials | None = None
    ) -> None:
        """Serve every proxy the configuration of a control plane, until `disconnect`.

        Args:
            control_plane: Where configuration comes from.
            witness: Told what proxies see of callers without mutual TLS.
            credentials: Where Secrets come from that rules name; None for nowhere.
        """
        async with self._turn:
            self._control_plane, self._witness = control_plane, witness
            self._credentials = credentials
            for uid in self._folders:
                await self._open(uid)

    async def disconnect(self) -> None:
        """End every proxy's stream of configuration; they keep what they have."""
        async with self._turn:
            self._control_plane = self._credentials = None
            servers = [self._servers.pop(uid) for uid in tuple(self._servers)]
            async with asyncio.TaskGroup() as group:
                for server in servers:
                    group.create_task(server.stop())

    @override
    async def prepare(self, pod: Object, pod_dir: Path) -> SidecarPlan:
        uid = pod["metadata"]["uid"]
        folders = {name: pod_dir / name for name in ("proxy", "xds", "sds", "certs")}
        for folder in folders.values():
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if uid not in self._secrets:
            self._secrets[uid] = await self._serve_secrets(pod, folders)
        async with self._turn:
            self._folders[uid] = folders["xds"], pod["metadata"]["namespace"]
            await self._open(uid)
        config = folders["proxy"] / "envoy.json"
        config.write_text(json.dumps(bootstrap(self._describe(pod))))
        return SidecarPlan(
            argv=envoy_command(
                str(self.envoy),
                CONFIG,
                concurrency=CONCURRENCY,
                log_level=proxy_settings(pod).log_level,
            ),
            mounts=(
                Mount(target=str(Path(CONFIG).parent), kind="bind", source=str(config.parent)),
                Mount(target=str(Path(XDS_SOCKET).parent), kind="bind", source=str(folders["xds"])),
                Mount(target=str(Path(SDS_SOCKET).parent), kind="bind", source=str(folders["sds"])),
                Mount(target=CERTIFICATES, kind="bind", source=str(folders["certs"])),
            ),
            capabilities=("NET_ADMIN",),  # SO_MARK on its own connections, nothing else
            capture=capture_rules(pod),
        )

    @override
    async def release(self, pod_uid: str) -> None:
        async with self._turn:
            self._folders.pop(pod_uid, None)
            server = self._servers.pop(pod_uid, None)
            if self._control_plane is not None:
                self._control_plane.remove(pod_uid)
            if self._credentials is not None:
                self._credentials.remove(pod_uid)
        for one in (server, self._secrets.pop(pod_uid, None)):
            if one is not None:
                await one.stop()
        self.agent.remove(pod_uid)

    @override
    def is_ready(self, pod_uid: str) -> bool:
        return self._control_plane is not None and self._control_plane.is_ready(pod_uid)

    def sync_status(self) -> dict[str, list[GenericXdsConfig]]:
        """Return, by pod uid, what each proxy has made of what it was sent.

        Empty without a control plane.
        """
        return self._control_plane.sync_status() if self._control_plane is not None else {}

    async def stop(self) -> None:
        """Close every socket; the proxies keep what they have."""
        await self.disconnect()
        for server in self._secrets.values():
            await server.stop()
        self._secrets.clear()
        self._folders.clear()

    async def _open(self, uid: str) -> None:
        """Serve a pod's proxy its configuration, if there is any and nobody does; needs a turn."""
        if self._control_plane is None or uid in self._servers:
            return
        feed = self._control_plane.add(uid)
        folder, namespace = self._folders[uid]
        handlers = [ads_handler(feed), self._logs.handler(self._witness(uid))]
        if self._credentials is not None:
            handlers.append(delta_handler(SDS, self._credentials.feed(uid, namespace)))
        path = folder / Path(XDS_SOCKET).name
        self._servers[uid] = await serve_workload({path: handlers})

    async def _serve_secrets(self, pod: Object, folders: dict[str, Path]) -> WorkloadServer:
        meta = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        identity = SpiffeId(self.settings.current.trust_domain, meta["namespace"], account)
        workload = Workload(
            uid=meta["uid"],
            identity=identity,
            key_algorithm=proxy_settings(pod).key_algorithm,
            certs_dir=folders["certs"],
        )
        secrets = await self.agent.add(workload)
        path = folders["sds"] / Path(SDS_SOCKET).name
        return await serve_workload({path: [sds_handler(secrets)]})

    def _describe(self, pod: Object) -> Sidecar:
        meta, spec = pod["metadata"], pod["spec"]
        return Sidecar(
            pod=meta["name"],
            namespace=meta["namespace"],
            address=pod["status"]["podIP"],
            service_account=spec.get("serviceAccountName") or "default",
            workload=_said(spec, "ISTIO_META_WORKLOAD_NAME"),
            owner=_said(spec, "ISTIO_META_OWNER"),
            labels=meta.get("labels") or {},
            annotations=meta.get("annotations") or {},
            containers=tuple(c["name"] for c in spec["containers"] if c["name"] != SIDECAR),
            node=spec.get("nodeName", ""),
            mesh_id=self.settings.current.trust_domain,
            version=__version__,
        )


def _said(spec: Object, variable: str) -> str:
    """Return what injection wrote into a variable of the proxy's container, "" if nothing."""
    containers = (*(spec.get("initContainers") or ()), *spec["containers"])
    return next(
        (
            str(one.get("value", ""))
            for container in containers
            if container["name"] == SIDECAR
            for one in container.get("env") or ()
            if one["name"] == variable
        ),
        "",
    )
