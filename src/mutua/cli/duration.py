"""Lengths of time as people type them: 30s, 10m, 1h30m, 7d."""

import re
from datetime import timedelta
from typing import Final

from mutua.foundation.errors import Rejected

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Seconds per unit; Go's, and days."""

DURATION: Final = re.compile(r"(?:\d{1,9}[smhd])+", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read 30s, 10m, 24h, 7d, or several of these: 1h30m.

    Raises:
        Rejected: It is none of these.
    """
    if not DURATION.fullmatch(text):
        raise Rejected(f"{text!r} is not a time such as 30s, 10m, 1h30m, 24h or 7d")
    parts = re.findall(r"(\d+)([smhd])", text)
    try:
        return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise Rejected(f"{text!r} is too long a time") from None
