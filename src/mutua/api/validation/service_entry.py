"""ServiceEntry: what Istio refuses at admission, and what the entry's author should know.

Source: Istio `ValidateServiceEntry` and the limits of its CustomResourceDefinition.

Deviates from Istio: a host with a partial wildcard (`*-a.com`) or a final dot is refused, because
it never matches; so are endpoints on Unix sockets and endpoints that are only a network, because
neither is reachable here.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from mutua.api.object import Object
from mutua.api.security import selector_errors
from mutua.api.service_entry import ALLOCATED_RANGE, hosts_without_address
from mutua.api.validation.export_to import export_errors
from mutua.api.validation.names import MAX_LABEL, label_errors
from mutua.api.verdict import (
    FieldError,
    Verdict,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)

PROTOCOLS: Final = (
    "HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-Web", "HTTP_PROXY", "TCP", "TLS", "Mongo", "Redis",
    "MySQL", "UDP",
)  # fmt: skip
"""What a port may speak; case does not matter.  Source: Istio pkg/config/protocol."""

TOLD_APART: Final = frozenset({"http", "http2", "grpc", "grpc-web", "http_proxy", "https", "tls"})
"""Protocols in which a request names its host."""

NOT_ENFORCED: Final = {
    "weight": "has no effect: endpoints get equal shares",
    "locality": "has no effect: there is one node",
    "network": "has no effect: there is one network",
}
"""Fields of an endpoint that are stored and change nothing."""

UNIX: Final = "unix://"
MAX_PORT: Final = 65535
MAX_HOST: Final = 255
"""Longest host in characters (Istio)."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?i){_LABEL}(\.{_LABEL})*")
_PORT_NAME: Final = re.compile(rf"(?i){_LABEL}")


def check_service_entry(obj: Object) -> Verdict:
    """Judge a ServiceEntry."""
    spec = obj.get("spec") or {}
    if not spec.get("hosts"):
        return Verdict(errors=[required("spec.hosts")])
    metadata = obj.get("metadata") or {}
    errors = [
        *_host_errors(spec),
        *_address_errors(spec),
        *_port_errors(spec),
        *_source_errors(spec),
        *_endpoint_errors(spec),
        *export_errors(
            "spec.exportTo",
            spec.get("exportTo") or [],
            metadata.get("namespace") or "",
            allow_nobody=True,
        ),
    ]
    if errors:
        return Verdict(errors=errors)
    return Verdict(
        warnings=[*_port_warnings(obj), *_source_warnings(spec), *_endpoint_warnings(spec)]
    )


def is_name(text: str) -> bool:
    """Tell whether a text is a fully qualified DNS name, without a final dot."""
    is_number = text.rpartition(".")[2].isdigit()
    return len(text) <= MAX_HOST and bool(_NAME.fullmatch(text)) and not is_number


def _resolution(spec: Object) -> str:
    return spec.get("resolution") or "NONE"


def _is_resolved_by_name(spec: Object) -> bool:
    return _resolution(spec) in {"DNS", "DNS_ROUND_ROBIN"}


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _host_errors(spec: Object) -> Iterator[FieldError]:
    needs_names = _is_resolved_by_name(spec) and not spec.get("endpoints")
    for index, host in enumerate(spec["hosts"]):
        path = f"spec.hosts[{index}]"
        if not is_name(host.removeprefix("*.")):
            yield invalid(path, host, "must be a DNS name, or '*.' followed by one")
        elif needs_names and host.startswith("*."):
            detail = f"cannot be a wildcard: resolution {_resolution(spec)} needs endpoints for it"
            yield invalid(path, host, detail)


def _address_errors(spec: Object) -> Iterator[FieldError]:
    takes_networks = _resolution(spec) in {"NONE", "STATIC"}
    for index, address in enumerate(spec.get("addresses") or ()):
        path = f"spec.addresses[{index}]"
        try:
            network = ip_network(address, strict=False)
        except ValueError:
            yield invalid(path, address, "must be an IP address or a CIDR")
            continue
        if "/" in address and not takes_networks:
            yield invalid(path, address, "networks are allowed with resolution NONE or STATIC only")
        if network.prefixlen < network.max_prefixlen and network.overlaps(ALLOCATED_RANGE):
            detail = f"overlaps {ALLOCATED_RANGE}, from which addresses are allocated to hosts"
            yield invalid(path, address, detail)


def _port_errors(spec: Object) -> Iterator[FieldError]:
    names: set[str] = set()
    numbers: set[int] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        path, name, number = f"spec.ports[{index}]", port["name"], port["number"]
        yield from _port_name_errors(f"{path}.name", name)
        yield from _number_errors(f"{path}.number", number)
        if port.get("targetPort"):
            yield from _number_errors(f"{path}.targetPort", port["targetPort"])
        if name in names:
            yield duplicate(f"{path}.name", name)
        if number in numbers:
            yield duplicate(f"{path}.number", number)
        names.add(name)
        numbers.add(number)
        protocol = (port.get("protocol") or "").lower()
        if protocol and protocol not in map(str.lower, PROTOCOLS):
            yield unsupported(f"{path}.protocol", port["protocol"], PROTOCOLS)
        elif len(spec["hosts"]) > 1 and _resolution(spec) != "NONE" and protocol not in TOLD_APART:
            detail = "connections to several hosts can be told apart on HTTP and TLS ports only"
            yield forbidden(f"{path}.protocol", detail)


