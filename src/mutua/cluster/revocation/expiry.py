"""Until when may a connection live?  As long as the certificate that it was made with.

    certificate A ──────────────────────────────| notAfter of A: what was made with A ends
          renewal: what is open now is A's ┘
               certificate B ────────────────────────────────| …

    a workload that gets no B: everything ends at the notAfter of A

Envoy looks at a certificate once, when a connection begins.  HTTP connections are ended long before
by Envoy itself, gracefully (mutua.xds.compile.lifetime); what is left for these deadlines is raw
TCP and requests without an end.  When a renewal came late because the daemon slept, some HTTP
connections were begun too shortly before the expiry; they get the time that they need (`limit`).

Pure: instants and names of connections are arguments.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mutua.identity.renewal import Validity
from mutua.xds.compile.lifetime import SERVER_SHARE

MOST_PER_POD: Final = 16
"""Certificates whose connections are remembered of one pod: one per half-life."""


def limit(old: Validity, *, replaced: datetime) -> datetime:
    """Return until when connections may live that were open when their certificate was replaced.

    That is its end, or later, if it was replaced while it was valid but so late that HTTP
    connections could not end in order.  Whoever comes after the end has no time left.

    Args:
        old: Of the certificate that was replaced.
        replaced: When it was.
    """
    if replaced >= old.not_after:
        return old.not_after
    return max(old.not_after, replaced + old.lifetime * SERVER_SHARE)


@dataclass(frozen=True, slots=True)
class Due:
    """Connections that must end now.

    Attributes:
        pod: Uid of the pod.
        cookies: The kernel's names for its connections; None for all that it has.
    """

    pod: str
    cookies: frozenset[int] | None


class Deadlines:
    """When which connections of which pod must end."""

    def __init__(self) -> None:
        self._ends: dict[str, datetime] = {}
        self._noted: dict[str, list[tuple[datetime, frozenset[int]]]] = {}
        self._replaced: dict[str, list[datetime]] = {}

    def certified(self, pod: str, not_after: datetime) -> None:
        """Take note that a pod has got a certificate that ends then."""
        self._ends[pod] = not_after

    def replaced(self, pod: str, not_after: datetime) -> None:
        """Take note that a certificate was replaced; `note` follows."""
        replaced = self._replaced.setdefault(pod, [])
        replaced.append(not_after)
        del replaced[:-MOST_PER_POD]

    def note(self, pod: str, not_after: datetime, cookies: frozenset[int]) -> None:
        """Take note of what was open when a certificate was replaced that ends then."""
        left = [one for one in self._replaced.pop(pod, ()) if one != not_after]
        if left:
            self._replaced[pod] = left
        noted = self._noted.setdefault(pod, [])
        if cookies:
            noted.append((not_after, cookies))
        del noted[:-MOST_PER_POD]

    def remove(self, pod: str) -> None:
        """Forget a pod."""
        self._ends.pop(pod, None)
        self._noted.pop(pod, None)
        self._replaced.pop(pod, None)

    @property
    def unnoted(self) -> list[tuple[str, datetime]]:
        """Pods and ends of certificates that were replaced, where `note` has not followed yet."""
        return [(pod, end) for pod, ends in self._replaced.items() for end in ends]

    def dump(self) -> dict[str, Any]:
        """Return all of it, by pod, as JSON values."""
        return {
            pod: {
                "ends": self._ends[pod].isoformat() if pod in self._ends else "",
                "replaced": [end.isoformat() for end in self._replaced.get(pod, ())],
                "noted": [(end.isoformat(), [*names]) for end, names in self._noted.get(pod, ())],
            }
            for pod in self._ends.keys() | self._noted.keys() | self._replaced.keys()
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> "Deadlines":
        """Return what was dumped.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: Nothing that `dump` returned.
        """
        found = cls()
        for pod, known in dumped.items():
            if known["ends"]:
                found.certified(pod, datetime.fromisoformat(known["ends"]))
            for end, cookies in known["noted"]:
                found.note(pod, datetime.fromisoformat(end), frozenset(map(int, cookies)))
            for end in known["replaced"]:
                found.replaced(pod, datetime.fromisoformat(end))
        return found

    def due(self, now: datetime) -> Iterator[Due]:
        """Yield what must end now.

        Noted connections are yielded once; those of a pod without a valid certificate as long as
        it has none.
        """
        for pod, noted in self._noted.items():
            over = [cookies for end, cookies in noted if end <= now]
            if over:
                noted[:] = [one for one in noted if one[0] > now]
                yield Due(pod, frozenset().union(*over))
        for pod, end in self._ends.items():
            if end <= now:
                yield Due(pod, None)
