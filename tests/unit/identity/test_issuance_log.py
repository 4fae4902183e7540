import asyncio
import hashlib
import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.issuance_chain import (
    ISSUED,
    START,
    BrokenChain,
    Head,
    Record,
    decode,
    encode,
    split,
)
from mutua.identity.issuance_log import (
    RECOVERED,
    IssuanceLog,
    LogStopped,
    issuance_of,
    read_records,
    segments,
)
from mutua.identity.journal import Issuance
from mutua.testing.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEB = SpiffeId("cluster.local", "shop", "web")
JOB = SpiffeId("cluster.local", "shop", "job")
DAY = timedelta(days=1)


def issuance(number: int, identity: SpiffeId = WEB, *, signer: str = "aa" * 32) -> Issuance:
    return Issuance(
        at=NOW + timedelta(seconds=number),
        identity=identity,
        authenticated="pod socket",
        serial_number=f"{number:032x}",
        not_before=NOW,
        not_after=NOW + DAY + timedelta(seconds=number),
        template="workload",
        signer=signer,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "issuance"


OLD_RECORD = (
    '{"sequence":2,"kind":"issued","at":"2026-03-01T12:00:00+00:00",'
    '"identity":"spiffe://cluster.local/ns/shop/sa/web","authenticated":"pod socket",'
    '"serialNumber":"000000000000000000000000000000aa","notBefore":"2026-03-01T12:00:00+00:00",'
    '"notAfter":"2026-03-02T12:00:00+00:00","template":"workload","signer":"%s","previous":"%s"'
)
"""As records were before they named a pod."""


def test_a_log_of_before_records_named_pods_goes_on(folder: Path, clock: ManualClock) -> None:
    opened = IssuanceLog(folder, clock)
    opened.close()
    body = (OLD_RECORD % ("aa" * 32, opened.head.hash)).encode()
    line = b'%s,"hash":"%s"}\n' % (body, hashlib.sha256(body).hexdigest().encode())
    with segments(folder)[0].open("ab") as file:
        file.write(line)

    again = IssuanceLog(folder, clock)
    again.record(replace(issuance(1), pod="7"))
    again.close()

    assert [one.pod for one in issued(folder)] == ["", "7"]
    assert [one.pod for one in again.unexpired_of(WEB)] == ["", "7"]
    assert [one.serial_number for one in again.unexpired_of_pod("7")] == [f"{1:032x}"]
    old = again.unexpired(0xAA)
    assert old is not None
    assert old.pod == ""
    clock.advance(2 * DAY)
    assert again.unexpired_of_pod("7") == ()
    assert again.unexpired(1) is None


def written(folder: Path, clock: ManualClock, count: int, *, segment_bytes: int = 2**20) -> Head:
    opened = IssuanceLog(folder, clock, segment_bytes=segment_bytes)
    for number in range(count):
        opened.record(issuance(number))
    opened.close()
    return opened.head


def kinds(folder: Path) -> list[str]:
    return [record.kind for record in read_records(folder)]


def issued(folder: Path) -> list[Issuance]:
    return [issuance_of(one) for one in read_records(folder) if one.kind == ISSUED]


def test_a_clock_that_was_ahead_does_not_make_it_forget(folder: Path, clock: ManualClock) -> None:
    opened = IssuanceLog(folder, clock, segment_bytes=1000)
    for number in range(4):
        opened.record(issuance(number))
    clock.advance(3 * DAY)
    ahead = opened.unexpired_of(WEB)
    clock.advance(-3 * DAY)

    assert ahead == ()
    assert opened.unexpired_of(WEB) == tuple(map(issuance, range(4)))
    by_signer = opened.unexpired_by_signer()
    assert {name: len(leaves) for name, leaves in by_signer.items()} == {"aa" * 32: 4}


def test_one_that_was_opened_while_the_clock_was_ahead_reads_on_when_it_is_right(
    folder: Path, clock: ManualClock
) -> None:
    written(folder, clock, 4, segment_bytes=1000)
    clock.advance(3 * DAY)
    opened = IssuanceLog(folder, clock)
    opened.record(replace(issuance(4), not_after=NOW + 5 * DAY))
    clock.advance(-3 * DAY)

    assert [int(one.serial_number, 16) for one in opened.unexpired_of(WEB)] == [0, 1, 2, 3, 4]


def test_nothing_is_issued_when_it_can_no_longer_be_read_after_a_step(
    folder: Path, clock: ManualClock
) -> None:
    opened = IssuanceLog(folder, clock)
    opened.record(issuance(0))
    clock.advance(3 * DAY)
    assert opened.unexpired_of(WEB) == ()
    segments(folder)[0].chmod(0o644)
    clock.advance(-3 * DAY)

    assert opened.unexpired_of(WEB) == ()
    with pytest.raises(LogStopped, match="readable by others"):
        opened.record(issuance(1))


def test_what_was_recorded_is_read_back(folder: Path, clock: ManualClock) -> None:
    head = written(folder, clock, 3)

    records = list(read_records(folder))

    assert [record.kind for record in records] == ["genesis", ISSUED, ISSUED, ISSUED]
    assert issued(folder) == [issuance(0), issuance(1), issuance(2)]
    assert records[-1].head == head


def test_only_the_owner_may_read_it(folder: Path, clock: ManualClock) -> None:
    written(folder, clock, 1)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in segments(folder)} == {0o600}

    segments(folder)[0].chmod(0o644)
    with pytest.raises(LogStopped, match="readable by others"):
        IssuanceLog(folder, clock).record(issuance(9))


