"""How long ago, in the few characters kubectl's tables have for it.

Source: apimachinery `duration.HumanDuration`; the steps keep two or three significant digits.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from mutua.foundation.clock import parse_rfc3339

UNKNOWN: Final = "<unknown>"
"""What kubectl shows for an instant that is missing."""


def age(instant: Any, now: datetime) -> str:
    """Return the time since an RFC 3339 instant, or `<unknown>` when it is not one."""
    try:
        return human_duration(now - parse_rfc3339(instant))
    except (TypeError, ValueError):
        return UNKNOWN


def human_duration(elapsed: timedelta) -> str:
    """Format a duration: 5s, 2m5s, 11m, 3h5m, 12h, 3d4h, 20d, 2y30d."""
    seconds = int(elapsed.total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    years = days // 365
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return _pair(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _pair(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
