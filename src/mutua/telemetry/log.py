"""How a log line looks: one line, constant message, data in fields.

    2026-11-23T20:07:03.123Z INFO  mutua.xds.server: xds resource refused proxy=web.shop reason="…"

Fields come from logging's `extra`.  Values that could break the line are quoted and cut: foreign
text never looks like another line.
"""

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from typing_extensions import override

MAX_FIELD: Final = 300
"""Characters of one field that are kept."""

MAX_FILE: Final = 10 * 1024 * 1024
"""Bytes after which a log file is put aside; one older file is kept."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """Formats a record as one line, a traceback excepted."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        instant = datetime.fromtimestamp(record.created, UTC)
        stamp = f"{instant:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        fields = "".join(f" {key}={_quoted(value)}" for key, value in sorted(extra.items()))
        line = f"{stamp} {record.levelname:<5} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _quoted(value: object) -> str:
    text = str(value)[:MAX_FIELD]
    is_plain = text.isprintable() and text and not any(c in text for c in ' "=')
    return (
        text if is_plain else '"' + text.encode("unicode_escape").decode().replace('"', "'") + '"'
    )


def configure(level: str, *, file: Path | None = None) -> None:
    """Send this process's log to stderr, or to a file that is kept bounded."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        handler = RotatingFileHandler(file, maxBytes=MAX_FILE, backupCount=1)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
