"""Which templates has a StatefulSet had?  ControllerRevisions: snapshots with a number.

Pure.  A pod that an update has not reached yet is made anew from the template it had, so old
templates must outlive the change of the spec, and the daemon.  Equality of the templates decides
which revision is meant; the hash in its name only names.  A template that comes back gets the
next number and keeps its name, and so do its pods.

`kubectl rollout history` and `undo` read these objects: the data is a patch of the owner.
Source: Kubernetes `pkg/controller/history`; kubectl `history.go`, `rollback.go`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.controllers.ownership import owner_reference
from mutua.cluster.controllers.template_hash import template_hash

HASH: Final = "controller.kubernetes.io/hash"
APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
HISTORY: Final = 10
"""Revisions kept that no pod has (revisionHistoryLimit)."""


def name_of(revision: Object) -> str:
    """Return a revision's name, which its pods carry as a label."""
    return str(revision["metadata"]["name"])


def number_of(revision: Object) -> int:
    """Return a revision's number; the newest has the highest."""
    return int(revision.get("revision") or 0)


def template_of(revision: Object) -> dict[str, Any]:
    """Return the pod template that a revision holds."""
    template = revision["data"]["spec"]["template"]
    return {name: value for name, value in template.items() if name != "$patch"}


def find_revision(revisions: Sequence[Object], template: dict[str, Any]) -> Object | None:
    """Return the revision that holds a template, or None."""
    return next((one for one in revisions if one.get("data") == _data(template)), None)


def new_revision(owner: Object, number: int, *, collisions: int) -> Object:
    """Return the revision of an owner's template, to be created."""
    metadata, template = owner["metadata"], owner["spec"]["template"]
    digest = template_hash(template, collisions=collisions)
    annotations = metadata.get("annotations") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{digest}",
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), HASH: digest},
            "annotations": {key: text for key, text in annotations.items() if key != APPLIED},
            "ownerReferences": [owner_reference(owner)],
        },
        "data": _data(template),
        "revision": number,
    }


def forgettable(
    revisions: Iterable[Object], used: Collection[str], limit: int | None
) -> list[Object]:
    """Return the oldest revisions beyond the limit, of those that nobody uses.

    Args:
        revisions: Oldest first.
        used: Names of revisions that pods or the status refer to.
        limit: revisionHistoryLimit.
    """
    idle = [one for one in revisions if name_of(one) not in used]
    return idle[: max(0, len(idle) - (HISTORY if limit is None else limit))]


def _data(template: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {**template, "$patch": "replace"}}}
