"""Output of real programs, on its way to the log."""

import sys
from pathlib import Path

from mutua.runtime.logs import LogQuery, read_log
from mutua.runtime.shim.logfile import LIMIT, ROTATED
from mutua.testing.shims import PrivateMesh


async def test_thirty_megabytes_leave_two_bounded_files(mesh: PrivateMesh) -> None:
    code = "for n in range(3000): print(f'{n:05d}', 'x' * 10_000)"
    spec = mesh.spec(sys.executable, "-c", code)
    async with mesh.connect() as shim:
        await shim.start(spec)
        await mesh.wait_end(shim, spec.id)

    directory = Path(spec.log_path).parent
    sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    assert set(sizes) == {"0.log", "0.log" + ROTATED}
    assert max(sizes.values()) <= LIMIT
    assert mesh.log(spec)[-1].startswith("02999 ")


async def test_following_delivers_every_line_until_the_container_ends(mesh: PrivateMesh) -> None:
    code = (
        "import pathlib, sys, time\n"
        "for n in range(2500):\n"
        "    print(n, 'x' * 10_000, flush=True)\n"
        "    if n % 250 == 0: time.sleep(.1)\n"
        "    while not pathlib.Path(sys.argv[1]).exists(): time.sleep(.01)"
    )
    followed = mesh.base / "followed"  # from the first line on: what is rotated away twice is gone
    spec = mesh.spec(sys.executable, "-c", code, str(followed))
    async with mesh.connect() as shim:
        await shim.start(spec)

        async def is_live() -> bool:
            return any(one.id == spec.id and one.running for one in await shim.containers())

        path, query = Path(spec.log_path), LogQuery(follow=True)
        chunks = []
        async for chunk in read_log(path, query, is_live=is_live):
            chunks.append(chunk)
            followed.touch()

    numbers = [int(line.split()[0]) for line in b"".join(chunks).splitlines()]
    assert numbers == list(range(2500))
    assert path.with_name("0.log" + ROTATED).exists(), "it was rotated meanwhile"


async def test_a_log_that_cannot_be_written_does_not_stop_the_program(mesh: PrivateMesh) -> None:
    log = mesh.base / "0.log"
    log.symlink_to("/dev/full")
    spec = mesh.spec("sh", "-c", "echo one; exit 5", log_path=str(log))
    async with mesh.connect() as shim:
        await shim.start(spec)

        assert (await mesh.wait_end(shim, spec.id)).exit_code == 5
