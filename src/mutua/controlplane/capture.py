"""Which of a pod's connections go through its proxy: the traffic.sidecar.istio.io annotations.

Reading is strict.  A rule that is misread leaves traffic uncaptured, that is unencrypted and
unpoliced, so a malformed value, a misspelt name and a rule that mutua cannot enforce refuse the
pod and name the annotation.

    include…  absent or "*"  everything        ""  nothing        a list: these
    exclude…  absent or ""   nothing                              a list: these

Source: istio-semantics 8.3, 8.4; istio pkg/kube/inject/validate.go.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, ip_network
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.verdict import FieldError, Verdict, forbidden, invalid
from mutua.runtime.network.rules import MAX_PORT, CaptureRules

PREFIX: Final = "traffic.sidecar.istio.io/"
INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"
ALL: Final = "*"


def capture_rules(pod: Object) -> CaptureRules:
    """Return a pod's capture rules.

    Raises:
        Invalid: An annotation is malformed, unknown or not supported; all of them are named.
    """
    given = annotations(pod)
    errors: list[FieldError] = []
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if not name.startswith(PREFIX):
            continue
        if name not in _READERS:
            errors.append(_unknown(name, value))
            continue
        field, read = _READERS[name]
        try:
            fields[field] = read(value)
        except ValueError as error:
            errors.append(invalid(annotation_path(name), value, str(error)))
    errors += _interception(given)
    Verdict(errors=errors).raise_for_errors()
    return CaptureRules(**fields)


def annotations(pod: Object) -> dict[str, str]:
    """Return a pod's annotations."""
    return pod["metadata"].get("annotations") or {}


def annotation_path(name: str) -> str:
    """Return the path of an annotation, as errors name it."""
    return f"metadata.annotations[{name}]"


def _ports(value: str) -> tuple[int, ...]:
    return tuple(_port(item.strip()) for item in value.split(",")) if value.strip() else ()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PORT):
        raise ValueError(f"{text!r} is not a port from 1 to {MAX_PORT}")
    return int(text)


def _ranges(value: str) -> tuple[str, ...]:
    items = [item.strip() for item in value.split(",")] if value.strip() else []
    networks = [_range(item) for item in items]
    # Pods have no IPv6 address, so a range of such addresses matches nothing there is.
    return tuple(str(one) for one in networks if isinstance(one, IPv4Network))


def _range(text: str) -> Any:
    if "/" not in text:
        raise ValueError(f"{text!r} is not a range such as 10.0.0.0/8")
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a range such as 10.0.0.0/8") from error


def _or_all(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """None, which captures everything, for "*"."""
    return lambda value: None if value.strip() == ALL else read(value)


_READERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    f"{PREFIX}includeInboundPorts": ("include_inbound_ports", _or_all(_ports)),
    f"{PREFIX}excludeInboundPorts": ("exclude_inbound_ports", _ports),
    f"{PREFIX}includeOutboundIPRanges": ("include_outbound_cidrs", _or_all(_ranges)),
    f"{PREFIX}excludeOutboundIPRanges": ("exclude_outbound_cidrs", _ranges),
    f"{PREFIX}includeOutboundPorts": ("include_outbound_ports", _ports),
    f"{PREFIX}excludeOutboundPorts": ("exclude_outbound_ports", _ports),
}
"""Annotation to field of CaptureRules and how its value is read."""

_OF_OTHER_RUNTIMES: Final = (f"{PREFIX}kubevirtInterfaces", f"{PREFIX}excludeInterfaces")


def _unknown(name: str, value: str) -> FieldError:
    if name in _OF_OTHER_RUNTIMES:
        return forbidden(annotation_path(name), "not supported by mutua: pods have one interface")
    known = ", ".join(one.removeprefix(PREFIX) for one in _READERS)
    return invalid(annotation_path(name), value, f"unknown annotation; there are {known}")


def _interception(given: dict[str, str]) -> Iterator[FieldError]:
    mode = given.get(INTERCEPTION, "REDIRECT")
    if mode in {"TPROXY", "NONE"}:
        yield forbidden(annotation_path(INTERCEPTION), "not supported by mutua: only REDIRECT")
    elif mode != "REDIRECT":
        yield invalid(annotation_path(INTERCEPTION), mode, "must be REDIRECT")
