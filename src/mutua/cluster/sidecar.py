"""What does a meshed pod's proxy run, and who serves it?  The node's port, filled in by the mesh.

Per pod, in its private directory, which only its istio-proxy sees:

    proxy/envoy.json     what Envoy starts with
    xds/XDS              its own socket to the control plane
    sds/socket           its own socket to the agent
    certs/               key.pem, cert-chain.pem, root-cert.pem

Being connected to one of these sockets is being that pod: they are the workload's credentials.
"""

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
from mutua.controlplane.mesh_config import LiveSettings
from mutua.controlplane.proxy_settings import proxy_settings
from mutua.foundation.spiffe import SpiffeId
from mutua.runtime.envoy import envoy_command
from mutua.runtime.spec import Mount
from mutua.xds.bootstrap import SDS_SOCKET, XDS_SOCKET, Sidecar, bootstrap
from mutua.xds.server import LogReader, WorkloadServer, ads_handler, serve_workload
from mutua.xds.sighting import Sighting

CONFIG: Final = "/etc/istio/config/envoy.json"
CERTIFICATES: Final = "/etc/certs"

CONCURRENCY: Final = 2
"""Envoy's worker threads, Istio's default."""

PRIVATE: Final = 0o700


@dataclass(slots=True)
class MeshSidecars(SidecarProvider):
    """Serves the proxies of this machine.

    Attributes:
        control_plane: Where configuration comes from.
        agent: Where certificates come from.
        envoy: The binary.
        settings: Of the mesh.
        witness: Returns what the proxy of a pod, by uid, tells about callers without mutual TLS.
    """

    control_plane: ControlPlane
    agent: Agent
    envoy: Path
    settings: LiveSettings
    witness: Callable[[str], Callable[[Sighting], None]] = lambda _uid: lambda _sighting: None
    _logs: LogReader = field(default_factory=LogReader)
    _servers: dict[str, WorkloadServer] = field(default_factory=dict)

    @override
    async def prepare(self, pod: Object, pod_dir: Path) -> SidecarPlan:
        uid = pod["metadata"]["uid"]
        folders = {name: pod_dir / name for name in ("proxy", "xds", "sds", "certs")}
        for folder in folders.values():
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if uid not in self._servers:
            self._servers[uid] = await self._serve(pod, folders)
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
        server = self._servers.pop(pod_uid, None)
        if server is not None:
            await server.stop()
        self.agent.remove(pod_uid)
        self.control_plane.remove(pod_uid)

    @override
    def is_ready(self, pod_uid: str) -> bool:
        return self.control_plane.is_ready(pod_uid)

    async def stop(self) -> None:
        """Close every socket; the proxies keep what they have."""
        for server in self._servers.values():
            await server.stop()
        self._servers.clear()

    async def _serve(self, pod: Object, folders: dict[str, Path]) -> WorkloadServer:
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
        feed = self.control_plane.add(meta["uid"])
        reports = self._logs.handler(self.witness(meta["uid"]))
        return await serve_workload(
            {
                folders["xds"] / Path(XDS_SOCKET).name: [ads_handler(feed), reports],
                folders["sds"] / Path(SDS_SOCKET).name: [sds_handler(secrets)],
            }
        )

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
