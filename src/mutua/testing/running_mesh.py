"""A whole mesh in a temporary directory, started and stopped as a user would.

Real daemon, real shim, real Envoy, real kubectl; nothing of the caller's environment is used but
PATH.  `RunningMesh.leftovers` is how a test proves that stopping it left nothing behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from mutua.foundation.layout import Layout
from mutua.runtime.membership import Member, kept_user_namespace, live_members, user_namespace

PATIENCE: Final = 60.0
"""Seconds any single wait may take; a mesh on a busy two-core machine needs a few."""

COMMAND: Final = 90.0
"""Seconds a command may take: more than it waits itself, so that its own words tell what for."""

SHORTEST_PAUSE: Final = 0.05
"""Seconds between two looks at something that is quick to look at."""


class RunningMesh:
    """One mesh of its own, private to a test."""

    def __init__(self, folder: Path, name: str = "test") -> None:
        self.folder = folder
        self.environ: Mapping[str, str] = {
            "PATH": os.environ.get("PATH", os.defpath),  # noqa: TID251 - stands in for a user's shell
            "HOME": str(folder),
            "MUTUA_NAME": name,
            "MUTUA_STATE_DIR": str(folder / "state"),
            "XDG_RUNTIME_DIR": "",
            "KUBECONFIG": str(folder / "state" / "kubeconfig"),
            "KUBECACHEDIR": str(folder / "kube-cache"),
        }
        self._namespaces: set[str] = set()
        self._held = ExitStack()

    @property
    def layout(self) -> Layout:
        """The mesh's directories, as the command line resolves them."""
        from mutua.cli.settings import resolve_layout

        return resolve_layout(None, None, environ=self.environ, uid=os.getuid())

    def up(self, *argv: str) -> None:
        """Start the mesh, and remember its user namespace: every process of it lives there."""
        self.mutua("up", *argv)
        self.daemon_pid()

    def mutua(
        self, *argv: str, check: bool = True, stdin: str | None = None, timeout: float = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        """Run a mutua command."""
        return self._run([sys.executable, "-m", "mutua", *argv], stdin, timeout, check=check)

    def kubectl(
        self, *argv: str, check: bool = True, stdin: str | None = None, timeout: float = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl against the mesh."""
        return self._run(["kubectl", *argv], stdin, timeout, check=check)

    def apply(self, manifest: str) -> str:
        """Apply YAML text and return kubectl's answer."""
        return self.kubectl("apply", "-f", "-", stdin=manifest).stdout

    def get(self, *argv: str) -> Any:
        """Return `kubectl get … -o json` as a value."""
        return json.loads(self.kubectl("get", *argv, "-o", "json").stdout)

    def daemon_pid(self) -> int:
        """Return the daemon's pid."""
        from mutua.cli import lock

        pid = lock.holder(self.layout)
        if pid is None:
            raise AssertionError("the daemon does not run:\n" + self.daemon_log())
        if user_namespace(pid) not in self._namespaces:
            # Kept, so that what is found in it later is this mesh's and not another's.
            self._namespaces.add(self._held.enter_context(kept_user_namespace(pid)))
        return pid

    def kill_daemon(self) -> None:
        """Kill the daemon, and wait until it is dead: until then no other can be started."""
        from mutua.cli import lock

        os.kill(self.daemon_pid(), signal.SIGKILL)
        eventually(lambda: lock.holder(self.layout) is None, "the daemon dies")

    def members(self) -> list[Member]:
        """Return the processes of the mesh."""
        return [one for space in self._namespaces for one in live_members(space)]

    def daemon_log(self) -> str:
        """Return what the daemon has logged."""
        log = self.layout.daemon_log
        return log.read_text(errors="replace") if log.exists() else ""

    def leftovers(self) -> list[str]:
        """Return every process, file or mount of this mesh that is there after `down`."""
        found = [f"process {one}" for one in self.members()]
        if self.layout.run.exists():
            found.append(f"directory {self.layout.run}")
        mounts = Path("/proc/self/mounts").read_text()
        found += [f"mount {line}" for line in mounts.splitlines() if str(self.layout.run) in line]
        return found

    def _run(
        self, argv: list[str], stdin: str | None, timeout: float, *, check: bool
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603 - commands of the test
            argv,
            env=self.environ,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=self.folder,
        )
        if check and done.returncode != 0:
            said = f"$ {' '.join(argv)}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
            raise AssertionError(f"{said}\n--- daemon ---\n{self.daemon_log()[-4000:]}")
        return done


def eventually(
    condition: Callable[[], Any], what: str, *, patience: float = PATIENCE, every: float = 0.0
) -> Any:
    """Return the first true value of `condition`, asked again and again.

    Args:
        condition: What is waited for; most ask with a command.
        what: The same, in words.
        patience: Seconds until it is given up.
        every: Seconds between two questions; 0 for as long as one takes, so that a busy machine
            is not kept busy with them.

    Raises:
        AssertionError: It never was true; the message says what was waited for.
    """
    deadline = time.monotonic() + patience
    while True:
        began = time.monotonic()
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(every or max(SHORTEST_PAUSE, time.monotonic() - began))
