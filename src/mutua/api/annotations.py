"""The annotations that a pod's proxy obeys: their names, and what their values must look like.

Reading is strict.  A capture rule that is misread leaves traffic uncaptured, that is unencrypted
and unpoliced, so a malformed value, a misspelt name and a wish that mutua cannot grant are errors.

    include…  absent or "*"  everything        ""  nothing        a list: these
    exclude…  absent or ""   nothing                              a list: these

Source: istio-semantics 8.3, 8.4; istio pkg/kube/inject/validate.go.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any, Final

import yaml

from mutua.api.object import Object
from mutua.api.proxy_volumes import MOUNTS, VOLUMES, mounts_complaint, volumes_complaint
from mutua.api.verdict import FieldError, forbidden, invalid

SIDECAR: Final = "sidecar.istio.io/"
READINESS: Final = "readiness.status.sidecar.istio.io/"
TRAFFIC: Final = "traffic.sidecar.istio.io/"
CONFIG: Final = "proxy.istio.io/config"
INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"

MAX_PORT: Final = 65535
"""Highest port number (RFC 9293, section 3.1)."""

LOG_LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
"""Of Envoy."""

FIRST_AND_LAST: Final = "the proxy always starts before the pod's containers and ends after them"

ALWAYS: Final[Mapping[str, str]] = {
    f"{SIDECAR}rewriteAppHTTPProbers": "probes never pass the proxy, and are not rewritten for it",
    f"{SIDECAR}nativeSidecar": FIRST_AND_LAST,
}
"""Annotations that mutua acts on as if they were "true", and why "false" changes nothing."""

HOLD: Final = "holdApplicationUntilProxyStarts"
"""Field of proxy.istio.io/config that may be given and changes nothing: mutua always does it."""

METADATA: Final = "proxyMetadata"
"""Field of proxy.istio.io/config with settings of the agent, as Istio's agent reads them from its
environment."""

SIGNATURE, CURVE, RSA_SIZE = "ECC_SIGNATURE_ALGORITHM", "ECC_CURVE", "WORKLOAD_RSA_KEY_SIZE"
METADATA_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    SIGNATURE: ("ECDSA",),
    CURVE: ("P256", "P384"),
    RSA_SIZE: ("2048", "3072", "4096"),
}
"""What proxyMetadata may set, to what."""

ALL: Final = "*"


def annotations(obj: Object) -> dict[str, str]:
    """Return an object's annotations."""
    return obj["metadata"].get("annotations") or {}


def annotation_path(name: str) -> str:
    """Return the path of an annotation, as errors name it."""
    return f"metadata.annotations[{name}]"


def traffic_errors(given: Mapping[str, str]) -> Iterator[FieldError]:
    """Yield what is wrong with the annotations about capture."""
    for name, value in given.items():
        if not name.startswith(TRAFFIC):
            continue
        if name not in READERS:
            yield _unknown(name, value)
            continue
        try:
            READERS[name](value)
        except ValueError as error:
            yield invalid(annotation_path(name), value, str(error))
    mode = given.get(INTERCEPTION, "REDIRECT")
    if mode in {"TPROXY", "NONE"}:
        yield forbidden(annotation_path(INTERCEPTION), "not supported by mutua: only REDIRECT")
    elif mode != "REDIRECT":
        yield invalid(annotation_path(INTERCEPTION), mode, "must be REDIRECT")


def proxy_errors(given: Mapping[str, str]) -> Iterator[FieldError]:
    """Yield what is wrong with the annotations about the proxy itself."""
    for name, value in given.items():
        if name in UNSUPPORTED:
            yield forbidden(annotation_path(name), f"not supported by mutua: {UNSUPPORTED[name]}")
        elif name in CHECKS and (complaint := CHECKS[name](value)):
            yield invalid(annotation_path(name), value, complaint)


def annotation_warnings(path: str, given: Mapping[str, str]) -> Iterator[str]:
    """Yield what is to be said of valid annotations that ask for less than every pod gets.

    Args:
        path: Of the metadata that has them.
        given: They.
    """
    for name, effect in ALWAYS.items():
        if given.get(name) == "false":
            yield f"{path}.annotations[{name}]: has no effect: {effect}"
    config = given.get(CONFIG, "")
    if config and not _config(config) and _read_config(config).get(HOLD) == "false":
        where = f"{path}.annotations[{CONFIG}].{HOLD}"
        yield f"{where}: has no effect: {FIRST_AND_LAST}"


def _unknown(name: str, value: str) -> FieldError:
    if name in _OF_OTHER_RUNTIMES:
        return forbidden(annotation_path(name), "not supported by mutua: pods have one interface")
    known = ", ".join(one.removeprefix(TRAFFIC) for one in READERS)
    return invalid(annotation_path(name), value, f"unknown annotation; there are {known}")


