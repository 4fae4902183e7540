"""What the process runtime does with each pod field that is not plain: refuse it, or warn.

Tables, so that documentation can list them.  Refused: the pod would get less than it relies on, or
ask for a privilege no container has here.  Warned about: it asks for a restriction or a placement
that makes no difference to how the pod works.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.verdict import FieldError, forbidden

PROXY: Final = "istio-proxy"
"""The injected container: what it asks for was not written by the pod's author."""

Applies = Callable[[Any], bool]


def _given(value: Any) -> bool:
    return bool(value)


def _other_than(*values: Any) -> Applies:
    return lambda value: value is not None and value not in values


REFUSED_POD_FIELDS: Final[Mapping[str, tuple[Applies, str]]] = {
    "hostNetwork": (_given, "pods cannot join the host's network"),
    "hostPID": (_given, "pods cannot see the host's processes"),
    "hostIPC": (_given, "pods cannot join the host's IPC namespace"),
    "shareProcessNamespace": (_given, "containers do not share a PID namespace"),
    "ephemeralContainers": (_given, "ephemeral containers are not supported"),
    "dnsPolicy": (_other_than("ClusterFirst", "ClusterFirstWithHostNet"), "only ClusterFirst"),
    "dnsConfig": (_given, "the resolver always is the cluster DNS"),
    "runtimeClassName": (_given, "the process runtime is the only one"),
    "readinessGates": (_given, "readiness gates are not supported"),
    "schedulingGates": (_given, "scheduling gates are not supported"),
    "resourceClaims": (_given, "dynamic resources are not supported"),
    "setHostnameAsFQDN": (_given, "the host name always is the short name"),
    "activeDeadlineSeconds": (_given, "deadlines of pods are not supported"),
}
REFUSED_CONTAINER_FIELDS: Final[Mapping[str, tuple[Applies, str]]] = {
    "volumeDevices": (_given, "block devices are not supported"),
    "restartPolicy": (_given, "restart policies of single containers are not supported"),
    "stdin": (_given, "containers have no standard input; use kubectl exec -i"),
    "tty": (_given, "containers have no terminal"),
}
REFUSED_PRIVILEGES: Final[Mapping[str, tuple[Applies, str]]] = {
    "privileged": (_given, "containers have no privileges"),
    "procMount": (_other_than("Default", ""), "/proc cannot be unmasked"),
}
REFUSED_MOUNT_FIELDS: Final[Mapping[str, tuple[Applies, str]]] = {
    "subPathExpr": (_given, "use subPath"),
    "mountPropagation": (_other_than("None", ""), "mounts do not propagate"),
}
IGNORED_POD_FIELDS: Final[Mapping[str, str]] = {
    "nodeSelector": "has no effect: there is one node",
    "affinity": "has no effect: there is one node",
    "topologySpreadConstraints": "has no effect: there is one node",
    "priorityClassName": "has no effect: pods are never preempted",
}
IGNORED_SECURITY_FIELDS: Final[Mapping[str, str]] = {
    "runAsUser": "has no effect: processes run as the owner of the mesh",
    "runAsGroup": "has no effect: processes run as the owner of the mesh",
    "runAsNonRoot": "has no effect: processes run as the owner of the mesh",
    "fsGroup": "has no effect: processes run as the owner of the mesh",
    "supplementalGroups": "has no effect: processes run as the owner of the mesh",
    "readOnlyRootFilesystem": "has no effect: files are protected by the owner's permissions",
    "seccompProfile": "has no effect: system calls are not filtered",
    "appArmorProfile": "has no effect: AppArmor profiles are not applied",
    "seLinuxOptions": "has no effect: SELinux labels are not applied",
    "sysctls": "has no effect: kernel parameters are not set",
}


def unsupported_errors(path: str, spec: Object) -> Iterator[FieldError]:
    """Yield the refusals of what a pod's spec asks for and cannot have."""
    yield from _refusals(path, spec, REFUSED_POD_FIELDS)
    for where, container in _containers(path, spec):
        yield from _refusals(where, container, REFUSED_CONTAINER_FIELDS)
        security = container.get("securityContext") or {}
        yield from _refusals(f"{where}.securityContext", security, REFUSED_PRIVILEGES)
        if (security.get("capabilities") or {}).get("add") and container["name"] != PROXY:
            detail = "containers hold no capabilities"
            yield forbidden(f"{where}.securityContext.capabilities.add", detail)
        for index, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                detail = "ports of the host are not mapped; use a Service"
                yield forbidden(f"{where}.ports[{index}].hostPort", detail)
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            yield from _refusals(f"{where}.volumeMounts[{index}]", mount, REFUSED_MOUNT_FIELDS)
        yield from _unsupported_handlers(where, container)


def _unsupported_handlers(path: str, container: Object) -> Iterator[FieldError]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (container.get(name) or {}).get("grpc") is not None:
            yield forbidden(f"{path}.{name}.grpc", "gRPC probes are not supported; use tcpSocket")
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.get("postStart") is not None:
        yield forbidden(f"{path}.lifecycle.postStart", "post-start hooks are not supported")
    for name in ("httpGet", "tcpSocket"):
        if (lifecycle.get("preStop") or {}).get(name) is not None:
            yield forbidden(f"{path}.lifecycle.preStop.{name}", "only exec and sleep are supported")


def unsupported_warnings(path: str, spec: Object) -> Iterator[str]:
    """Yield a sentence for each field that is stored and changes nothing."""
    for name, effect in IGNORED_POD_FIELDS.items():
        if spec.get(name):
            yield f"{path}.{name}: {effect}"
    places = [(path, spec), *_containers(path, spec)]
    for where, holder in places:
        security = holder.get("securityContext") or {}
        for name, effect in IGNORED_SECURITY_FIELDS.items():
            value = security.get(name)
            if value is not None and value is not False and holder.get("name") != PROXY:
                yield f"{where}.securityContext.{name}: {effect}"


def _refusals(
    path: str, obj: Object, table: Mapping[str, tuple[Applies, str]]
) -> Iterator[FieldError]:
    for name, (applies, reason) in table.items():
        if applies(obj.get(name)):
            yield forbidden(f"{path}.{name}", f"not supported by mutua: {reason}")


def _containers(path: str, spec: Object) -> Iterator[tuple[str, Object]]:
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield f"{path}.{group}[{index}]", container
