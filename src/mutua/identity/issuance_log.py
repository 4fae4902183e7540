"""The issuance log on disk: what the authority did, in files that can only grow.

    issuance/0000000001.log   genesis, then one record a line (see `issuance_chain`)
    issuance/0000014231.log   the next file starts with a record that follows the last one's hash

A record is written before its certificate is handed out; no record, no certificate.  It survives
the death of the process at once, and a power cut after at most `SYNC_EVERY` and one fdatasync: a
log that waited for the disk with every record would make a fleet's renewal as slow as the disk.

A last line that a crash has torn is cut off at the next start, and a record says so.  Anything else
that is wrong stops the log, and with it the authority, until a person has looked.

Which leaves have not expired is answered from memory, rebuilt at start from as many files as can
mention one.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from mutua.foundation.clock import STEP, Clock
from mutua.foundation.errors import MutuaError, Rejected, Unavailable
from mutua.foundation.spiffe import SpiffeId, parse_spiffe_id
from mutua.identity.issuance_chain import (
    GENESIS,
    ISSUED,
    SEGMENT,
    START,
    BrokenChain,
    Head,
    Record,
    decode_all,
    encode,
    split,
    start_of,
)
from mutua.identity.journal import Issuance, Journal
from mutua.identity.keyfile import read_secret
from mutua.identity.unexpired import UnexpiredLeaves
from mutua.lifecycle.supervisor import Ready

SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Size after which a new file begins: about 13,000 records, read in a fifth of a second."""

SYNC_EVERY: Final = 0.05
"""Seconds between two fdatasyncs while there is something to write."""

RECOVERED: Final = "recovered"
"""Kind of the record that says that a torn line was cut off."""

log = logging.getLogger(__name__)


class LogStopped(Unavailable):
    """Nothing can be written down, hence nothing is issued."""

    code = "identity.issuance_log_stopped"