def test_no_two_logs_are_alike(tmp_path: Path, clock: ManualClock) -> None:
    assert written(tmp_path / "a", clock, 0) != written(tmp_path / "b", clock, 0)


def test_other_events_stand_between_certificates(folder: Path, clock: ManualClock) -> None:
    opened = IssuanceLog(folder, clock)
    opened.note("revoked", serialNumber="07", reason="stolen")
    opened.close()

    last = list(read_records(folder))[-1]

    assert (last.kind, last.fields["reason"]) == ("revoked", "stolen")


def test_the_chain_goes_on_after_a_restart_and_over_files(folder: Path, clock: ManualClock) -> None:
    written(folder, clock, 10, segment_bytes=1000)
    head = written(folder, clock, 10, segment_bytes=1000)

    assert len(segments(folder)) > 5
    assert len(issued(folder)) == 20
    assert list(read_records(folder))[-1].head == head


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = Path(tmp_path_factory.mktemp("log"))
    written(folder, ManualClock(NOW), 4, segment_bytes=1200)
    files = [path.read_bytes() for path in segments(folder)]
    assert len(files) >= 2
    return files


def checked(folder: Path, files: list[bytes], original: list[bytes]) -> bool:
    """Tell whether a log with these files is found to be whole."""
    for number, content in enumerate(files):
        first = json.loads(original[number].split(b"\n")[0])["sequence"]
        path = folder / f"{first:010d}.log"
        path.write_bytes(content)
        path.chmod(0o600)
    try:
        list(read_records(folder))
    except BrokenChain:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed(
    original: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(original) - 1))
    position = data.draw(st.integers(0, len(original[which]) - 2))  # the very last: see below
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != original[which][position]))
    files = list(original)
    files[which] = original[which][:position] + bytes([byte]) + original[which][position + 1 :]

    assert not checked(Path(tmp_path_factory.mktemp("log")), files, original)


