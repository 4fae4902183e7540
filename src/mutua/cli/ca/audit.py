"""`mutua ca audit`: what has the authority issued, and is the record of it whole?

Reads the files of the mesh's state directory, whether the mesh runs or not.
"""

import json
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from mutua.cli.columns import print_columns
from mutua.cli.main import layout_of, mesh_options
from mutua.foundation.clock import parse_rfc3339
from mutua.foundation.errors import Rejected
from mutua.identity.issuance_chain import GENESIS, ISSUED, SEGMENT, START, BrokenChain, Head, Record
from mutua.identity.issuance_log import read_records, segments, torn_bytes

LISTED: Final = 50
"""Records listed unless told otherwise."""

COLUMNS: Final = {
    # header: field
    "SEQUENCE": "sequence",
    "AT": "at",
    "KIND": "kind",
    "IDENTITY": "identity",
    "SERIAL": "serialNumber",
    "NOT AFTER": "notAfter",
}

WIDE_COLUMNS: Final = COLUMNS | {
    "NOT BEFORE": "notBefore",
    "AUTHENTICATED": "authenticated",
    "POD": "pod",
    "TEMPLATE": "template",
    "SIGNER": "signer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found.

    Attributes:
        ok: Whether the chain is whole, and holds the head that was asked for.
        records: Good records, from the first one on.
        head: The last good one, SEQUENCE:HASH.
        files: Of the log.
        bad: Number of the first record that is wrong, 0 when none is.
        reason: What is wrong with it.
        note: What a crash left, which the next start mends.
    """

    ok: bool
    records: int
    head: str
    files: int
    bad: int = 0
    reason: str = ""
    note: str = ""


@click.group()
def command() -> None:
    """Read and check the log of everything the authority issued."""


@command.command("verify")
@mesh_options
@click.option("--head", help="SEQUENCE:HASH that was noted earlier: it must be in the chain.")
@click.option("--after", help="SEQUENCE:HASH of the last record that has been moved away.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def verify_command(
    name: str | None, state_dir: str | None, head: str | None, after: str | None, output: str
) -> None:
    """Check every record; exit with 1 when one is missing, added, moved or altered."""
    noted = Head.parse(head) if head else None
    found = verify(_directory(name, state_dir), noted, Head.parse(after) if after else START)
    if output == "json":
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        click.echo(f"{found.records} records in {found.files} files, head {found.head}")
        if found.note:
            click.echo(f"note: {found.note}")
        click.echo(
            "the chain is whole" if found.ok else f"BROKEN at record {found.bad}: {found.reason}"
        )
    sys.exit(0 if found.ok else 1)


@command.command("head")
@mesh_options
def head_command(name: str | None, state_dir: str | None) -> None:
    """Print SEQUENCE:HASH of the last record: note it elsewhere, and verify against it later."""
    last = START
    for record in _records(_directory(name, state_dir)):
        last = record.head
    click.echo(str(last))


@command.command("list")
@mesh_options
@click.option("--identity", default="", help="Only what names this; a part of it will do.")
@click.option("--serial", default="", help="Only the certificate with this serial number.")
@click.option("--since", default="", help="Only from then on: RFC 3339, or 90s, 15m, 2h, 7d ago.")
@click.option("--last", type=click.IntRange(1, 1_000_000), default=LISTED, show_default=True)
@click.option("-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table")
def list_command(
    name: str | None,
    state_dir: str | None,
    identity: str,
    serial: str,
    since: str,
    last: int,
    output: str,
) -> None:
    """List the newest records, oldest first."""
    start = _instant(since) if since else None
    wanted = serial.replace(":", "").lower().lstrip("0")
    found: deque[Record] = deque(maxlen=last)
    for record in _records(_directory(name, state_dir)):
        fields = record.fields
        if (
            identity in fields.get("identity", "")
            and (not wanted or fields.get("serialNumber", "").lstrip("0") == wanted)
            and (start is None or datetime.fromisoformat(fields["at"]) >= start)
        ):
            found.append(record)
    if output == "json":
        click.echo(json.dumps([dict(record.fields) for record in found], indent=2))
        return
    columns = WIDE_COLUMNS if output == "wide" else COLUMNS
    print_columns(
        list(columns),
        [[_cell(record, field) for field in columns.values()] for record in found],
    )


def verify(directory: Path, noted: Head | None, after: Head) -> Verdict:
    """Check a whole log.

    Args:
        directory: Of the log.
        noted: A record that must be in it.
        after: The record before the oldest file.
    """
    count, head, files = 0, after, len(segments(directory))
    has_noted = noted in {None, after}
    bad, reason = 0, ""
    try:
        for record in read_records(directory, after=after):
            count, head = count + 1, record.head
            has_noted = has_noted or head == noted
    except BrokenChain as error:
        bad, reason = error.sequence, error.reason
    if not bad and not has_noted:
        assert noted is not None  # noqa: S101 - None is never missing
        is_cut = noted.sequence > head.sequence
        bad = noted.sequence
        reason = "it has been cut off" if is_cut else "it is not the record that was noted"
    if not files and not bad:
        bad, reason = 1, f"there is no log in {directory}"
    torn = torn_bytes(directory)
    return Verdict(
        ok=not bad,
        records=count,
        head=str(head),
        files=files,
        bad=bad,
        reason=reason,
        note=f"{torn} bytes of a record that was being written" if torn and not bad else "",
    )


def _records(directory: Path) -> Iterator[Record]:
    if not segments(directory):
        raise Rejected(f"there is no issuance log in {directory}", hint="start it: mutua up")
    first = segments(directory)[0]
    yield from read_records(directory, after=START if first.stem == f"{1:010d}" else None)


def _directory(name: str | None, state_dir: str | None) -> Path:
    return layout_of(name, state_dir).issuance


def _cell(record: Record, field: str) -> str:
    text = str(record.fields.get(field, ""))
    if field == "identity" and record.kind not in {ISSUED, GENESIS, SEGMENT} and not text:
        known = {"sequence", "kind", "at", "previous", "hash"}
        return " ".join(f"{k}={v}" for k, v in record.fields.items() if k not in known)
    return text[:19] + "Z" if field in {"at", "notBefore", "notAfter"} and text else text


def _instant(text: str) -> datetime:
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdigit() and text[-1] in units:
        amount: dict[str, Any] = {units[text[-1]]: int(text[:-1])}
        return datetime.now(UTC) - timedelta(**amount)
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Rejected(f"--since: {error}", hint="2026-01-31T12:00:00Z, or 15m") from error