def _port_name_errors(path: str, name: str) -> Iterator[FieldError]:
    if not _PORT_NAME.fullmatch(name):
        detail = f"must be a DNS label of at most {MAX_LABEL} letters, digits and dashes"
        yield invalid(path, name, detail)


def _number_errors(path: str, number: int) -> Iterator[FieldError]:
    if not 1 <= number <= MAX_PORT:
        yield invalid(path, number, f"must be between 1 and {MAX_PORT}")


def _source_errors(spec: Object) -> Iterator[FieldError]:
    """Yield the contradictions about where endpoints come from."""
    selector, endpoints = spec.get("workloadSelector"), spec.get("endpoints") or ()
    labels = (selector or {}).get("labels") or {}
    yield from selector_errors("spec.workloadSelector.labels", labels)
    if endpoints and selector is not None:
        yield forbidden("spec.workloadSelector", "cannot be combined with endpoints")
    if endpoints and _resolution(spec) == "NONE":
        yield forbidden("spec.endpoints", "resolution NONE goes where the client was going")
    if len(endpoints) > 1 and _resolution(spec) == "DNS_ROUND_ROBIN":
        yield forbidden("spec.endpoints", "resolution DNS_ROUND_ROBIN takes at most one")


def _endpoint_errors(spec: Object) -> Iterator[FieldError]:
    known = {port["name"] for port in spec.get("ports") or ()}
    for index, endpoint in enumerate(spec.get("endpoints") or ()):
        path = f"spec.endpoints[{index}]"
        yield from _place_errors(f"{path}.address", endpoint, by_name=_is_resolved_by_name(spec))
        yield from label_errors(f"{path}.labels", endpoint.get("labels"))
        for name, number in (endpoint.get("ports") or {}).items():
            if name not in known:
                yield invalid(f"{path}.ports[{name}]", name, "is not the name of one of spec.ports")
            yield from _number_errors(f"{path}.ports[{name}]", number)


def _place_errors(path: str, endpoint: Object, *, by_name: bool) -> Iterator[FieldError]:
    address = endpoint.get("address") or ""
    if not address:
        yield required(path)
    elif address.startswith(UNIX):
        yield forbidden(path, "not supported by mutua: a container's files are its own; use TCP")
    elif not _is_address(address) and not (by_name and is_name(address)):
        what = "an IP address or a DNS name" if by_name else "an IP address"
        detail = f"must be {what} with resolution {'DNS' if by_name else 'STATIC'}"
        yield invalid(path, address, detail)


def _port_warnings(obj: Object) -> Iterator[str]:
    spec = obj["spec"]
    if not spec.get("ports"):
        yield "spec.ports: there are none, so the entry has no effect"
    has_address = bool(spec.get("addresses") or hosts_without_address(obj))
    for index, port in enumerate(spec.get("ports") or ()):
        path, protocol = f"spec.ports[{index}]", (port.get("protocol") or "").lower()
        if protocol == "udp":
            yield f"{path}.protocol: has no effect: proxies carry TCP only"
        elif not has_address and protocol not in TOLD_APART:
            yield (
                f"{path}: without spec.addresses, every connection to port {port['number']} of an "
                "unknown address is taken for this service"
            )
        if port.get("targetPort") and _resolution(spec) == "NONE":
            yield f"{path}.targetPort: has no effect with resolution NONE"


def _source_warnings(spec: Object) -> Iterator[str]:
    resolution, selector = _resolution(spec), spec.get("workloadSelector")
    endpoints = spec.get("endpoints") or ()
    if selector is not None and not selector.get("labels"):
        yield "spec.workloadSelector: has no labels and selects no pods"
    if selector is not None and resolution != "STATIC":
        yield f"spec.workloadSelector: should not be set with resolution {resolution}"
    if resolution == "STATIC" and not endpoints and selector is None:
        yield "spec.endpoints: there are none and no workloadSelector, so requests fail"
    if _is_resolved_by_name(spec) and not endpoints and selector is None:
        yield (
            "spec.endpoints: without any, the hosts themselves are resolved, and there are no "
            "names outside of the mesh"
        )
    if (spec.get("location") or "MESH_EXTERNAL") == "MESH_EXTERNAL" and (
        selector is not None or any(map(_claims_sidecar, endpoints))
    ):
        yield (
            "spec.location: what is MESH_EXTERNAL (the default) is called without mutual TLS, "
            "whatever its endpoints can do; pods with a sidecar are MESH_INTERNAL"
        )


def _claims_sidecar(endpoint: Object) -> bool:
    mode = (endpoint.get("labels") or {}).get("security.istio.io/tlsMode")
    return mode == "istio" or (mode is None and bool(endpoint.get("serviceAccount")))


def _endpoint_warnings(spec: Object) -> Iterator[str]:
    yield from _version_6("spec.addresses", spec.get("addresses") or ())
    for index, endpoint in enumerate(spec.get("endpoints") or ()):
        path = f"spec.endpoints[{index}]"
        yield from _version_6(f"{path}.address", [endpoint["address"]])
        for name, effect in NOT_ENFORCED.items():
            if endpoint.get(name):
                yield f"{path}.{name}: {effect}"


def _version_6(path: str, addresses: Iterable[str]) -> Iterator[str]:
    for address in addresses:
        if ":" in address:
            yield f"{path}: {address} has no effect: pods have no IPv6"
