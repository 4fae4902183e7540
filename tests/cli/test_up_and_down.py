"""`mutua up`, `mutua down`: what they print, how they fail, and that nothing is left behind."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mutua.foundation.layout import Layout
from mutua.runtime.enter import shim_alive, shim_pid
from mutua.runtime.membership import live_members, user_namespace
from mutua.testing.running_mesh import RunningMesh, eventually

STARTED = re.compile(
    r"""  creating namespaces
  starting the controllers
  starting the node
  starting the control plane
  opening the API
mesh 'fresh' is up, API at https://127\.0\.0\.1:\d+
next:  mutua shell        a shell in which kubectl speaks to it
       mutua status       what runs, which mTLS mode is in force
       mutua down         stop it
"""
)


ATTEMPTS = 5
"""At catching a start half-way; a busy machine may let it end first."""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not user_namespace(pid), f"{pid} ends")


def test_up_shows_progress_and_what_to_type_next_and_down_leaves_nothing(
    fresh: RunningMesh,
) -> None:
    up = fresh.mutua("up")

    assert up.stdout == ""
    assert STARTED.fullmatch(up.stderr)
    space = user_namespace(fresh.daemon_pid())
    assert live_members(space)

    down = fresh.mutua("down")

    assert (down.returncode, down.stdout, down.stderr) == (0, "", "mesh 'fresh' is down\n")
    assert live_members(space) == []
    assert fresh.leftovers() == []
    assert fresh.layout.database.exists()  # objects stay for the next `mutua up`

    again = fresh.mutua("down")
    assert (again.returncode, again.stderr) == (0, "mesh 'fresh' was not running\n")

    fresh.mutua("down", "--purge")
    assert not fresh.layout.state.exists()


def test_a_second_up_changes_nothing_and_says_what_to_do(fresh: RunningMesh) -> None:
    fresh.up()
    pid = fresh.daemon_pid()

    second = fresh.mutua("up", check=False)

    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"mutua: error: the mesh 'fresh' is already running (pid {pid})\n"
        "mutua: hint: use `mutua shell`, stop it with `mutua down`, or start another with --name\n"
    )
    assert fresh.daemon_pid() == pid
    assert fresh.mutua("status").returncode == 0


def test_several_meshes_run_on_one_machine_at_once(
    fresh: RunningMesh, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = RunningMesh(tmp_path_factory.mktemp("other"), name="other")
    try:
        fresh.up()
        other.up()
        fresh.mutua("run", "-n", "only-here", "--name", "idle", "--", "sleep", "infinity")

        assert "namespace/only-here" in fresh.mutua("kubectl", "get", "ns", "-o", "name").stdout
        assert "namespace/only-here" not in other.mutua("kubectl", "get", "ns", "-o", "name").stdout
        fresh.mutua("down")
        assert other.mutua("status").returncode == 0
    finally:
        other.mutua("down", "--purge")
    assert other.leftovers() == []


def test_what_to_type_next_names_the_mesh_that_was_named(fresh: RunningMesh) -> None:
    up = fresh.mutua("up", "--name", "blue")

    assert "next:  mutua shell --name blue " in up.stderr
    assert "mesh 'blue' is down" in fresh.mutua("down", "--name", "blue").stderr


class Foreground:
    """`mutua up --foreground`, as a terminal's foreground job."""

    def __init__(self, mesh: RunningMesh) -> None:
        argv = [sys.executable, "-m", "mutua", "up", "--foreground"]
        self.process = subprocess.Popen(
            argv,
            env=dict(mesh.environ),
            stderr=subprocess.PIPE,
            start_new_session=True,
            # A shell's background job, which the suite may be, hands SIGINT down as ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.said = b""

    def until(self, text: bytes) -> None:
        assert self.process.stderr is not None
        deadline = time.monotonic() + 60
        while text not in self.said:
            readable, _, _ = select.select([self.process.stderr], [], [], 1)
            chunk = os.read(self.process.stderr.fileno(), 65536) if readable else b""
            self.said += chunk
            assert not (readable and not chunk), self.said.decode()
            assert time.monotonic() < deadline, self.said.decode()

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)  # as the terminal does

    def end(self) -> int:
        with self.process as process:
            _, rest = process.communicate(timeout=60)
            self.said += rest
        return process.returncode


