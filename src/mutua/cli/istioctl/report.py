"""Which findings of analysis are shown, and how."""

import fnmatch
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import yaml

from mutua.analysis.codes import CODES
from mutua.analysis.message import Level, Message, Origin
from mutua.foundation.errors import Rejected

COLOURS: Final = {Level.ERROR: "red", Level.WARNING: "yellow"}

POLICIES: Final = frozenset({"PeerAuthentication", "DestinationRule", "ServiceEntry"})
"""Kinds that speak about the whole mesh when they are in its root namespace."""

Reference = Callable[[Message], str]
"""Returns `file:line` of what a message is about, "" when it is in no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the user asked about.

    Attributes:
        namespaces: Namespaces; None for all.
        written: Objects in files; what is said about them is shown wherever they are.
        root: The root namespace: among all, only its policies are shown.
        suppressed: `CODE=KIND NAME.NAMESPACE`, with wildcards.
        threshold: Leave out what is less grave.
    """

    namespaces: frozenset[str] | None
    written: Collection[Origin] = ()
    root: str = "istio-system"
    suppressed: Sequence[tuple[str, str]] = ()
    threshold: Level = Level.INFO

    def shows(self, message: Message) -> bool:
        """Tell whether a message is about what the user asked about."""
        if message.code.level < self.threshold or self._is_suppressed(message):
            return False
        concerned = (message.origin, *message.related)
        if any(one in self.written for one in concerned):
            return True
        if message.origin.kind == "ConfigMap" and self.namespaces != frozenset():
            return True  # the MeshConfig, which concerns every namespace
        if self.namespaces is None:
            return message.origin.namespace != self.root or message.origin.kind in POLICIES
        return any((one.namespace or one.name) in self.namespaces for one in concerned)

    def _is_suppressed(self, message: Message) -> bool:
        origin = message.origin
        place = f".{origin.namespace}" if origin.namespace else ""
        address = f"{origin.kind} {origin.name}{place}"
        return any(
            fnmatch.fnmatchcase(message.code.code, code) and fnmatch.fnmatchcase(address, pattern)
            for code, pattern in self.suppressed
        )


def parse_suppression(text: str) -> tuple[str, str]:
    """Read `CODE=KIND NAME.NAMESPACE`, such as `IST0103=Pod *.testing`.

    Raises:
        Rejected: It is not of that form, or there is no such code.
    """
    code, equals, resource = text.partition("=")
    if not equals or not resource:
        raise Rejected(f"{text!r} is not CODE=KIND NAME.NAMESPACE, such as IST0103=Pod *.testing")
    if not any(fnmatch.fnmatchcase(known, code) for known in CODES):
        raise Rejected(f"no analyzer has code {code!r}; see istioctl analyze -L")
    return code, resource


def lines(messages: Iterable[Message], reference: Reference, *, coloured: bool) -> list[str]:
    """Return a line per message, for people."""
    return [_line(one, reference(one), coloured=coloured) for one in messages]


def _line(message: Message, reference: str, *, coloured: bool) -> str:
    line, level = message.line(reference), message.code.level
    if coloured and level in COLOURS:
        return line.replace(str(level), click.style(str(level), fg=COLOURS[level]), 1)
    return line


def document(messages: Iterable[Message], reference: Reference, output: str) -> str:
    """Return all messages as JSON or YAML."""
    found: list[dict[str, Any]] = [one.document(reference(one)) for one in messages]
    if output == "yaml":
        return yaml.safe_dump(found, sort_keys=False).rstrip("\n")
    return json.dumps(found, indent=4)


def known_codes() -> list[str]:
    """Return a line per code that analysis knows."""
    return [f"{one.code} {one.level!s:7} {one.name}: {one.summary}" for one in CODES.values()]
