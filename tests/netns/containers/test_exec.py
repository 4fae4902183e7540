"""Programs started inside running containers."""

import asyncio
import hashlib
import os
import signal

import pytest

from mutua.foundation.errors import Rejected
from mutua.runtime.shim.client import Execution, ShimClient
from mutua.runtime.spec import NoSuchContainer, ShimGone, StartFailed
from mutua.testing.polling import eventually
from mutua.testing.shims import PrivateMesh, is_alive, processes_of, sleep_of_ours

DEV_NULL = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


async def quietly(shim: ShimClient, identifier: str, *argv: str) -> Execution:
    return await shim.exec(identifier, argv, stdin=None, stdout=DEV_NULL, stderr=None)


async def test_it_runs_in_the_containers_world(mesh: PrivateMesh) -> None:
    spec = mesh.spec(hostname="web-1", cwd="/usr", env={"PATH": "/usr/bin:/bin", "COLOR": "red"})
    async with mesh.connect() as shim:
        await shim.start(spec)
        result = await mesh.run(shim, spec.id, "sh", "-c", "uname -n; pwd; echo $COLOR; exit 7")

    assert result.output.split() == ["web-1", "/usr", "red"]
    assert result.code == 7


async def test_outputs_are_separate_and_the_environment_can_be_extended(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    (out, out_end), (err, err_end) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    async with mesh.connect() as shim:
        await shim.start(spec)
        execution = await shim.exec(
            spec.id,
            ["sh", "-c", "echo $MORE; echo err >&2"],
            stdin=None,
            stdout=out_end,
            stderr=err_end,
            env={"MORE": "more"},
        )
        assert await execution.wait() == 0

    for number in (out_end, err_end):
        os.close(number)
    with os.fdopen(out) as stdout, os.fdopen(err) as stderr:
        assert (stdout.read(), stderr.read()) == ("more\n", "err\n")


async def test_five_megabytes_pass_unchanged(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    data = os.urandom(5 * 1024 * 1024)
    (source, sink), (out, out_end) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)

    def feed() -> None:
        with os.fdopen(sink, "wb") as file:
            file.write(data)

    def collect() -> bytes:
        with os.fdopen(out, "rb") as file:
            return file.read()

    async with mesh.connect() as shim:
        await shim.start(spec)
        execution = await shim.exec(spec.id, ["cat"], stdin=source, stdout=out_end, stderr=None)
        for number in (source, out_end):
            os.close(number)
        _, received = await asyncio.gather(asyncio.to_thread(feed), asyncio.to_thread(collect))
        assert await execution.wait() == 0

    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


async def test_a_failed_start_says_what_is_missing(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)
        with pytest.raises(StartFailed, match="program 'nothere' not found in PATH"):
            await quietly(shim, spec.id, "nothere")
        with pytest.raises(StartFailed, match="program '/etc' is not executable"):
            await quietly(shim, spec.id, "/etc")


async def test_only_running_containers_can_be_entered(mesh: PrivateMesh) -> None:
    spec = mesh.spec("true")
    async with mesh.connect() as shim:
        with pytest.raises(NoSuchContainer):
            await quietly(shim, "no/such/0", "true")
        await shim.start(spec)
        await mesh.wait_end(shim, spec.id)
        with pytest.raises(NoSuchContainer):
            await quietly(shim, spec.id, "true")


async def test_a_signal_reaches_the_program_only(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)
        execution = await quietly(shim, spec.id, "sleep", "1000")
        await execution.signal(signal.SIGKILL)
        assert await execution.wait() == 137
        await execution.signal(signal.SIGKILL)  # it has ended: nothing happens
        (state,) = await shim.containers()

    assert state.running


async def test_executing_in_a_dying_container_says_so(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        for _ in range(20):
            spec = mesh.spec()
            await shim.start(spec)
            killing = asyncio.gather(shim.signal(spec.id, signal.SIGKILL))
            try:
                execution = await quietly(shim, spec.id, "true")
                assert await execution.wait() in {0, 137}
            except NoSuchContainer:
                pass
            await killing


async def test_it_ends_with_its_container(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)
        execution = await quietly(shim, spec.id, "sleep", "1000")
        await shim.signal(spec.id, signal.SIGKILL)
        assert await execution.wait() == 137
        assert (await mesh.wait_end(shim, spec.id)).exit_code == 137


async def test_it_ends_with_the_connection_that_asked_for_it(mesh: PrivateMesh) -> None:
    spec, program = mesh.spec(), sleep_of_ours(5555)
    async with mesh.connect() as other:
        async with mesh.connect() as shim:
            state = await shim.start(spec)
            execution = await quietly(shim, spec.id, *program)
            assert processes_of(*program)
        with pytest.raises(ShimGone):
            await execution.wait()
        await eventually(lambda: not processes_of(*program), "it was killed")
        assert await other.containers()

    assert is_alive(state.pid)


async def test_fifty_at_once(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)

        async def one(code: int) -> int:
            return await (await quietly(shim, spec.id, "sh", "-c", f"exit {code}")).wait()

        assert await asyncio.gather(*map(one, range(50))) == list(range(50))


async def test_it_inherits_three_descriptors_and_clean_signals(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)
        descriptors = await mesh.run(shim, spec.id, "sh", "-c", "ls /proc/self/fd")
        status = await mesh.run(shim, spec.id, "cat", "/proc/self/status")

    assert descriptors.output.split() == ["0", "1", "2", "3"]  # 3 is the directory ls reads
    assert "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" in status.output


async def test_a_command_needs_an_output(mesh: PrivateMesh) -> None:
    spec = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(spec)
        with pytest.raises(Rejected, match="standard output is missing"):
            await shim.request({"op": "exec", "container": spec.id, "argv": ["true"]})