def test_in_the_foreground_ctrl_c_stops_everything(fresh: RunningMesh) -> None:
    job = Foreground(fresh)
    job.until(b"Ctrl-C stops it\n")
    space = user_namespace(fresh.daemon_pid())
    fresh.mutua("run", "-n", "shop", "--name", "idle", "--", "sleep", "infinity")
    fresh.mutua("kubectl", "rollout", "status", "deploy/idle", "-n", "shop")

    job.interrupt()

    assert job.end() == 0
    assert b"mesh 'fresh' is down\n" in job.said
    assert b"Traceback" not in job.said
    assert live_members(space) == []
    assert not fresh.layout.run.exists()


def test_down_from_elsewhere_ends_the_foreground_job(fresh: RunningMesh) -> None:
    job = Foreground(fresh)
    job.until(b"Ctrl-C stops it\n")

    assert fresh.mutua("down").stderr == "mesh 'fresh' is down\n"

    assert job.end() == 0


def test_ctrl_c_while_it_starts_leaves_nothing(fresh: RunningMesh) -> None:
    for _ in range(ATTEMPTS):
        job = Foreground(fresh)
        job.until(b"starting the controllers")
        job.interrupt()
        status = job.end()
        if b"Ctrl-C stops it" not in job.said:
            break  # else it was up before we came to interrupt it

    assert status == 130
    assert b"Traceback" not in job.said
    assert fresh.mutua("down").stderr == "mesh 'fresh' was not running\n"


def test_a_daemon_that_dies_in_the_foreground_leaves_its_pods_to_the_next(
    fresh: RunningMesh,
) -> None:
    job = Foreground(fresh)
    job.until(b"Ctrl-C stops it\n")
    os.kill(fresh.daemon_pid(), signal.SIGKILL)

    assert job.end() == 1
    assert b"mutua: hint: `mutua up` adopts them, `mutua down` stops them\n" in job.said
    assert shim_alive(fresh.layout)


def daemon(mesh: RunningMesh) -> list[int]:
    return [mesh.daemon_pid()]


def shim(mesh: RunningMesh) -> list[int]:
    return [shim_pid(mesh.layout)]


def both(mesh: RunningMesh) -> list[int]:
    return [mesh.daemon_pid(), shim_pid(mesh.layout)]


@pytest.mark.parametrize("victims", [daemon, shim, both])
def test_after_kill_9_of_anybody_the_next_up_works(
    fresh: RunningMesh, victims: Callable[[RunningMesh], list[int]]
) -> None:
    fresh.up()
    fresh.mutua("run", "-n", "shop", "--name", "idle", "--", "sleep", "infinity")
    fresh.mutua("kubectl", "rollout", "status", "deploy/idle", "-n", "shop")
    old = fresh.daemon_pid()
    for pid in victims(fresh):
        kill(pid)
    eventually(lambda: not user_namespace(old), "the daemon ends")

    dead = fresh.mutua("status", check=False)
    assert dead.returncode == 1
    assert dead.stderr == (
        "mutua: error: the mesh 'fresh' is not running\nmutua: hint: run: mutua up\n"
    )

    fresh.up()

    fresh.mutua("kubectl", "rollout", "status", "deploy/idle", "-n", "shop", "--timeout=60s")


@pytest.mark.parametrize("victims", [daemon, shim, both])
def test_down_stops_whatever_is_still_alive(
    fresh: RunningMesh, victims: Callable[[RunningMesh], list[int]]
) -> None:
    fresh.up()
    for pid in victims(fresh):
        kill(pid)

    assert fresh.mutua("down").returncode == 0

    assert fresh.leftovers() == []


