"""Who is the third pod of a StatefulSet?  Identities, and pods as members of the set.

Pure.  The ordinal is the identity: the name, the host name and two labels follow from it, so a
pod that is made anew is found where the old one was.  Source: Kubernetes documentation
"StatefulSets", Pod Identity.
"""

from datetime import datetime
from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.controllers.ownership import is_terminating, owner_reference
from mutua.cluster.controllers.pod_facts import is_finished, seconds_to_available
from mutua.cluster.controllers.stateful_plan import Health, Member, Wish

POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX: Final = "apps.kubernetes.io/pod-index"
REVISION: Final = "controller-revision-hash"
"""Label that says which template a pod was made from."""


def read_wish(stateful_set: Object, revision: str) -> Wish:
    """Read a spec, defaults filled in, as what its pods should be.

    Args:
        stateful_set: As stored.
        revision: The name of its newest template.
    """
    spec = stateful_set["spec"]
    start = int((spec.get("ordinals") or {}).get("start") or 0)
    replicas = spec.get("replicas")
    strategy = spec.get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    return Wish(
        ordinals=range(start, start + (1 if replicas is None else int(replicas))),
        revision=revision,
        partition=None if strategy.get("type") == "OnDelete" else partition,
        parallel=spec.get("podManagementPolicy") == "Parallel",
    )


def pod_name(stateful_set: Object, ordinal: int) -> str:
    """Return the name of the pod with this ordinal."""
    return f"{stateful_set['metadata']['name']}-{ordinal}"


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """Return a pod's ordinal, None when its name is not one this set would give."""
    stem, _, digits = pod["metadata"]["name"].rpartition("-")
    is_ours = stem == stateful_set["metadata"]["name"] and digits.isascii() and digits.isdecimal()
    return int(digits) if is_ours and str(int(digits)) == digits else None


def revision_of(pod: Object) -> str:
    """Return the name of the template that a pod was made from."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION, ""))


def identity_labels(stateful_set: Object, ordinal: int) -> dict[str, str]:
    """Return the labels by which a single pod can be selected."""
    return {POD_NAME: pod_name(stateful_set, ordinal), POD_INDEX: str(ordinal)}


def new_pod(
    stateful_set: Object, ordinal: int, template: dict[str, Any], *, revision: str
) -> Object:
    """Return a pod to create.

    Args:
        stateful_set: Its owner.
        ordinal: Its number.
        template: What it is made from.
        revision: The name of that template.
    """
    metadata, name = stateful_set["metadata"], pod_name(stateful_set, ordinal)
    wanted: dict[str, Any] = template.get("metadata") or {}
    labels = {**(wanted.get("labels") or {}), REVISION: revision}
    annotations = wanted.get("annotations")
    service = stateful_set["spec"].get("serviceName")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": name,
            "generateName": f"{metadata['name']}-",
            "labels": labels | identity_labels(stateful_set, ordinal),
            **({"annotations": dict(annotations)} if annotations else {}),
            "ownerReferences": [owner_reference(stateful_set)],
        },
        "spec": {
            **template["spec"],
            "hostname": name,
            **({"subdomain": service} if service else {}),
        },
    }


def member_of(stateful_set: Object, ordinal: int, pod: Object, now: datetime) -> Member:
    """Return a pod of this set as the plan sees it."""
    return Member(ordinal, revision_of(pod), _health(stateful_set, pod, now))


def _health(stateful_set: Object, pod: Object, now: datetime) -> Health:
    if is_terminating(pod):
        return Health.ENDING
    if is_finished(pod):
        return Health.FINISHED
    wait = seconds_left(stateful_set, pod, now)
    if wait is None:
        return Health.STARTING
    return Health.READY if wait else Health.AVAILABLE


def seconds_left(stateful_set: Object, pod: Object, now: datetime) -> float | None:
    """Return how long a pod must stay ready to be available; None when it is not ready."""
    minimum = int(stateful_set["spec"].get("minReadySeconds") or 0)
    return seconds_to_available(pod, minimum, now)
