"""What a pod's annotations ask of its proxy, besides capture.

Deviates from Istio: an annotation that asks for something mutua does not do refuses the pod,
instead of being ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mutua.api.annotations import READINESS, SIDECAR, annotations, proxy_errors
from mutua.api.object import Object
from mutua.api.verdict import Verdict

DEFAULT_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "2", "memory": "1Gi"},
}
"""Of the proxy container.  Source: istio manifests/charts, global.proxy.resources."""


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
    Verdict(errors=[*proxy_errors(given)]).raise_for_errors()
    return ProxySettings(
        log_level=given.get(f"{SIDECAR}logLevel", "warning"),
        resources=_resources(given),
        readiness={
            name: int(given[f"{READINESS}{name}"])
            for name in ("initialDelaySeconds", "periodSeconds", "failureThreshold")
            if f"{READINESS}{name}" in given
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
            name: given[f"{SIDECAR}{annotation}"]
            for name, annotation in names.items()
            if f"{SIDECAR}{annotation}" in given
        }
        for group, names in asked.items()
    }
    return {group: set_ for group, set_ in found.items() if set_} or DEFAULT_RESOURCES
