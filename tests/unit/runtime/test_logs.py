"""Logs: written by a container's first process, read by kubectl logs."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutua.runtime.logs import LogQuery, read_log
from mutua.runtime.shim.logfile import PIECE, LogFile


async def nobody() -> bool:
    return False


async def collect(path: Path, query: LogQuery) -> bytes:
    return b"".join([chunk async for chunk in read_log(path, query, is_live=nobody)])


def logfile(path: Path, *lines: bytes, limit: int = 1 << 20) -> LogFile:
    log = LogFile(str(path), limit=limit)
    for line in lines:
        log.write("stdout", line)
    return log


async def test_every_line_carries_time_stream_and_tag(tmp_path: Path) -> None:
    log = logfile(tmp_path / "logs" / "0.log", b"one\ntw")
    log.write("stderr", b"oops\n")
    log.write("stdout", b"o\n")

    lines = (tmp_path / "logs" / "0.log").read_text().splitlines()

    assert [line.split(" ", 1)[1] for line in lines] == [
        "stdout F one",
        "stderr F oops",
        "stdout F two",
    ]
    assert all(datetime.fromisoformat(line.split()[0][:26] + "+00:00") for line in lines)


async def test_a_long_line_is_split_and_read_back_whole(tmp_path: Path) -> None:
    line = os.urandom(2 * PIECE).hex().encode()
    path = tmp_path / "0.log"
    logfile(path, line[:5000], line[5000:], b"\nend\n")

    assert path.read_bytes().count(b" P ") >= 3
    assert await collect(path, LogQuery()) == line + b"\nend\n"


async def test_the_last_line_needs_no_newline(tmp_path: Path) -> None:
    logfile(tmp_path / "0.log", b"prompt> ").finish()

    assert await collect(tmp_path / "0.log", LogQuery()) == b"prompt> \n"


async def test_rotation_bounds_the_files_and_keeps_the_newest_lines(tmp_path: Path) -> None:
    limit = 10_000
    path = tmp_path / "0.log"
    log = logfile(path, limit=limit)
    lines = [b"line %06d" % number for number in range(2000)]
    for start in range(0, 2000, 50):
        log.write("stdout", b"\n".join(lines[start : start + 50]) + b"\n")

    files = sorted(tmp_path.iterdir())
    kept = (await collect(path, LogQuery())).split(b"\n")[:-1]

    assert [file.name for file in files] == ["0.log", "0.log.1"]
    assert all(file.stat().st_size <= limit for file in files)
    assert kept == lines[-len(kept) :]
    assert len(kept) > limit / 60


@pytest.mark.parametrize("tail", [0, 1, 7, 150, 199, 200, 5000])
async def test_tail_counts_lines_across_rotation(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "0.log"
    log = logfile(path, limit=6000)
    for number in range(200):
        log.write("stdout", b"line %d\n" % number)
    everything = (await collect(path, LogQuery())).splitlines()

    assert (await collect(path, LogQuery(tail=tail))).splitlines() == (
        everything[-tail:] if tail else []
    )


async def test_tail_reads_blocks_backwards(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    logfile(path, b"".join(b"%d %s\n" % (n, b"x" * 300) for n in range(2000)))

    shown = (await collect(path, LogQuery(tail=700))).splitlines()

    assert [line.split()[0] for line in shown] == [b"%d" % n for n in range(1300, 2000)]


async def test_since_and_timestamps_and_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(
        b"2026-01-02T03:04:05.000000000Z stdout F early\n"
        b"2026-01-02T03:04:06.500000000Z stderr P la\n"
        b"2026-01-02T03:04:06.600000000Z stderr F te\n"
    )
    since = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)

    assert await collect(path, LogQuery(since=since)) == b"late\n"
    assert await collect(path, LogQuery(since=since, timestamps=True)) == (
        b"2026-01-02T03:04:06.500000000Z late\n"
    )
    assert await collect(path, LogQuery(limit_bytes=8)) == b"early\nla"


async def test_following_goes_on_across_two_rotations_at_once(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = logfile(path, b"first\n", limit=3000)
    live = [True]

    async def is_live() -> bool:
        return live[0]

    received: list[bytes] = []

    async def follow() -> None:
        query = LogQuery(follow=True)
        received.extend([chunk async for chunk in read_log(path, query, is_live=is_live)])

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        await asyncio.sleep(1)
        for number in range(100):  # two files of about 65 lines each
            log.write("stdout", b"line %d\n" % number)
        await asyncio.sleep(1)
        log.write("stdout", b"last\n")
        live[0] = False

    expected = [b"first", *(b"line %d" % n for n in range(100)), b"last"]
    assert b"".join(received).splitlines() == expected


async def test_a_line_cut_short_by_a_full_disk_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"2026-01-02T03:04\n2026-01-02T03:04:05.000000000Z stdout F whole\n")

    assert await collect(path, LogQuery()) == b"whole\n"


async def test_no_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await collect(tmp_path / "0.log", LogQuery())
