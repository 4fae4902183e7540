"""Where a mesh keeps its files.

Two directories per mesh.  `state` survives a reboot (objects, keys, kubeconfig, logs); `run` does
not have to (sockets, mount points).  Unix socket paths are limited to 107 bytes (unix(7)), which
is why `run` is short and separate.

    state/  mesh.db  lock  kubeconfig  daemon.log  pki/  issuance/  logs/
    run/    shim.sock  deadlines.json  checkpoint.json  pods/<pod uid>/…  netns/<pod uid>
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

LONGEST_NAME: Final = 255
"""Bytes of one file's name (NAME_MAX, limits.h); a pod's name alone may have 253."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of one mesh.

    Attributes:
        name: The mesh's name, a DNS label.
        state: Durable directory, mode 0700.
        run: Volatile directory, mode 0700, short.
    """

    name: str
    state: Path
    run: Path

    @property
    def database(self) -> Path:
        """The object store."""
        return self.state / "mesh.db"

    @property
    def lock(self) -> Path:
        """Held (flock) by the running daemon; holds its pid as text."""
        return self.state / "lock"

    @property
    def kubeconfig(self) -> Path:
        """Credentials for kubectl, mode 0600."""
        return self.state / "kubeconfig"

    @property
    def daemon_log(self) -> Path:
        """The daemon's own log."""
        return self.state / "daemon.log"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the authority and the API server, mode 0700."""
        return self.state / "pki"

    @property
    def issuance(self) -> Path:
        """The authority's log of what it issued, mode 0700."""
        return self.state / "issuance"

    @property
    def logs(self) -> Path:
        """Container logs: <namespace>_<pod>_<uid>/<container>/<attempt>.log."""
        return self.state / "logs"

    def pod_logs(self, namespace: str, pod: str, uid: str) -> Path:
        """The logs of one pod; a long name is cut, the uid is not."""
        room = LONGEST_NAME - len(f"{namespace}__{uid}")
        return self.logs / f"{namespace}_{pod[:room]}_{uid}"

    @property
    def shim_socket(self) -> Path:
        """The shim's control socket."""
        return self.run / "shim.sock"

    @property
    def netns(self) -> Path:
        """Bind mounts of the pods' network namespaces, one file per pod uid."""
        return self.run / "netns"

    def pod(self, uid: str) -> Path:
        """The volatile directory of one pod: volumes, sockets, generated files."""
        return self.run / "pods" / uid
