"""What `strict apply` did: printed, and kept in a ConfigMap."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from lightkube import ApiError, Client

from mutua.api.kinds import kind_of
from mutua.api.object import CONFIG_MAPS
from mutua.cli.client import resource_class
from mutua.cli.strict.roll import NOT_FOUND, Outcome, Wave
from mutua.foundation.clock import rfc3339

NAME: Final = "mutua-strict-report"
"""ConfigMap in the root namespace with the latest report."""

HEADER: Final = ("WAVE", "WHAT", "POLICY", "OUTCOME", "SECONDS", "WHY")

GOOD: Final = frozenset({Outcome.HELD, Outcome.NOTHING})


def rows(waves: Sequence[Wave]) -> list[tuple[str, ...]]:
    """Return one row per wave."""
    return [
        (
            str(number),
            wave.title,
            wave.policy or "-",
            wave.outcome.value,
            f"{wave.seconds:g}" if wave.seconds else "-",
            wave.why or "-",
        )
        for number, wave in enumerate(waves, start=1)
    ]


def is_good(waves: Sequence[Wave]) -> bool:
    """Tell whether everything that was meant to be STRICT is."""
    return all(wave.outcome in GOOD for wave in waves)


def verdict(waves: Sequence[Wave]) -> str:
    """Say in one line how it went."""
    held = sum(wave.outcome is Outcome.HELD for wave in waves)
    if is_good(waves):
        rest = "" if held == len(waves) else "; the others had nothing to change"
        return f"{held} of {len(waves)} waves changed to STRICT{rest}"
    stopped = next(wave for wave in waves if wave.outcome not in GOOD)
    earlier = f"; {held} before it stay STRICT" if held else ""
    return f"stopped at {stopped.title}: {stopped.outcome.value}{earlier}"


def document(waves: Sequence[Wave], now: datetime) -> dict[str, Any]:
    """Return a report for programs."""
    return {
        "time": rfc3339(now),
        "verdict": "STRICT" if is_good(waves) else "STOPPED",
        "waves": [
            {
                "what": wave.title,
                "policy": wave.policy,
                "outcome": wave.outcome.value,
                "why": wave.why,
                "seconds": wave.seconds,
            }
            for wave in waves
        ],
    }


def keep(client: Client, namespace: str, report: dict[str, Any]) -> None:
    """Store a report in place of the one before."""
    kind = resource_class(kind_of(CONFIG_MAPS))
    obj = kind({
        "metadata": {"namespace": namespace, "name": NAME},
        "data": {"report.json": json.dumps(report, indent=2)},
    })  # fmt: skip
    try:
        client.replace(obj, NAME, namespace=namespace)
    except ApiError as error:
        if error.status.code != NOT_FOUND:
            raise
        client.create(obj, namespace=namespace)