def test_a_changed_last_byte_is_noticed_or_is_no_change_of_a_record(
    original: list[bytes], tmp_path: Path
) -> None:
    for byte in range(256):
        if byte not in b"\n\0":
            files = [*original[:-1], original[-1][:-1] + bytes([byte])]
            assert not checked(tmp_path, files, original)
    lines, torn = split(original[-1][:-1] + b"\0")
    assert (b"\n".join([*lines, b""]), torn) == (original[-1], b"")


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_missing_or_doubled_or_moved_record_is_noticed(
    original: list[bytes], tmp_path: Path, removed: int
) -> None:
    lines = original[0].splitlines(keepends=True)[:4]
    assert len(lines) >= 2

    without = [*lines[:removed], *lines[removed + 1 :]]
    doubled = [*lines[: removed + 1], *lines[removed:]]
    if removed + 1 < len(lines):
        assert not checked(tmp_path, [b"".join(without), *original[1:]], original)
    assert not checked(tmp_path, [b"".join(doubled), *original[1:]], original)
    assert not checked(tmp_path, [b"".join(reversed(lines)), *original[1:]], original)


def test_a_missing_file_is_noticed(folder: Path, clock: ManualClock) -> None:
    written(folder, clock, 10, segment_bytes=1200)
    segments(folder)[1].unlink()

    with pytest.raises(BrokenChain):
        list(read_records(folder))


def test_a_record_written_anew_does_not_fit_the_next(folder: Path, clock: ManualClock) -> None:
    written(folder, clock, 3)
    path = segments(folder)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    before = next(iter(read_records(folder))).head
    lines[1], _ = encode(before, ISSUED, {"at": NOW.isoformat(), "identity": "spiffe://evil"})
    path.write_bytes(b"".join(lines))

    with pytest.raises(BrokenChain, match=r"record 3 .*does not follow"):
        list(read_records(folder))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("fill", [b"", b"\0" * 700])
def test_a_torn_last_line_is_cut_off_and_said(
    folder: Path, clock: ManualClock, share: float, fill: bytes
) -> None:
    written(folder, clock, 3)
    path = segments(folder)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    torn = lines[-1][: max(int(len(lines[-1]) * share), 1)]
    path.write_bytes(b"".join(lines[:-1]) + torn + fill)

    opened = IssuanceLog(folder, clock)
    opened.record(issuance(9))
    opened.close()

    assert kinds(folder) == ["genesis", ISSUED, ISSUED, RECOVERED, ISSUED]
    assert issued(folder) == [issuance(0), issuance(1), issuance(9)]


def test_a_whole_record_without_its_end_of_line_is_kept(folder: Path, clock: ManualClock) -> None:
    written(folder, clock, 2)
    path = segments(folder)[0]
    path.write_bytes(path.read_bytes()[:-1])

    IssuanceLog(folder, clock).close()

    assert issued(folder) == [issuance(0), issuance(1)]


@pytest.mark.parametrize("left", [b"", b'{"sequence":'])
def test_a_file_that_had_just_begun_is_begun_again(
    folder: Path, clock: ManualClock, left: bytes
) -> None:
    head = written(folder, clock, 2)
    begun = folder / f"{head.sequence + 1:010d}.log"
    begun.write_bytes(left)
    begun.chmod(0o600)

    written(folder, clock, 1)

    assert len(issued(folder)) == 3


def test_a_damaged_log_takes_nothing_and_stays_as_it_is(folder: Path, clock: ManualClock) -> None:
    written(folder, clock, 3)
    path = segments(folder)[0]
    damaged = path.read_bytes().replace(b"pod socket", b"pod pocket", 1)
    path.write_bytes(damaged)

    opened = IssuanceLog(folder, clock)

    for _ in range(2):
        with pytest.raises(LogStopped, match=r"record 2 .*does not have its hash") as refusal:
            opened.record(issuance(9))
        assert "mutua ca audit verify" in refusal.value.hint
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("how", ["removed", "cut", "extended"])
def test_a_log_that_somebody_changes_while_it_is_open_is_stopped(
    folder: Path, clock: ManualClock, how: str
) -> None:
    opened = IssuanceLog(folder, clock)
    opened.record(issuance(0))
    path = segments(folder)[0]
    match how:
        case "removed":
            path.unlink()
        case "cut":
            os.truncate(path, 10)
        case _:
            path.write_bytes(path.read_bytes() + b"x\n")

    with pytest.raises(LogStopped, match="somebody else"):
        opened.record(issuance(1))