class IssuanceLog(Journal):
    """Appends to the log of one mesh, and knows its unexpired leaves.  One process at a time."""

    def __init__(
        self, directory: Path, clock: Clock, *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open or begin the log of a directory.

        A log that is wrong opens too, so that the mesh can be looked at; but it takes no records.

        Args:
            directory: Made with mode 0700 when missing.
            clock: Wall time.
            segment_bytes: Size after which a new file begins.
        """
        self._directory = directory
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._head = START
        self._fd = -1
        self._size = 0
        self._latest_expiry = ""
        self._stopped = ""
        self._unsynced = asyncio.Event()
        self._leaves = UnexpiredLeaves()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._open()
        except (MutuaError, OSError) as error:
            self._stop(str(error))

    @property
    def head(self) -> Head:
        """The last record."""
        return self._head

    @property
    def stopped(self) -> str:
        """Why nothing can be written, "" when it can."""
        return self._stopped

    @override
    def record(self, issuance: Issuance) -> None:
        """Write down one certificate; returning means that the process's death cannot undo it.

        Raises:
            LogStopped: It was not written; the certificate must not be handed out.
        """
        self._require_running()
        self._append(ISSUED, issuance.at, _fields(issuance))
        self._leaves.add(issuance, self._clock.now())

    def note(self, kind: str, **facts: str) -> None:
        """Write down something else that the authority did, as being of this kind.

        Raises:
            LogStopped: It was not written.
        """
        self._require_running()
        self._append(kind, self._clock.now(), facts)

    def unexpired_by_signer(self) -> Mapping[str, tuple[Issuance, ...]]:
        """Return the leaves that have not expired, by SHA-256 of the CA that signed them."""
        return self._remembered().by_signer(self._clock.now())

    def unexpired_of(self, identity: SpiffeId) -> tuple[Issuance, ...]:
        """Return the leaves of a service account that have not expired, oldest first.

        The trust domain does not matter: accounts keep their names when a mesh moves to another.
        """
        return self._remembered().of(identity, self._clock.now())

    def unexpired_of_pod(self, uid: str) -> tuple[Issuance, ...]:
        """Return the leaves of one pod that have not expired, oldest first.

        Old records name no pod.
        """
        return self._remembered().of_pod(uid, self._clock.now())

    def unexpired(self, serial: int) -> Issuance | None:
        """Return the leaf with this number, None if it has expired or was issued elsewhere."""
        return self._remembered().get(f"{serial:032x}", self._clock.now())

    def _remembered(self) -> UnexpiredLeaves:
        """Return the leaves; after the clock was set back, with those that had expired before."""
        now = self._clock.now()
        if self._leaves.forgotten is not None and now < self._leaves.forgotten - STEP:
            self._leaves = UnexpiredLeaves()
            try:
                self._recover(segments(self._directory), now)
            except (MutuaError, OSError) as error:
                self._stop(str(error))
        return self._leaves

    async def run(self, ready: Ready) -> None:
        """Bring what was written to the disk, until cancelled."""
        ready()
        try:
            while True:
                await self._unsynced.wait()
                self._unsynced.clear()
                descriptor = os.dup(self._fd)  # a new file may begin meanwhile
                try:
                    await asyncio.to_thread(os.fdatasync, descriptor)
                except OSError as error:
                    self._stop(f"what was written does not reach the disk: {error.strerror}")
                finally:
                    os.close(descriptor)
                await asyncio.sleep(SYNC_EVERY)
        finally:
            self._sync()

    def close(self) -> None:
        """Bring the rest to the disk and close the file."""
        self._sync()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._stopped = self._stopped or "it has been closed"

    def _require_running(self) -> None:
        if not self._stopped:
            status = os.fstat(self._fd)
            if status.st_nlink == 0 or status.st_size != self._size:
                self._stop("somebody else has changed its file")
        if self._stopped:
            raise LogStopped(
                f"the issuance log is stopped: {self._stopped}",
                hint="see what is there: mutua ca audit verify",
            )

    def _append(self, kind: str, at: datetime, fields: Mapping[str, Any]) -> None:
        try:
            if self._size >= self._segment_bytes:
                self._begin_segment()
            self._write(kind, {"at": at.isoformat(), **fields})
        except OSError as error:
            raise LogStopped(
                f"cannot write to the issuance log in {self._directory}: {error.strerror}",
                hint="make room on its disk",
            ) from error

    def _write(self, kind: str, fields: Mapping[str, Any]) -> None:
        line, record = encode(self._head, kind, fields)
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(0, "the disk is full")
        except OSError:
            os.ftruncate(self._fd, self._size)  # half a record is no record
            raise
        self._head = record.head
        self._size += len(line)
        self._latest_expiry = max(self._latest_expiry, str(fields.get("notAfter", "")))
        self._unsynced.set()

    def _begin_segment(self) -> None:
        self._sync()
        before, size = self._fd, self._size
        path = self._directory / f"{self._head.sequence + 1:010d}.log"
        try:
            self._fd, self._size = _create(path), 0
            kind = SEGMENT if self._head != START else GENESIS
            facts = {"latestExpiry": self._latest_expiry, "random": secrets.token_hex(32)}
            self._write(kind, {"at": self._clock.now().isoformat(), **facts})
            os.fsync(self._fd)
            _sync_directory(self._directory)
        except OSError:
            path.unlink(missing_ok=True)
            self._fd, self._size = before, size
            raise
        if before >= 0:
            os.close(before)

    def _open(self) -> None:
        paths = segments(self._directory)
        if paths and not split(read_secret(paths[-1]))[0]:
            paths.pop().unlink()  # a crash while a file began: its first record is torn
        if not paths:
            self._begin_segment()
            return
        now = self._clock.now()
        self._head = self._recover(paths, now)
        self._fd = os.open(paths[-1], os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size
        self._mend(read_secret(paths[-1]), now)

    def _mend(self, content: bytes, now: datetime) -> None:
        """Cut a torn line off the open file, or end its last line, and say so in a record."""
        if not content or content.endswith(b"\n"):
            return
        lines, torn = split(content)
        kept = sum(len(line) + 1 for line in lines)
        os.ftruncate(self._fd, kept if torn else kept - 1)
        if not torn:
            os.write(self._fd, b"\n")
        self._size = kept
        self._append(RECOVERED, now, {"cutOff": str(len(torn))})
        self._sync()
        log.warning("mended the end of the issuance log", extra={"cut_off": len(torn)})

    def _recover(self, paths: list[Path], now: datetime) -> Head:
        """Check the newest file, and older ones as long as they can hold unexpired leaves."""
        self._leaves.drop_expired(now)  # and it is not even read
        head = follows = None
        for path in reversed(paths):
            lines, torn = split(read_secret(path))
            first = start_of(lines[0] if lines else b"")
            records = list(decode_all(lines, first))
            last = records[-1].head
            head = head or last
            if follows is not None and (follows != last or torn):
                raise BrokenChain(
                    follows.sequence + 1, f"it does not follow the end of {path.name}"
                )
            for record in records:
                self._remember(record, now)
            follows = first
            if first == START or records[0].fields.get("latestExpiry", "~") <= now.isoformat():
                break
        return head or START

    def _remember(self, record: Record, now: datetime) -> None:
        if record.kind == ISSUED:
            leaf = issuance_of(record)
            self._latest_expiry = max(self._latest_expiry, leaf.not_after.isoformat())
            self._leaves.add(leaf, now)
        elif record.kind in {GENESIS, SEGMENT}:
            self._latest_expiry = max(self._latest_expiry, record.fields.get("latestExpiry", ""))

    def _sync(self) -> None:
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._stop(f"what was written does not reach the disk: {error.strerror}")

    def _stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        log.error("the issuance log is stopped, nothing is issued", extra={"reason": reason})


def segments(directory: Path) -> list[Path]:
    """Return the files of a log, oldest first."""
    return sorted(directory.glob("[0-9]*.log"))


def torn_bytes(directory: Path) -> int:
    """Return the length of what a crash, or a write under way, left at the end of a log."""
    paths = segments(directory)
    return len(split(read_secret(paths[-1]))[1]) if paths else 0


def read_records(directory: Path, *, after: Head | None = START) -> Iterator[Record]:
    """Read a whole log, checking it; a torn last line is left out.

    Args:
        directory: Of the log.
        after: The record before the oldest file, when older files have been moved away; None
            takes that file's word for it.

    Raises:
        BrokenChain: Raised by the iterator after the last good record.
        Damaged: A file is readable by others.
    """
    paths = segments(directory)
    for path in paths:
        lines, torn = split(read_secret(path))
        after = after or start_of(lines[0] if lines else b"")
        for record in decode_all(lines, after):
            after = record.head
            yield record
        if torn and path != paths[-1]:
            raise BrokenChain(after.sequence + 1, f"{path.name} ends in the middle of a line")


def issuance_of(record: Record) -> Issuance:
    """Return what a record of kind `ISSUED` says.

    Raises:
        BrokenChain: A field is missing.
    """
    fields = record.fields
    try:
        return Issuance(
            at=datetime.fromisoformat(fields["at"]),
            identity=parse_spiffe_id(fields["identity"]),
            authenticated=fields["authenticated"],
            serial_number=fields["serialNumber"],
            not_before=datetime.fromisoformat(fields["notBefore"]),
            not_after=datetime.fromisoformat(fields["notAfter"]),
            template=fields["template"],
            signer=fields["signer"],
            pod=str(fields.get("pod", "")),
        )
    except (KeyError, ValueError, TypeError, Rejected) as error:
        raise BrokenChain(record.head.sequence, f"not a certificate: {error}") from error


def _fields(issuance: Issuance) -> Mapping[str, str]:
    pod = {"pod": issuance.pod} if issuance.pod else {}
    return {
        "identity": str(issuance.identity),
        **pod,
        "authenticated": issuance.authenticated,
        "serialNumber": issuance.serial_number,
        "notBefore": issuance.not_before.isoformat(),
        "notAfter": issuance.not_after.isoformat(),
        "template": issuance.template,
        "signer": issuance.signer,
    }


def _create(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