_OF_OTHER_RUNTIMES: Final = (f"{TRAFFIC}kubevirtInterfaces", f"{TRAFFIC}excludeInterfaces")


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


READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    f"{TRAFFIC}includeInboundPorts": _or_all(_ports),
    f"{TRAFFIC}excludeInboundPorts": _ports,
    f"{TRAFFIC}includeOutboundIPRanges": _or_all(_ranges),
    f"{TRAFFIC}excludeOutboundIPRanges": _ranges,
    f"{TRAFFIC}includeOutboundPorts": _ports,
    f"{TRAFFIC}excludeOutboundPorts": _ports,
}
"""Annotations about capture, and how each value is read; ValueError says what is wrong with it."""

Check = Callable[[str], str]
"""Returns what is wrong with a value, "" when nothing is."""


def _one_of(*values: str) -> Check:
    return lambda value: "" if value in values else f"must be one of {', '.join(values)}"


def _matches(pattern: re.Pattern[str], what: str) -> Check:
    return lambda value: "" if pattern.fullmatch(value) else f"must be {what}"


_QUANTITY: Final = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|e[0-9]+)?")
_quantity: Final = _matches(_QUANTITY, "a quantity such as 100m or 128Mi")
_count: Final = _matches(re.compile(r"[0-9]{1,6}"), "a whole number")
_boolean: Final = _one_of("true", "false")


def proxy_metadata(given: Mapping[str, str]) -> Mapping[str, str]:
    """Return proxyMetadata of valid annotations."""
    config = _read_config(given.get(CONFIG, "{}"))
    return config.get(METADATA) or {}


def _read_config(value: str) -> Any:
    # Text only: merge keys, with which a small document grows without end, mean nothing here.
    return yaml.load(value, Loader=yaml.BaseLoader)


def _metadata_complaint(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return f"{METADATA} must be a mapping"
    for name, value in metadata.items():
        allowed = METADATA_VALUES.get(str(name))
        if allowed is None:
            return f"not supported by mutua: {METADATA}.{name}"
        if value not in allowed:
            return f"{METADATA}.{name} must be one of {', '.join(allowed)}"
    if CURVE in metadata and SIGNATURE not in metadata and RSA_SIZE in metadata:
        return f"{METADATA}: {CURVE} and {RSA_SIZE} exclude each other"
    return ""


def _config(value: str) -> str:
    try:
        config = _read_config(value)
    except (yaml.YAMLError, RecursionError):
        return "must be YAML"
    if not isinstance(config, dict):
        return "must be a YAML mapping"
    if others := [str(key) for key in config if key not in {HOLD, METADATA}]:
        return f"not supported by mutua: {', '.join(others)}"
    if complaint := _metadata_complaint(config.get(METADATA) or {}):
        return complaint
    is_boolean = str(config.get(HOLD, "true")) in {"true", "false"}
    return "" if is_boolean else f"{HOLD} must be true or false"


CHECKS: Final[Mapping[str, Check]] = {
    f"{SIDECAR}logLevel": _one_of(*LOG_LEVELS),
    f"{SIDECAR}proxyCPU": _quantity,
    f"{SIDECAR}proxyMemory": _quantity,
    f"{SIDECAR}proxyCPULimit": _quantity,
    f"{SIDECAR}proxyMemoryLimit": _quantity,
    f"{READINESS}initialDelaySeconds": _count,
    f"{READINESS}periodSeconds": _count,
    f"{READINESS}failureThreshold": _count,
    "status.sidecar.istio.io/port": _one_of("0", "15020", "15021"),
    # Probes always go past the proxy, and the proxy always starts first and ends last.
    f"{SIDECAR}rewriteAppHTTPProbers": _boolean,
    f"{SIDECAR}nativeSidecar": _boolean,
    CONFIG: _config,
    VOLUMES: volumes_complaint,
    MOUNTS: mounts_complaint,
}
"""Annotations about the proxy that mean something here, and what their values must look like."""

UNSUPPORTED: Final[Mapping[str, str]] = {
    f"{SIDECAR}bootstrapOverride": "Envoy's bootstrap is fixed",
    f"{SIDECAR}componentLogLevel": "use sidecar.istio.io/logLevel",
    f"{SIDECAR}statsInclusionPrefixes": "Envoy's statistics are fixed",
    f"{SIDECAR}statsInclusionSuffixes": "Envoy's statistics are fixed",
    f"{SIDECAR}statsInclusionRegexps": "Envoy's statistics are fixed",
    f"{SIDECAR}extraStatTags": "Envoy's statistics are fixed",
    f"{READINESS}applicationPorts": "the proxy's readiness does not depend on the application",
    "proxy.istio.io/overrides": "write resources into a container named istio-proxy instead",
    "inject.istio.io/templates": "there is one template",
}
"""Annotations that ask for something mutua does not do, and what to know about it."""
