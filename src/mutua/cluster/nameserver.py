"""The process that answers the cluster's names, apart from the daemon: it must outlive it.

    python -m mutua.cluster.nameserver RECORDS ADDRESS

A pod whose names stopped resolving has stopped talking, whatever its proxy could still do.  So
the daemon only writes down what it knows (`write_records`, whole or not at all), and this process,
a child of the shim, reads it again whenever the file has been replaced.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mutua.cluster.dns import DnsServer
from mutua.cluster.dns_records import Records
from mutua.cluster.dns_wire import Answer, Target


def write_records(path: Path, records: Mapping[str, Answer]) -> None:
    """Replace the file of names; a reader sees the old one or the new one."""
    document = {
        name: [answer.addresses, answer.alias, [[t.name, t.port] for t in answer.targets]]
        for name, answer in records.items()
    }
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document))
    temporary.replace(path)


def read_records(path: Path) -> dict[str, Answer]:
    """Read what `write_records` wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    return {
        name: Answer(tuple(addresses), alias, tuple(Target(host, port) for host, port in targets))
        for name, (addresses, alias, targets) in document.items()
    }


class RecordsFile:
    """The names in a file, as fresh as the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._records = Records()

    def lookup(self, name: str) -> Answer | None:
        """Return what is known about a lower-case name; None: no such name."""
        status = os.stat(self._path)  # noqa: PTH116 - once per question: the cheapest call
        version = (status.st_ino, status.st_mtime_ns)
        if version != self._seen:
            self._records, self._seen = Records.of(read_records(self._path)), version
        return self._records.lookup(name)


def main() -> None:
    """Answer until killed."""
    path, address = Path(sys.argv[1]), sys.argv[2]
    asyncio.run(DnsServer(RecordsFile(path).lookup, address=address).serve(lambda: None))


if __name__ == "__main__":
    main()
