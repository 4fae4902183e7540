"""Containers start, end and are accounted for, whoever dies in between."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mutua.foundation.errors import Rejected, Unavailable
from mutua.foundation.layout import Layout
from mutua.runtime.enter import enter_shim, shim_alive, start_shim
from mutua.runtime.spec import NoSuchContainer, ShimGone, StartFailed
from mutua.testing.polling import eventually
from mutua.testing.shims import (
    PATH,
    SOURCES,
    PrivateMesh,
    is_alive,
    processes_of,
    sleep_of_ours,
)

GRACE = 3.0
"""Seconds in which a program that obeys can say goodbye, on a busy machine too."""


def namespace(pid: int | str, name: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{name}").readlink())


async def test_a_container_runs_and_its_output_is_logged(mesh: PrivateMesh) -> None:
    spec = mesh.spec("sh", "-c", "echo out; echo err >&2; exit 7", annotations={"a": "b"})
    async with mesh.connect() as shim:
        started = await shim.start(spec)
        ended = await mesh.wait_end(shim, spec.id)

    assert started.running
    assert started.pid > 0
    assert started.started_at is not None
    assert (ended.running, ended.exit_code, ended.signal) == (False, 7, None)
    assert ended.annotations == {"a": "b"}
    assert ended.finished_at is not None
    assert ended.finished_at >= started.started_at
    assert sorted(mesh.log(spec)) == ["err", "out"]


async def test_pids_are_those_the_daemon_sees(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        state = await shim.start(mesh.spec("sleep", "1234"))

    assert Path(f"/proc/{state.pid}/cmdline").read_bytes() == b"sleep\x001234\x00"
    assert f"PPid:\t{state.init_pid}\n" in Path(f"/proc/{state.pid}/status").read_text()


async def test_a_fatal_signal_is_reported(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)
        await shim.signal(spec.id, signal.SIGTERM)
        ended = await mesh.wait_end(shim, spec.id)

    assert (ended.exit_code, ended.signal) == (143, signal.SIGTERM)


async def test_the_program_may_handle_signals(mesh: PrivateMesh) -> None:
    spec = mesh.spec(
        "sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep .05; done"
    )
    async with mesh.connect() as shim:
        await shim.start(spec)
        await eventually(lambda: mesh.log(spec) == ["up"], "the trap is set")
        await shim.signal(spec.id, signal.SIGTERM)
        ended = await mesh.wait_end(shim, spec.id)

    assert (ended.exit_code, ended.signal) == (3, None)
    assert mesh.log(spec) == ["up", "bye"]


async def test_sigkill_ends_the_whole_container(mesh: PrivateMesh) -> None:
    child = sleep_of_ours(4321)
    spec = mesh.spec("sh", "-c", f"setsid {' '.join(child)} & trap '' TERM; echo up; wait")
    async with mesh.connect() as shim:
        await shim.start(spec)
        await eventually(lambda: mesh.log(spec), "it is up")
        await shim.signal(spec.id, signal.SIGKILL)
        ended = await mesh.wait_end(shim, spec.id)

    assert (ended.exit_code, ended.signal) == (137, signal.SIGKILL)
    assert not processes_of(*child)


async def test_what_the_program_leaves_behind_ends_with_it(mesh: PrivateMesh) -> None:
    child = sleep_of_ours(4322)
    spec = mesh.spec("sh", "-c", f"setsid {' '.join(child)} & echo done; exit 0")
    async with mesh.connect() as shim:
        await shim.start(spec)
        ended = await mesh.wait_end(shim, spec.id)

    assert ended.exit_code == 0
    assert mesh.log(spec) == ["done"]
    assert not processes_of(*child)


async def test_orphans_are_reaped(mesh: PrivateMesh) -> None:
    spec = mesh.spec("sh", "-c", "for i in 1 2 3 4 5; do (sleep .01 &) ; done; echo up; sleep 1000")
    async with mesh.connect() as shim:
        await shim.start(spec)
        await eventually(lambda: mesh.log(spec) == ["up"], "it is up")

        async def processes() -> int:
            listing = await mesh.run(shim, spec.id, "sh", "-c", "echo /proc/[0-9]*")
            return len(listing.output.split())

        async with asyncio.timeout(30):
            while await processes() > 4:  # init, sh, sleep, and the shell that counts
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param(
            {"argv": ("nothere",)},
            f"program 'nothere' not found in PATH ({PATH})",
            id="not in PATH",
        ),
        pytest.param({"argv": ("/no/such",)}, "program '/no/such' not found", id="no such path"),
        pytest.param(
            {"argv": ("/etc/passwd",)},
            "program '/etc/passwd' is not executable",
            id="not executable",
        ),
        pytest.param(
            {"cwd": "/no/where"},
            "working directory '/no/where': no such file or directory",
            id="no such directory",
        ),
        pytest.param(
            {"netns": "/no/netns"},
            "network namespace /no/netns: no such file or directory",
            id="no such network",
        ),
        pytest.param(
            {"capabilities": ("SYS_ADMIN",)},
            "capability 'SYS_ADMIN' is not available to containers",
            id="forbidden capability",
        ),
        pytest.param({"argv": ("",)}, "the container has no command", id="no command"),
    ],
)
async def test_a_failed_start_says_what_is_missing(
    mesh: PrivateMesh, changes: dict[str, object], sentence: str
) -> None:
    async with mesh.connect() as shim:
        with pytest.raises(StartFailed) as failure:
            await shim.start(
                mesh.spec("true", **changes) if "argv" not in changes else mesh.spec(**changes)
            )

        assert str(failure.value) == sentence
        assert await shim.containers() == []


async def test_a_missing_interpreter_is_named(mesh: PrivateMesh) -> None:
    script = mesh.base / "script"
    script.write_text("#!/no/interpreter\n")
    script.chmod(0o755)
    async with mesh.connect() as shim:
        with pytest.raises(StartFailed, match="its interpreter is missing"):
            await shim.start(mesh.spec(str(script)))


async def test_exits_are_announced_to_everyone_connected(mesh: PrivateMesh) -> None:
    async with mesh.connect() as one, mesh.connect() as other:
        await one.start(mesh.spec("true", id="a/b/0"))
        async with asyncio.timeout(30):
            heard = [await anext(aiter(client.exits())) for client in (one, other)]

    assert [(state.id, state.exit_code) for state in heard] == [("a/b/0", 0)] * 2


async def test_an_id_is_taken_until_it_is_removed(mesh: PrivateMesh) -> None:
    spec = mesh.spec("true")
    async with mesh.connect() as shim:
        await shim.start(spec)
        await mesh.wait_end(shim, spec.id)
        with pytest.raises(Rejected, match="exists"):
            await shim.start(spec)
        await shim.signal(spec.id, signal.SIGTERM)  # a finished one is left alone
        await shim.remove(spec.id)
        await shim.remove(spec.id)
        with pytest.raises(NoSuchContainer):
            await shim.signal(spec.id, signal.SIGTERM)
        await shim.start(spec)


async def test_removing_a_running_container_kills_it(mesh: PrivateMesh) -> None:
    spec = mesh.spec("sleep", "4323")
    async with mesh.connect() as shim:
        state = await shim.start(spec)
        await shim.remove(spec.id)
        await eventually(lambda: not is_alive(state.pid), "the program has ended")
        async with asyncio.timeout(30):
            while await shim.containers():
                await asyncio.sleep(0.02)


async def test_twenty_containers_at_once(mesh: PrivateMesh) -> None:
    specs = [mesh.spec("sh", "-c", f"echo {n}") for n in range(20)]
    async with mesh.connect() as shim:
        await asyncio.gather(*(shim.start(spec) for spec in specs))
        ended = await asyncio.gather(*(mesh.wait_end(shim, spec.id) for spec in specs))

    assert [state.exit_code for state in ended] == [0] * 20
    assert [mesh.log(spec) for spec in specs] == [[str(n)] for n in range(20)]


async def test_killing_the_daemon_leaves_containers_running(mesh: PrivateMesh) -> None:
    code = f"""
