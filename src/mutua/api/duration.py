"""Durations as people write them for Istio: `10s`, `1m30s`, `500ms`."""

import re
from typing import Final

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|us|ns|m|s)")


def parse_duration(text: str) -> float | None:
    """Return the seconds in a duration as Go writes it (1m30s, 0.5s), None when it is none."""
    if text == "0":
        return 0.0
    if not text or _PART.sub("", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def duration_fault(text: str, low: float, high: float) -> str:
    """Return what is wrong with a duration, "" when nothing is.

    Args:
        text: As written.
        low: The shortest, in seconds.
        high: The longest, in seconds.
    """
    seconds = parse_duration(text)
    if seconds is None:
        return "must be a duration, as 10s or 500ms"
    if not low <= seconds <= high:
        return f"must be between {low:g}s and {high:g}s"
    return "must be whole milliseconds" if round(seconds * 1e6) % 1000 else ""
