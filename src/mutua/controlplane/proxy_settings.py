"""What a pod's annotations ask of its proxy, besides capture.

Deviates from Istio: an annotation that asks for something mutua does not do refuses the pod,
instead of being ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mutua.api.annotations import (
    CURVE,
    READINESS,
    RSA_SIZE,
    SIDECAR,
    SIGNATURE,
    annotations,
    proxy_errors,
    proxy_metadata,
)
from mutua.api.object import Object
from mutua.api.proxy_volumes import ProxyVolumes, proxy_volumes
from mutua.api.verdict import Verdict
from mutua.identity.keys import KeyAlgorithm

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
        key_algorithm: Of the workload's key.
        volumes: What the pod's author adds to its files.
    """

    log_level: str
    resources: Mapping[str, Mapping[str, str]]
    readiness: Mapping[str, int]
    is_probed: bool
    key_algorithm: KeyAlgorithm = KeyAlgorithm.P256
    volumes: ProxyVolumes = field(default_factory=ProxyVolumes)


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
        key_algorithm=_key_algorithm(proxy_metadata(given)),
        volumes=proxy_volumes(given),
    )


def _key_algorithm(metadata: Mapping[str, str]) -> KeyAlgorithm:
    """Istio's rule: with ECC_SIGNATURE_ALGORITHM an EC key, else RSA.

    Deviates where nothing is said: P-256, of which a proxy makes thousands in the time of one RSA
    key, and every peer of the last fifteen years verifies it.
    """
    if RSA_SIZE in metadata and SIGNATURE not in metadata:
        return KeyAlgorithm(f"RSA {metadata[RSA_SIZE]}")
    return KeyAlgorithm.P384 if metadata.get(CURVE) == "P384" else KeyAlgorithm.P256


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
