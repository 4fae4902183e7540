"""What an object means where its author said nothing.

Kubernetes fills the same fields at the same moment: after decoding, before validation.  Only
defaults that somebody reads are here: controllers, `kubectl describe`, or a user who compares with
a real cluster.  Addresses and names that come from state (clusterIP, service account tokens) are
admission's business.  Applying defaults twice changes nothing.

Source: Kubernetes API reference; defaults of core/v1 and apps/v1.
"""

import base64
import copy
from collections.abc import Callable, Iterable
from typing import Any, Final

from mutua.api.kinds import Kind
from mutua.api.object import Object

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"


def apply_defaults(kind: Kind, obj: Object) -> Object:
    """Return a copy of `obj` with defaults filled in.

    Args:
        kind: The object's kind.
        obj: A decoded object; parts of a wrong shape are left for validation to name.
    """
    defaulted = copy.deepcopy(obj)
    if kind.kind in _DEFAULTS:
        _DEFAULTS[kind.kind](defaulted)
    return defaulted


def _fill(obj: Object, **values: Any) -> None:
    """Set the given fields where they are absent or null."""
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def _part(obj: Object, name: str) -> Object:
    """Return a sub-object, made when absent, detached when it has another shape."""
    part = obj.get(name)
    if part is None:
        part = obj[name] = {}
    return part if isinstance(part, dict) else {}


def _items(obj: Object, name: str) -> Iterable[Object]:
    """Yield the objects of a list field."""
    found = obj.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _namespace(obj: Object) -> None:
    metadata = _part(obj, "metadata")
    if name := metadata.get("name"):
        _part(metadata, "labels")[NAMESPACE_LABEL] = name
    _fill(_part(obj, "status"), phase="Active")


def _secret(obj: Object) -> None:
    """Default the type; turn the write-only stringData into data."""
    texts = obj.get("stringData")
    if isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values()):
        data = _part(obj, "data")
        for name, text in texts.items():
            data[name] = base64.b64encode(text.encode()).decode()
        del obj["stringData"]
    _fill(obj, type="Opaque")


def _service(obj: Object) -> None:
    spec = _part(obj, "spec")
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster", ipFamilyPolicy="SingleStack")
        _fill(spec, ipFamilies=["IPv4"])
    for port in _items(spec, "ports"):
        _fill(port, protocol="TCP")
        if not port.get("targetPort") and "port" in port:
            port["targetPort"] = port["port"]
    _fill(_part(obj, "status"), loadBalancer={})


def _endpoint_slice(obj: Object) -> None:
    for port in _items(obj, "ports"):
        _fill(port, name="", protocol="TCP")


def _deployment(obj: Object) -> None:
    spec = _part(obj, "spec")
    strategy = _part(spec, "strategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_part(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    _template(spec)


def _replica_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    _fill(spec, replicas=1)
    _template(spec)


def _stateful_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    _fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = _part(spec, "updateStrategy")
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(_part(strategy, "rollingUpdate"), partition=0)
    retention = _part(spec, "persistentVolumeClaimRetentionPolicy")
    _fill(retention, whenDeleted="Retain", whenScaled="Retain")
    _template(spec)


def _template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _pod_spec(template["spec"])


def _pod(obj: Object) -> None:
    spec = obj.get("spec")
    if isinstance(spec, dict):
        _pod_spec(spec)
        _fill(spec, enableServiceLinks=True)
        _fill(_part(obj, "status"), phase="Pending", qosClass=_quality(spec))


def _pod_spec(spec: Object) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in _items(spec, "volumes"):
        _volume(volume)
    for container in (*_items(spec, "initContainers"), *_items(spec, "containers")):
        _container(container)


def _container(container: Object) -> None:
    _fill(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    if image := container.get("image"):
        _fill(container, imagePullPolicy="Always" if _is_latest(str(image)) else "IfNotPresent")
    for port in _items(container, "ports"):
        _fill(port, protocol="TCP")
    for variable in _items(container, "env"):
        if isinstance(variable.get("valueFrom"), dict):
            _field_reference(variable["valueFrom"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    if isinstance(container.get("lifecycle"), dict):
        for name in ("postStart", "preStop"):
            _http_get(container["lifecycle"].get(name))


def _is_latest(image: str) -> bool:
    """Tell whether an image reference has no tag, or the tag `latest`, and no digest."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@" not in image and tag in {"", "latest"}


def _probe(probe: Object) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _http_get(probe)


def _http_get(handler: Any) -> None:
    if isinstance(handler, dict) and isinstance(handler.get("httpGet"), dict):
        _fill(handler["httpGet"], path="/", scheme="HTTP")


FILE_MODE: Final = 0o644
"""Mode of files in volumes of data (core/v1 `defaultMode`)."""

TOKEN_LIFETIME: Final = 3600
"""Seconds a projected service account token is valid (core/v1 `expirationSeconds`)."""


def _volume(volume: Object) -> None:
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(name), dict):
            _fill(volume[name], defaultMode=FILE_MODE)
    for source in (*_projections(volume), volume):
        if isinstance(source.get("serviceAccountToken"), dict):
            _fill(source["serviceAccountToken"], expirationSeconds=TOKEN_LIFETIME)
        if isinstance(source.get("downwardAPI"), dict):
            for item in _items(source["downwardAPI"], "items"):
                _field_reference(item)


def _projections(volume: Object) -> Iterable[Object]:
    projected = volume.get("projected")
    return _items(projected, "sources") if isinstance(projected, dict) else []


def _field_reference(source: Object) -> None:
    if isinstance(source.get("fieldRef"), dict):
        _fill(source["fieldRef"], apiVersion="v1")


def _quality(spec: Object) -> str:
    """Return the quality of service class that `kubectl describe pod` shows."""
    resources = [
        dict(_part(container, "resources"))
        for container in (*_items(spec, "initContainers"), *_items(spec, "containers"))
    ]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    for each in resources:
        limits, requests = _part(each, "limits"), _part(each, "requests")
        if not {"cpu", "memory"} <= limits.keys():
            return "Burstable"
        if any(requests.get(name, limit) != limit for name, limit in limits.items()):
            return "Burstable"
    return "Guaranteed"


_DEFAULTS: Final[dict[str, Callable[[Object], None]]] = {
    "Namespace": _namespace,
    "Secret": _secret,
    "Service": _service,
    "EndpointSlice": _endpoint_slice,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "Pod": _pod,
}
