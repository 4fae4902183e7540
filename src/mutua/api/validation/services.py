"""Services and EndpointSlices."""

import ipaddress
from collections.abc import Iterator
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.validation.names import (
    dns_label,
    label_errors,
    name_errors,
    port_name,
)
from mutua.api.verdict import (
    FieldError,
    Verdict,
    duplicate,
    invalid,
    required,
    too_many,
    unsupported,
)

HEADLESS: Final = "None"
"""clusterIP of a Service without an address of its own."""

MAX_PORT: Final = 65535
MAX_ENDPOINT_ADDRESSES: Final = 100
"""Addresses of one endpoint (discovery/v1)."""


def check_service(obj: Object, old: Object | None) -> Verdict:
    """Judge a Service."""
    spec = obj["spec"]
    errors = [
        *_type_errors(spec),
        *_port_errors(spec),
        *_address_errors(spec, (old or {}).get("spec") or {}),
        *label_errors("spec.selector", spec.get("selector")),
    ]
    return Verdict(errors=errors, warnings=list(_warnings(spec)))


def _type_errors(spec: Object) -> Iterator[FieldError]:
    if spec.get("type") == "ExternalName":
        # A CNAME needs a resolver that leaves the mesh; the cluster DNS has none yet.
        yield unsupported("spec.type", "ExternalName", ("ClusterIP", "NodePort", "LoadBalancer"))


def _warnings(spec: Object) -> Iterator[str]:
    if spec.get("type") in {"NodePort", "LoadBalancer"}:
        yield f"spec.type: {spec['type']} is reachable inside the mesh only, like ClusterIP"
    if spec.get("sessionAffinity") == "ClientIP":
        yield "spec.sessionAffinity: ClientIP is stored but has no effect"
    if spec.get("externalIPs"):
        yield "spec.externalIPs: is stored but has no effect"


def _port_errors(spec: Object) -> Iterator[FieldError]:
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != HEADLESS and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if name:
            yield from name_errors(f"{path}.name", name, dns_label)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        elif len(ports) > 1:
            yield required(f"{path}.name")
        number = (port["port"], port.get("protocol") or "TCP")
        if number in numbers:
            yield duplicate(path, {"port": number[0], "protocol": number[1]})
        numbers.add(number)
        yield from target_errors(f"{path}.targetPort", port.get("targetPort"))


def target_errors(path: str, target: Any) -> Iterator[FieldError]:
    """Yield what is wrong with a port given as a number or by name."""
    if isinstance(target, int) and not 1 <= target <= MAX_PORT:
        yield invalid(path, target, f"must be between 1 and {MAX_PORT}, inclusive")
    elif isinstance(target, str):
        yield from name_errors(path, target, port_name)


def _address_errors(spec: Object, old: Object) -> Iterator[FieldError]:
    address = spec.get("clusterIP") or ""
    if address not in {"", HEADLESS} and not _is_ipv4(address):
        yield invalid("spec.clusterIP", address, "must be empty, 'None', or an IPv4 address")
    before = old.get("clusterIP") or ""
    if before and address and address != before:
        yield invalid("spec.clusterIP", address, "field is immutable")


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def check_endpoint_slice(obj: Object, old: Object | None) -> Verdict:
    """Judge an EndpointSlice."""
    errors: list[FieldError] = []
    if old is not None and old.get("addressType") != obj["addressType"]:
        errors.append(invalid("addressType", obj["addressType"], "field is immutable"))
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        path, addresses = f"endpoints[{index}].addresses", endpoint["addresses"]
        if len(addresses) > MAX_ENDPOINT_ADDRESSES:
            errors.append(too_many(path, len(addresses), MAX_ENDPOINT_ADDRESSES))
        if obj["addressType"] == "IPv4":
            errors += [
                invalid(f"{path}[{place}]", address, "must be a valid IPv4 address")
                for place, address in enumerate(addresses)
                if not _is_ipv4(address)
            ]
    return Verdict(errors=errors)