def test_down_finds_a_shim_whose_socket_somebody_has_removed(fresh: RunningMesh) -> None:
    fresh.up()
    shutil.rmtree(fresh.layout.run, ignore_errors=True)

    assert fresh.mutua("down").stderr == "mesh 'fresh' is down\n"

    assert fresh.leftovers() == []


def test_a_lock_file_that_a_dead_daemon_left_harms_nobody(fresh: RunningMesh) -> None:
    fresh.layout.state.mkdir()
    with subprocess.Popen(["sleep", "60"]) as innocent:
        fresh.layout.lock.write_text(f"{innocent.pid}\n")

        assert fresh.mutua("down").stderr == "mesh 'fresh' was not running\n"

        assert innocent.poll() is None
        innocent.kill()


def test_a_taken_port_is_named_and_nothing_is_started(fresh: RunningMesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = fresh.mutua("up", "--api-port", str(port), check=False)

    assert up.returncode == 1
    assert up.stderr == (
        f"mutua: error: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        "mutua: hint: choose another port with --api-port, or leave it out\n"
    )


def test_a_start_that_fails_leaves_nothing_running(fresh: RunningMesh) -> None:
    up = fresh.mutua("up", "--envoy", shutil.which("sleep") or "", check=False)

    assert up.returncode == 1
    assert "is not Envoy\n" in up.stderr
    assert fresh.mutua("down").stderr == "mesh 'fresh' was not running\n"


WITHOUT = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'


def test_without_user_namespaces_it_says_what_to_do(fresh: RunningMesh) -> None:
    """Inside a user namespace that may have none below it: what the kernel says is the same."""
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT, "sh"]
    # In there we are uid 0, whose place below /tmp may be somebody else's: the real root's.
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        done = subprocess.run(
            [*argv, sys.executable, "-m", "mutua", "up"],
            env={**fresh.environ, "XDG_RUNTIME_DIR": runtime},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if "unshare" in done.stderr or "/proc/sys" in done.stderr:
        pytest.skip(f"cannot take user namespaces away here: {done.stderr.strip()}")

    assert done.returncode == 1
    assert done.stderr == (
        "  creating namespaces\n"
        "mutua: error: user namespaces are not available: their number is exhausted\n"
        "mutua: hint: as root: sysctl -w user.max_user_namespaces=15000\n"
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ("--state-dir", "/proc/mutua"),
            """mutua: error: cannot create /proc/mutua: No such file or directory
mutua: hint: pass --state-dir with a directory that you can write
""",
        ),
        (
            ("--name", "A_b"),
            """mutua: error: 'A_b' is not a mesh name
mutua: hint: use lower-case letters, digits and dashes, 40 characters at most
""",
        ),
        (("--envoy", "/nowhere"), "mutua: error: --envoy: /nowhere is not an executable file\n"),
    ],
)
def test_a_wrong_option_is_refused(fresh: RunningMesh, argv: tuple[str, ...], said: str) -> None:
    up = fresh.mutua("up", *argv, check=False)

    assert (up.returncode, up.stdout, up.stderr) == (1, "", said)


def test_a_file_where_the_state_should_be_is_refused(fresh: RunningMesh) -> None:
    Path(fresh.layout.state).write_text("mine")

    up = fresh.mutua("up", check=False)

    assert up.returncode == 1
    assert up.stderr.startswith(f"mutua: error: cannot create {fresh.layout.state}: File exists\n")
    fresh.layout.state.unlink()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_state_directory_is_refused(fresh: RunningMesh) -> None:
    layout: Layout = fresh.layout
    layout.state.mkdir()
    os.chown(layout.state, 1234, 1234)

    up = fresh.mutua("up", check=False)

    assert up.stderr == (
        f"mutua: error: {layout.state} is not a directory of yours\n"
        "mutua: hint: pass another --state-dir\n"
    )