import asyncio, os, signal
from mutua.runtime.shim.client import ShimClient
from mutua.runtime.spec import ContainerSpec
async def main():
    shim = await ShimClient.connect(layout.shim_socket)
    await shim.start(ContainerSpec(
        id='u/c/0', argv=('sh', '-c', 'while echo alive; do sleep .05; done'),
        env={{'PATH': '{PATH}'}}, log_path='{mesh.layout.logs}/c.log', annotations={{'k': 'v'}}))
    print('started', flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    with pytest.raises(AssertionError):
        mesh.python_inside(code)

    log = mesh.layout.logs / "c.log"
    async with mesh.connect() as shim:
        (state,) = await shim.containers()
        size = log.stat().st_size
        await eventually(lambda: log.stat().st_size > size, "it goes on writing")

    assert (state.id, state.running, state.annotations) == ("u/c/0", True, {"k": "v"})


async def test_killing_the_shim_ends_everything(mesh: PrivateMesh) -> None:
    netns = mesh.python_inside(
        "import os; linux.unshare(linux.CLONE_NEWNET)\n"
        "path = layout.netns / 'p'; path.touch()\n"
        "linux.mount('/proc/self/ns/net', str(path), '', linux.MS_BIND)\n"
        "print(os.stat(path).st_ino)"
    ).strip()
    before = Path("/proc/self/mounts").read_text()
    program = sleep_of_ours(4324)
    async with mesh.connect() as shim:
        spec = mesh.spec(*program, netns=str(mesh.layout.netns / "p"))
        state = await shim.start(spec)
        assert namespace(state.pid, "net") == f"net:[{netns}]"
        mesh.kill()
        with pytest.raises(ShimGone):
            await shim.containers()
        assert [one async for one in shim.exits()] == []

    await eventually(lambda: not is_alive(state.pid), "the program has ended")
    assert not processes_of(*program)
    assert Path("/proc/self/mounts").read_text() == before
    assert not any((mesh.layout.run / "netns").iterdir())
    assert not shim_alive(mesh.layout)
    with pytest.raises(ShimGone):
        async with mesh.connect():
            pass


async def test_shutdown_asks_first_and_kills_after_the_grace_period(mesh: PrivateMesh) -> None:
    polite = mesh.spec(
        "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep .05; done"
    )
    stubborn = mesh.spec("sh", "-c", "trap '' TERM; echo up; while :; do sleep .05; done")
    loop = asyncio.get_running_loop()
    async with mesh.connect() as shim:
        states = [await shim.start(spec) for spec in (polite, stubborn)]
        await eventually(lambda: mesh.log(polite) + mesh.log(stubborn) == ["up", "up"], "both up")
        begin = loop.time()
        await shim.shutdown(GRACE)
        took = loop.time() - begin

    assert GRACE - 0.1 < took < GRACE + 20
    assert mesh.log(polite) == ["up", "bye"]
    assert not any(is_alive(state.pid) for state in states)
    await eventually(lambda: not is_alive(mesh.shim_pid), "the shim has ended")


async def test_a_second_start_keeps_the_living_shim(mesh: PrivateMesh) -> None:
    assert start_shim(mesh.layout, python=sys.executable) == mesh.shim_pid


async def test_a_dead_shims_socket_is_replaced(mesh: PrivateMesh) -> None:
    mesh.kill()
    assert mesh.layout.shim_socket.exists()

    mesh.start()

    async with mesh.connect() as shim:
        assert await shim.containers() == []


def test_entering_gives_the_daemon_the_meshs_namespaces(mesh: PrivateMesh) -> None:
    code = (
        "import os\n"
        "for name in ('user', 'mnt', 'net', 'pid'): print(os.readlink(f'/proc/self/ns/{name}'))\n"
        "print(os.getuid(), Path.cwd())"
    )

    *links, last = mesh.python_inside(code).splitlines()

    own = [namespace("self", name) for name in ("user", "mnt", "net", "pid")]
    theirs = [namespace(mesh.shim_pid, name) for name in ("user", "mnt", "net")]
    assert links[:3] == theirs
    assert links[3] == own[3]
    assert not set(links[:3]) & set(own)
    assert last == f"0 {Path.cwd()}"


def test_entering_without_a_shim_is_refused(tmp_path: Path) -> None:
    layout = Layout("t", tmp_path, tmp_path)

    with pytest.raises(Unavailable, match="no shim answers"):
        enter_shim(layout)


def test_without_user_namespaces_one_line_says_so(tmp_path: Path) -> None:
    """A child that may not make user namespaces: the limit is set in a namespace of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n"
        "import os\n"
        "from pathlib import Path\n"
        "from mutua.foundation.layout import Layout\n"
        "from mutua.foundation.errors import Unavailable\n"
        "from mutua.runtime import enter, linux\n"
        "uid, gid = os.getuid(), os.getgid()\n"
        "linux.unshare(linux.CLONE_NEWUSER)\n"
        "Path('/proc/self/setgroups').write_text('deny')\n"
        "Path('/proc/self/uid_map').write_text(f'0 {uid} 1')\n"
        "Path('/proc/self/gid_map').write_text(f'0 {gid} 1')\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        f"p = Path({str(tmp_path)!r})\n"
        "try: enter.start_shim(Layout('t', p, p), python=sys.executable)\n"
        "except Unavailable as error: print(error, error.hint, sep='; ')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == (
        "user namespaces are not available: "
        "their number is exhausted; as root: sysctl -w user.max_user_namespaces=15000"
    )


async def test_the_shim_and_the_first_processes_are_small(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        states = [await shim.start(mesh.spec()) for _ in range(5)]

    def private(pid: int) -> int:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in rollup[1:])
        return sum(int(fields[name].split()[0]) for name in ("Private_Dirty", "Private_Clean"))

    if os.geteuid() != 0:
        pytest.skip("the memory of a process that is not dumpable is shown to root only")
    assert private(mesh.shim_pid) < 8 * 1024
    assert max(private(state.init_pid) for state in states) < 3 * 1024