def test_a_full_disk_issues_nothing_and_leaves_no_half_record(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = IssuanceLog(folder, clock)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda fd, line: real(fd, line[:50]))
        with pytest.raises(LogStopped, match="disk"):
            opened.record(issuance(0))

    opened.record(issuance(1))
    opened.close()

    assert issued(folder) == [issuance(1)]


def test_unexpired_leaves_are_known_also_after_a_restart(folder: Path, clock: ManualClock) -> None:
    opened = IssuanceLog(folder, clock, segment_bytes=1000)
    opened.record(issuance(0))
    opened.record(issuance(1, JOB, signer="bb" * 32))
    opened.record(issuance(2))
    opened.close()

    for log in (opened, IssuanceLog(folder, clock)):
        assert log.unexpired_of(WEB) == (issuance(0), issuance(2))
        by_signer = log.unexpired_by_signer()
        assert set(by_signer["aa" * 32]) == {issuance(0), issuance(2)}
        assert by_signer["bb" * 32] == (issuance(1, JOB, signer="bb" * 32),)


def test_expired_leaves_are_forgotten(folder: Path, clock: ManualClock) -> None:
    opened = IssuanceLog(folder, clock)
    opened.record(issuance(0))
    opened.record(issuance(60))

    clock.advance(DAY + timedelta(seconds=30))

    assert opened.unexpired_of(WEB) == (issuance(60),)
    clock.advance(DAY)
    assert opened.unexpired_by_signer() == {}


def test_a_start_reads_only_files_that_can_hold_unexpired_leaves(
    folder: Path, clock: ManualClock
) -> None:
    written(folder, clock, 10, segment_bytes=1000)
    clock.advance(2 * DAY)
    written(folder, clock, 1, segment_bytes=1000)
    oldest = segments(folder)[0]
    oldest.write_bytes(oldest.read_bytes().replace(b"pod socket", b"pod pocket"))

    IssuanceLog(folder, clock).record(issuance(11))  # for the operator's `verify` to find

    with pytest.raises(BrokenChain):
        list(read_records(folder))


def test_what_was_written_reaches_the_disk_soon(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    async def scenario() -> None:
        opened = IssuanceLog(folder, clock)
        monkeypatch.setattr("os.fdatasync", fdatasync)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(opened.run(lambda: None))
            for number in range(100):
                opened.record(issuance(number))
            async with asyncio.timeout(5):
                while segments(folder)[0].stat().st_size not in synced:
                    await asyncio.sleep(0.01)
            task.cancel()
        assert len(synced) < 10

    asyncio.run(scenario())


def test_a_disk_that_takes_nothing_stops_the_log(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fdatasync(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    async def scenario() -> None:
        opened = IssuanceLog(folder, clock)
        monkeypatch.setattr("os.fdatasync", fdatasync)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(opened.run(lambda: None))
            opened.record(issuance(0))
            async with asyncio.timeout(5):
                while not opened.stopped:
                    await asyncio.sleep(0.01)
            with pytest.raises(LogStopped, match="does not reach the disk"):
                opened.record(issuance(1))
            task.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "1", "1:aa", "x:" + "a" * 64, "-1:" + "a" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="SEQUENCE:HASH"):
        Head.parse(text)


def test_a_head_reads_what_it_prints() -> None:
    head = Head(7, "ab" * 32)

    assert Head.parse(str(head)) == head


names = st.text(max_size=5).map("x".__add__)


@given(fields=st.dictionaries(names, st.text(max_size=40), max_size=5))
def test_any_field_survives(fields: dict[str, str]) -> None:
    line, record = encode(START, "genesis", fields)

    [only], torn = split(line)

    assert torn == b""
    again: Record = decode(only, START)
    assert again.head == record.head
    assert fields.items() <= dict(again.fields).items()
