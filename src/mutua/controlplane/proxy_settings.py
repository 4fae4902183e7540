"""What a pod's annotations ask of its proxy, besides capture.

Deviates from Istio: an annotation that asks for something mutua does not do refuses the pod,
instead of being ignored.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from mutua.api.object import Object
from mutua.api.verdict import FieldError, Verdict, forbidden, invalid
from mutua.controlplane.capture import annotation_path, annotations

LOG_LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
"""Of Envoy."""

DEFAULT_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "2", "memory": "1Gi"},
}
"""Of the proxy container.  Source: istio manifests/charts, global.proxy.resources."""

HOLD: Final = "holdApplicationUntilProxyStarts"
"""The one field of proxy.istio.io/config that may be given: mutua always does it."""

_QUANTITY: Final = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|e[0-9]+)?")
_SIDECAR: Final = "sidecar.istio.io/"
_READINESS: Final = "readiness.status.sidecar.istio.io/"
_CONFIG: Final = "proxy.istio.io/config"

Check = Callable[[str], str]
"""Returns what is wrong with a value, "" when nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """One proxy's settings.

    Attributes:
        log_level: Of Envoy.
        resources: Of the container.
        readiness: Fields of the readiness probe that differ from the default; seconds and counts.
        is_probed: Whether there is a readiness probe.
    """

    log_level: str
    resources: Mapping[str, Mapping[str, str]]
    readiness: Mapping[str, int]
    is_probed: bool


def proxy_settings(pod: Object) -> ProxySettings:
    """Read a pod's annotations.

    Raises:
        Invalid: One is malformed or not supported; all of them are named.
    """
    given = annotations(pod)
    Verdict(errors=[*_errors(given)]).raise_for_errors()
    return ProxySettings(
        log_level=given.get(f"{_SIDECAR}logLevel", "warning"),
        resources=_resources(given),
        readiness={
            name: int(given[f"{_READINESS}{name}"])
            for name in ("initialDelaySeconds", "periodSeconds", "failureThreshold")
            if f"{_READINESS}{name}" in given
        },
        is_probed=given.get("status.sidecar.istio.io/port") != "0",
    )


def _resources(given: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    """Istio's rule: with any of the four annotations, only what they say is set."""
    asked = {
        "requests": {"cpu": "proxyCPU", "memory": "proxyMemory"},
        "limits": {"cpu": "proxyCPULimit", "memory": "proxyMemoryLimit"},
    }
    found = {
        group: {
            name: given[f"{_SIDECAR}{annotation}"]
            for name, annotation in names.items()
            if f"{_SIDECAR}{annotation}" in given
        }
        for group, names in asked.items()
    }
    return {group: set_ for group, set_ in found.items() if set_} or DEFAULT_RESOURCES


def _errors(given: Mapping[str, str]) -> Iterator[FieldError]:
    for name, value in given.items():
        if name in UNSUPPORTED:
            yield forbidden(annotation_path(name), f"not supported by mutua: {UNSUPPORTED[name]}")
        elif name in CHECKS and (complaint := CHECKS[name](value)):
            yield invalid(annotation_path(name), value, complaint)


def _one_of(*values: str) -> Check:
    return lambda value: "" if value in values else f"must be one of {', '.join(values)}"


def _matches(pattern: re.Pattern[str], what: str) -> Check:
    return lambda value: "" if pattern.fullmatch(value) else f"must be {what}"


_quantity: Final = _matches(_QUANTITY, "a quantity such as 100m or 128Mi")
_count: Final = _matches(re.compile(r"[0-9]{1,6}"), "a whole number")
_boolean: Final = _one_of("true", "false")


def _config(value: str) -> str:
    try:
        # Text only: merge keys, with which a small document grows without end, mean nothing here.
        config: Any = yaml.load(value, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return "must be YAML"
    if not isinstance(config, dict):
        return "must be a YAML mapping"
    if others := [str(key) for key in config if key != HOLD]:
        return f"not supported by mutua: {', '.join(others)}"
    is_boolean = str(config.get(HOLD, "true")) in {"true", "false"}
    return "" if is_boolean else f"{HOLD} must be true or false"


CHECKS: Final[Mapping[str, Check]] = {
    f"{_SIDECAR}logLevel": _one_of(*LOG_LEVELS),
    f"{_SIDECAR}proxyCPU": _quantity,
    f"{_SIDECAR}proxyMemory": _quantity,
    f"{_SIDECAR}proxyCPULimit": _quantity,
    f"{_SIDECAR}proxyMemoryLimit": _quantity,
    f"{_READINESS}initialDelaySeconds": _count,
    f"{_READINESS}periodSeconds": _count,
    f"{_READINESS}failureThreshold": _count,
    "status.sidecar.istio.io/port": _one_of("0", "15020", "15021"),
    # Probes always go past the proxy, and the proxy always starts first and ends last.
    f"{_SIDECAR}rewriteAppHTTPProbers": _boolean,
    f"{_SIDECAR}nativeSidecar": _boolean,
    _CONFIG: _config,
}
"""Annotations that mean something here, and what their values must look like."""

UNSUPPORTED: Final[Mapping[str, str]] = {
    f"{_SIDECAR}bootstrapOverride": "Envoy's bootstrap is fixed",
    f"{_SIDECAR}userVolume": "the proxy mounts nothing of the pod's",
    f"{_SIDECAR}userVolumeMount": "the proxy mounts nothing of the pod's",
    f"{_SIDECAR}componentLogLevel": "use sidecar.istio.io/logLevel",
    f"{_SIDECAR}statsInclusionPrefixes": "Envoy's statistics are fixed",
    f"{_SIDECAR}statsInclusionSuffixes": "Envoy's statistics are fixed",
    f"{_SIDECAR}statsInclusionRegexps": "Envoy's statistics are fixed",
    f"{_SIDECAR}extraStatTags": "Envoy's statistics are fixed",
    f"{_READINESS}applicationPorts": "the proxy's readiness does not depend on the application",
    "proxy.istio.io/overrides": "write resources into a container named istio-proxy instead",
    "inject.istio.io/templates": "there is one template",
}
"""Annotations that ask for something mutua does not do, and what to know about it."""
