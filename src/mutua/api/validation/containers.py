"""One container: its name, ports, environment, mounts and probes."""

import re
from collections.abc import Iterator
from typing import Final

from mutua.api.object import Object
from mutua.api.validation.names import dns_label, name_errors, port_name, variable_name
from mutua.api.validation.services import target_errors
from mutua.api.verdict import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)

PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")

SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")

FIELD_PATHS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
"""What `fieldRef` of an environment variable may name, besides one label or annotation."""

_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")


def container_errors(path: str, container: Object, volumes: frozenset[str]) -> Iterator[FieldError]:
    """Yield what is wrong with a container of a pod that has these volumes."""
    yield from name_errors(f"{path}.name", container["name"], dns_label)
    if not container.get("image"):
        yield required(f"{path}.image")
    yield from _port_errors(f"{path}.ports", container)
    yield from _environment_errors(path, container)
    yield from _mount_errors(f"{path}.volumeMounts", container, volumes)
    for name in PROBES:
        if probe := container.get(name):
            yield from _probe_errors(f"{path}.{name}", name, probe)
    for moment, handler in (container.get("lifecycle") or {}).items():
        if isinstance(handler, dict):
            yield from _handler_errors(f"{path}.lifecycle.{moment}", handler)
    yield from _resource_errors(f"{path}.resources", container.get("resources") or {})


def _port_errors(path: str, container: Object) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, port in enumerate(container.get("ports") or ()):
        if not (name := port.get("name")):
            continue
        yield from name_errors(f"{path}[{index}].name", name, port_name)
        if name in names:
            yield duplicate(f"{path}[{index}].name", name)
        names.add(name)


def _environment_errors(path: str, container: Object) -> Iterator[FieldError]:
    for index, variable in enumerate(container.get("env") or ()):
        where = f"{path}.env[{index}]"
        yield from name_errors(f"{where}.name", variable["name"], variable_name)
        source = variable.get("valueFrom")
        if source is None:
            continue
        given = [name for name, value in source.items() if value is not None]
        if variable.get("value"):
            detail = "may not be specified when `value` is not empty"
            yield invalid(f"{where}.valueFrom", "", detail)
        if len(given) != 1:
            yield invalid(f"{where}.valueFrom", "", f"must specify one of: {', '.join(SOURCES)}")
        if source.get("fieldRef"):
            yield from _field_path_errors(f"{where}.valueFrom.fieldRef", source["fieldRef"])
    for index, source in enumerate(container.get("envFrom") or ()):
        if bool(source.get("configMapRef")) == bool(source.get("secretRef")):
            detail = "must specify one of: configMapRef, secretRef"
            yield invalid(f"{path}.envFrom[{index}]", "", detail)


def _field_path_errors(path: str, reference: Object) -> Iterator[FieldError]:
    field = reference["fieldPath"]
    if field not in FIELD_PATHS and not _SUBSCRIPT.fullmatch(field):
        yield unsupported(f"{path}.fieldPath", field, FIELD_PATHS)


def _mount_errors(path: str, container: Object, volumes: frozenset[str]) -> Iterator[FieldError]:
    targets: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}[{index}]"
        if mount["name"] not in volumes:
            yield invalid(f"{where}.name", mount["name"], "no volume of this pod has this name")
        target = mount["mountPath"]
        if not target.startswith("/") or ":" in target or "\0" in target:
            yield invalid(f"{where}.mountPath", target, "must be an absolute path without ':'")
        if target in targets:
            yield duplicate(f"{where}.mountPath", target)
        targets.add(target)
        yield from relative_path_errors(f"{where}.subPath", mount.get("subPath") or "")


def relative_path_errors(path: str, text: str) -> Iterator[FieldError]:
    """Yield what is wrong with a path that must stay inside its volume."""
    if text.startswith("/") or "\0" in text:
        yield invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield invalid(path, text, "must not contain '..'")


def _probe_errors(path: str, name: str, probe: Object) -> Iterator[FieldError]:
    yield from _handler_errors(path, probe)
    for field in ("timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(field) == 0:
            yield invalid(f"{path}.{field}", 0, "must be greater than 0")
    if name != "readinessProbe" and probe.get("successThreshold") not in {None, 1}:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler_errors(path: str, handler: Object) -> Iterator[FieldError]:
    given = [name for name in HANDLERS if handler.get(name) is not None]
    if not given:
        yield required(path, "must specify a handler type")
    for name in given[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    if "exec" in given and not handler["exec"].get("command"):
        yield required(f"{path}.exec.command")
    for name in ("httpGet", "tcpSocket"):
        if name in given:
            yield from target_errors(f"{path}.{name}.port", handler[name]["port"])


def _resource_errors(path: str, resources: Object) -> Iterator[FieldError]:
    for group in ("limits", "requests"):
        for name, amount in (resources.get(group) or {}).items():
            if str(amount).startswith("-"):
                yield invalid(
                    f"{path}.{group}[{name}]", amount, "must be greater than or equal to 0"
                )
