"""PeerAuthentication as a typed value.

The one parser of this kind: admission accepts exactly what this module understands, and the model
is built from its results.  Specification: istio-semantics, sections 1.1 and 1.2.

    selector: absent, {} or with empty matchLabels    -> None, "no selector"
    mtls: absent, null, {} or mode UNSET              -> MutualTlsMode.UNSET
    portLevelMtls: workload ports                     -> {port: mode}, needs a selector
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.shape import misshapen
from mutua.api.tables.istio import PEER_AUTHENTICATION
from mutua.api.verdict import FieldError, Invalid, Verdict, forbidden, invalid, required

MAX_PORT: Final = 65535
"""Highest port (RFC 9293, section 3.1)."""


class MutualTlsMode(Enum):
    """Which connections a workload accepts; UNSET leaves it to the wider policy."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthentication:
    """One policy as its author wrote it.

    Attributes:
        namespace: Where it lives.
        name: Its name; without meaning.
        created: creationTimestamp, RFC 3339 in UTC, so that text order is age order; "" before it
            was stored.
        selector: Labels the workload must have; None when it speaks about the whole namespace.
        mode: For every port that `port_modes` does not name.
        port_modes: By workload port, never by Service port; UNSET inherits `mode`.
        source: The object it was read from, for whoever passes it on; {} when it was not.
    """

    namespace: str
    name: str
    created: str = ""
    selector: Mapping[str, str] | None = None
    mode: MutualTlsMode = MutualTlsMode.UNSET
    port_modes: Mapping[int, MutualTlsMode] = field(default_factory=lambda: MappingProxyType({}))
    source: Object = field(default_factory=dict, compare=False, repr=False)


def parse_peer_authentication(obj: Object) -> PeerAuthentication:
    """Read a PeerAuthentication of any version.

    Raises:
        Invalid: It is not one; carries every error found.
    """
    errors = list(misshapen(PEER_AUTHENTICATION, obj))
    if errors:
        raise Invalid(errors)
    metadata = obj.get("metadata") or {}
    spec = obj.get("spec") or {}
    labels = match_labels(spec.get("selector"))
    errors += selector_errors("spec.selector.matchLabels", labels)
    errors += _port_errors(spec, has_selector=bool(labels))
    if errors:
        raise Invalid(errors)
    ports = spec.get("portLevelMtls") or {}
    return PeerAuthentication(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        created=metadata.get("creationTimestamp") or "",
        selector=MappingProxyType(dict(labels)) if labels else None,
        mode=_mode(spec.get("mtls")),
        port_modes=MappingProxyType({int(port): _mode(mtls) for port, mtls in ports.items()}),
        source=obj,
    )


def check_peer_authentication(obj: Object) -> Verdict:
    """Return what admission has to say about a PeerAuthentication."""
    try:
        parse_peer_authentication(obj)
    except Invalid as refusal:
        return Verdict(errors=list(refusal.errors))
    selector = (obj.get("spec") or {}).get("selector")
    return Verdict(warnings=selector_warnings("spec.selector", selector))


def _mode(mtls: Mapping[str, Any] | None) -> MutualTlsMode:
    return MutualTlsMode((mtls or {}).get("mode") or "UNSET")


def _port_errors(spec: Mapping[str, Any], *, has_selector: bool) -> Iterator[FieldError]:
    ports = spec.get("portLevelMtls")
    if ports is None:
        return
    path = "spec.portLevelMtls"
    if not ports:
        yield invalid(path, ports, "must name at least one port")
    elif not has_selector:
        yield forbidden(path, "portLevelMtls requires selector")
    for port in ports:
        if not _PORT.fullmatch(port):
            yield invalid(f"{path}[{port}]", port, "must be a port number")
        elif not 1 <= int(port) <= MAX_PORT:
            yield invalid(f"{path}[{port}]", int(port), f"must be between 1 and {MAX_PORT}")


_PORT: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
"""Ten digits hold a uint32.

Deviates from Istio: "080" is refused, because "80" and "080" in one policy could disagree.
"""


def match_labels(selector: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the labels of an Istio workload selector; empty means "no selector"."""
    return (selector or {}).get("matchLabels") or {}


def selector_errors(path: str, labels: Mapping[str, str]) -> Iterator[FieldError]:
    """Yield what Istio refuses in a workload selector: empty keys and wildcards."""
    for key, value in labels.items():
        if not key:
            yield required(path, "a label has an empty key")
        for text in (key, value):
            if "*" in text:
                yield invalid(f"{path}[{key}]", text, "wildcards are not supported in selectors")


def selector_warnings(path: str, selector: Mapping[str, Any] | None) -> list[str]:
    """Return the warning for a selector that is present and selects nothing in particular."""
    if selector is None or match_labels(selector):
        return []
    return [f"{path}: has no labels and is treated as if it were absent"]
