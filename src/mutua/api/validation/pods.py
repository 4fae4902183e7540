"""Pods: what Kubernetes refuses, on top of what the process runtime cannot do.

What is not supported is never ignored in silence.  A field that would give a process something it
cannot have here is refused (`.support`); one that only asks for less than it gets is a warning.
"""

from collections.abc import Iterator
from typing import Final

from mutua.api.annotations import annotation_warnings
from mutua.api.object import Object
from mutua.api.validation.containers import container_errors
from mutua.api.validation.names import dns_label, dns_subdomain, name_errors
from mutua.api.validation.support import unsupported_errors, unsupported_warnings
from mutua.api.validation.volumes import volume_errors
from mutua.api.verdict import FieldError, Verdict, duplicate, forbidden, invalid

_MUTABLE: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "terminationGracePeriodSeconds",
        "tolerations",
        "containers",
        "initContainers",
    }
)
"""Fields of a pod's spec that may change, containers in their image only (Kubernetes API)."""


def check_pod(obj: Object, old: Object | None) -> Verdict:
    """Judge a Pod."""
    errors = list(pod_spec_errors("spec", obj["spec"]))
    if old is not None:
        errors += _change_errors(obj["spec"], old.get("spec") or {})
    return Verdict(errors=errors, warnings=list(pod_warnings("", obj)))


def pod_warnings(path: str, pod: Object) -> Iterator[str]:
    """Yield what the author of a pod, or of a pod's template at a path, should know."""
    given = (pod.get("metadata") or {}).get("annotations") or {}
    yield from annotation_warnings(f"{path}metadata", given)
    yield from unsupported_warnings(f"{path}spec", pod["spec"])


def pod_spec_errors(path: str, spec: Object) -> Iterator[FieldError]:
    """Yield what is wrong with a pod's spec, alone or in a template."""
    volumes = spec.get("volumes") or ()
    yield from volume_errors(f"{path}.volumes", volumes)
    volume_names = frozenset(volume["name"] for volume in volumes)
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            where = f"{path}.{group}[{index}]"
            if container["name"] in seen:
                yield duplicate(f"{where}.name", container["name"])
            seen.add(container["name"])
            yield from container_errors(where, container, volume_names)
            if group == "initContainers":
                yield from _init_errors(where, container)
    yield from _scalar_errors(path, spec)
    yield from unsupported_errors(path, spec)


def _init_errors(path: str, container: Object) -> Iterator[FieldError]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
        if container.get(name):
            yield forbidden(f"{path}.{name}", "may not be set for init containers")


def _scalar_errors(path: str, spec: Object) -> Iterator[FieldError]:
    if (grace := spec.get("terminationGracePeriodSeconds")) is not None and grace < 0:
        detail = "must be greater than or equal to 0"
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, detail)
    if account := spec.get("serviceAccountName"):
        yield from name_errors(f"{path}.serviceAccountName", account, dns_subdomain)
    for name in ("hostname", "subdomain"):
        if text := spec.get(name):
            yield from name_errors(f"{path}.{name}", text, dns_label)


def _change_errors(spec: Object, old: Object) -> Iterator[FieldError]:
    for name in spec.keys() | old.keys():
        if name in _MUTABLE or spec.get(name) == old.get(name):
            continue
        if name == "nodeName" and not old.get(name):
            continue  # the moment a pod is scheduled
        yield forbidden("spec", f"pod updates may not change spec.{name}")
    for group in ("initContainers", "containers"):
        if _without_images(spec, group) != _without_images(old, group):
            detail = f"pod updates may not change fields other than `spec.{group}[*].image`"
            yield forbidden("spec", detail)


def _without_images(spec: Object, group: str) -> list[Object]:
    ignored = {"image", "imagePullPolicy"}
    return [
        {name: value for name, value in container.items() if name not in ignored}
        for container in spec.get(group) or ()
    ]
