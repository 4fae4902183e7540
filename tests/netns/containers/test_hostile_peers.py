"""The control socket under attack: whatever arrives, the shim goes on."""

import array
import json
import os
import socket
import stat
import struct

import pytest

from mutua.foundation.errors import Rejected
from mutua.runtime.shim.protocol import MAX_FRAME, encode
from mutua.testing.polling import eventually
from mutua.testing.shims import PrivateMesh, is_alive


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def talk(mesh: PrivateMesh, data: bytes) -> bytes:
    """Send raw bytes; return what comes back until the shim hangs up or one answer is whole."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(mesh.layout.shim_socket))
        try:
            sock.sendall(data)
            return sock.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            return b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(b"not json"), id="not JSON"),
        pytest.param(frame(b"[1]"), id="not an object"),
        pytest.param(frame(b"\xff\xfe\x00"), id="not UTF-8"),
        pytest.param(struct.pack(">I", MAX_FRAME + 1), id="too large a frame"),
        pytest.param(b"\xff" * 100_000, id="garbage"),
        pytest.param(frame(b"[" * 100_000), id="deeply nested"),
        pytest.param(frame(b'{"id":1,"op":"exec","container":"x","fds":3}'), id="no descriptors"),
        pytest.param(frame(b'{"id":1,"op":"containers","fds":-1}'), id="negative descriptors"),
        pytest.param(frame(b'{"id":1,"op":"containers","fds":"x"}'), id="descriptors as text"),
    ],
)
async def test_a_violation_costs_the_connection_only(mesh: PrivateMesh, data: bytes) -> None:
    async with mesh.connect() as shim:
        await shim.start(mesh.spec())

        assert talk(mesh, data) == b""

        assert [state.running for state in await shim.containers()] == [True]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"op": None},
        {"op": "reboot"},
        {"op": "start"},
        {"op": "start", "spec": 7},
        {"op": "start", "spec": {"id": "a", "argv": ["true"]}},
        {"op": "start", "spec": {"argv": [1], "mounts": [[]], "hide": [], "capabilities": []}},
        {"op": "start", "spec": {"mounts": [{"target": "/x", "evil": 1}], "argv": [], "hide": []}},
        {"op": "signal", "container": "a", "signal": 15},
        {"op": "signal-exec", "exec": [], "signal": 99999},
        {"op": "signal-exec", "exec": 1, "signal": []},
        {"op": "exec", "container": {"a": 1}, "argv": ["true"]},
        {"op": "shutdown", "grace": "now"},
    ],
    ids=str,
)
async def test_nonsense_is_answered_with_a_refusal(
    mesh: PrivateMesh, request_: dict[str, object]
) -> None:
    async with mesh.connect() as shim:
        with pytest.raises(Rejected):
            await shim.request(request_)
        assert await shim.containers() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": (7,)},
        {"argv": ("a\0b",)},
        {"env": {"A": 7}},
        {"env": {"A\0": "x"}},
        {"cwd": "\0"},
        {"hostname": "x" * 1000},
        {"netns": "/dev/null"},
        {"hide": (7,)},
        {"log_path": "/proc/no/such/log"},
        {"mounts": [{"target": "relative", "source": "/usr"}]},
        {"mounts": [{"target": "/x", "source": "/no/such"}]},
        {"mounts": [{"target": "/etc", "source": "/etc/passwd"}]},
    ],
    ids=str,
)
async def test_an_impossible_container_fails_to_start(
    mesh: PrivateMesh, changes: dict[str, object]
) -> None:
    fields = {
        "id": "u/c/0", "argv": ["true"], "env": {}, "cwd": "/", "netns": "", "hostname": "",
        "mounts": [], "hide": [], "log_path": f"{mesh.base}/log", "capabilities": [],
        "annotations": {},
    }  # fmt: skip
    async with mesh.connect() as shim:
        with pytest.raises(Rejected) as refusal:
            await shim.request({"op": "start", "spec": {**fields, **changes}})
        assert await shim.containers() == []

    assert str(refusal.value)


@pytest.mark.parametrize("grace", [float("nan"), -1.0, 0])
async def test_an_absurd_grace_period_is_none(mesh: PrivateMesh, grace: float) -> None:
    async with mesh.connect() as shim:
        await shim.start(mesh.spec("sh", "-c", "trap '' TERM; while :; do sleep .05; done"))
        await shim.shutdown(grace)

    await eventually(lambda: not is_alive(mesh.shim_pid), "the shim has ended")


async def test_an_endless_grace_period_still_shuts_down(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        await shim.start(mesh.spec())
        await shim.shutdown(float("inf"))

    await eventually(lambda: not is_alive(mesh.shim_pid), "the shim has ended")


async def test_a_flood_of_descriptors_is_cut_off_and_closed(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(mesh.layout.shim_socket))
            rights = array.array("i", [sock.fileno()] * 100)
            sock.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            assert sock.recv(10) == b""
        code = f"import os; print(len(os.listdir('/proc/{mesh.shim_pid}/fd')))"
        before = int(mesh.python_inside(code))
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(mesh.layout.shim_socket))
                rights = array.array("i", [sock.fileno()] * 3)
                request = encode({"id": 1, "op": "containers", "fds": 3})
                sock.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                assert b'"ok":[]' in sock.recv(1000)
        await shim.containers()

    await eventually(lambda: int(mesh.python_inside(code)) <= before, "nothing is left open")


async def test_a_peer_that_never_reads_is_dropped(mesh: PrivateMesh) -> None:
    annotations = {"padding": "x" * 100_000}
    async with mesh.connect() as shim:
        await shim.start(mesh.spec(annotations=annotations))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(mesh.layout.shim_socket))
            requests = encode({"id": 1, "op": "containers"}) * 100_000
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                sock.sendall(requests)
        assert len(await shim.containers()) == 1


async def test_a_request_in_many_pieces_is_understood(mesh: PrivateMesh) -> None:
    request = encode({"id": 1, "op": "containers"})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(mesh.layout.shim_socket))
        for byte in request:
            sock.send(bytes([byte]))
        assert json.loads(sock.recv(1000)[4:]) == {"id": 1, "ok": []}


async def test_too_many_connections_are_turned_away(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        others = []
        for _ in range(200):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(mesh.layout.shim_socket))
            others.append(one)
        assert await shim.containers() == []
        for one in others:
            one.close()
    async with mesh.connect() as shim:
        assert await shim.containers() == []


def test_the_socket_is_the_owners_alone(mesh: PrivateMesh) -> None:
    assert stat.S_IMODE(mesh.layout.shim_socket.stat().st_mode) == 0o600


def test_another_user_is_refused(mesh: PrivateMesh) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    for path in (mesh.base, mesh.layout.run):
        path.chmod(0o755)
    mesh.layout.shim_socket.chmod(0o666)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os._exit(0 if talk(mesh, encode({"id": 1, "op": "containers"})) == b"" else 1)

    assert os.waitpid(child, 0)[1] == 0
