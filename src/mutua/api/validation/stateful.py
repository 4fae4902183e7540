"""StatefulSets and their revisions: what may not be asked for, and what may not change."""

from collections.abc import Iterator
from typing import Final

from mutua.api.object import Object
from mutua.api.validation.names import dns_label, name_errors
from mutua.api.validation.workloads import check_template_owner
from mutua.api.verdict import FieldError, Verdict, forbidden, invalid

_MUTABLE: Final = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
"""Fields of the spec that may change (Kubernetes `ValidateStatefulSetUpdate`)."""

_FIXED: Final = (
    "updates to statefulset spec for fields other than "
    + ", ".join(f"'{name}'" for name in _MUTABLE[:-1])
    + f" and '{_MUTABLE[-1]}' are forbidden"
)


def check_stateful_set(obj: Object, old: Object | None) -> Verdict:
    """Judge a StatefulSet."""
    spec = obj["spec"]
    verdict = check_template_owner("statefulset", spec, None)
    verdict.errors.extend(_own_errors(spec))
    if old is not None:
        verdict.errors.extend(_change_errors(spec, old.get("spec") or {}))
    return verdict


def _own_errors(spec: Object) -> Iterator[FieldError]:
    if name := spec.get("serviceName"):
        yield from name_errors("spec.serviceName", name, dns_label)
    if spec.get("volumeClaimTemplates"):
        detail = "not supported by mutua: there are no persistent volumes; use an emptyDir volume"
        yield forbidden("spec.volumeClaimTemplates", detail)
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if rolling is None:
        return
    if spec["updateStrategy"].get("type") == "OnDelete":
        yield forbidden(path, "only allowed for updateStrategy 'RollingUpdate'")
    elif rolling.get("maxUnavailable") not in {None, 1}:
        detail = "not supported by mutua: pods are updated one at a time"
        yield forbidden(f"{path}.maxUnavailable", detail)


def _change_errors(spec: Object, old: Object) -> Iterator[FieldError]:
    for name in sorted(spec.keys() | old.keys()):
        if name not in _MUTABLE and (spec.get(name) or None) != (old.get(name) or None):
            yield forbidden(f"spec.{name}", _FIXED)


def check_controller_revision(obj: Object, old: Object | None) -> Verdict:
    """Judge a ControllerRevision: a snapshot, so its data never changes."""
    if old is not None and obj.get("data") != old.get("data"):
        return Verdict(errors=[invalid("data", obj.get("data"), "field is immutable")])
    return Verdict()
