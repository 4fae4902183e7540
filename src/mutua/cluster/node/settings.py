"""What the node is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

from mutua.foundation.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Everything the node needs to know; values only.

    Attributes:
        layout: The mesh's directories.
        python: The interpreter that runs programs of the image catalogue.
        path: PATH of containers that set none.
        name: Of the Node object, and in every pod's spec.nodeName.
        address: The node's own address, as pods see it.
        dns: The cluster's name server.
        domain: The cluster's DNS domain.
        hide: Host paths no container may see, besides the mesh's own directories.
        visible: Host paths that stay visible although they lie in /tmp, which every container has
            for itself: where the interpreter and the catalogue's programs are installed.
        version: Shown by `kubectl get nodes`.
    """

    layout: Layout
    python: str
    path: str
    name: str = "mutua-node"
    address: str = "10.244.0.1"
    dns: str = "10.96.0.10"
    domain: str = "cluster.local"
    hide: tuple[str, ...] = ()
    visible: tuple[str, ...] = ()
    version: str = "v1.32.0+mutua"

    def log_directory(self, namespace: str, pod: str, uid: str) -> Path:
        """Return where a pod's container logs are."""
        return self.layout.pod_logs(namespace, pod, uid)
