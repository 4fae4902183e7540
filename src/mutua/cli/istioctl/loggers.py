"""`proxy-config log`: what a level means, and how Envoy is asked for it."""

from collections.abc import Collection
from typing import Final

from mutua.api.object import Object
from mutua.foundation.errors import Rejected

LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
"""Envoy's levels, most talkative first."""

SPELLINGS: Final = {"warn": "warning", "none": "off"}
"""istioctl's other words for them."""

DEFAULT: Final = "warning"
"""The level at which sidecars start."""

LEVEL_ANNOTATION: Final = "sidecar.istio.io/logLevel"
"""A pod's own choice of it."""

ALL: Final = "all"
"""istioctl's name for every logger."""

ACTIVE: Final = "POST /logging"
"""The request for the present levels."""


def parse_levels(text: str, known: Collection[str]) -> list[str]:
    """Return the requests that set `LEVEL`, or `LOGGER:LEVEL,LOGGER:LEVEL`.

    Args:
        text: As given after `--level`; a level alone is for every logger.
        known: The loggers of the proxy.

    Raises:
        Rejected: Unknown level or logger.
    """
    everywhere, single = "", []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        logger, colon, level = part.rpartition(":")
        if not colon or logger == ALL:
            everywhere = _level(level)
        elif logger in known:
            single.append(f"{logger}:{_level(level)}")
        else:
            raise Rejected(f"unrecognized logger name: {logger}")
    requests = [f"POST /logging?level={everywhere}"] if everywhere else []
    if single:
        requests.append("POST /logging?paths=" + ",".join(single))
    if not requests:
        raise Rejected(f"no level in {text!r}; levels are: {', '.join(LEVELS)}")
    return requests


def initial_level(pod: Object) -> str:
    """Return the level a pod's sidecar was started with: what `--reset` sets."""
    return str((pod["metadata"].get("annotations") or {}).get(LEVEL_ANNOTATION) or DEFAULT)


def parse_loggers(text: str) -> dict[str, str]:
    """Return logger to level, from Envoy's list of active loggers."""
    pairs = (line.strip().partition(": ") for line in text.splitlines()[1:])
    return {name: level for name, separator, level in pairs if separator}


def _level(text: str) -> str:
    level = SPELLINGS.get(text.lower(), text.lower())
    if level not in LEVELS:
        raise Rejected(f"unrecognized logging level: {text}; levels are: {', '.join(LEVELS)}")
    return level
