"""Which pod is the control plane, and how is it started?

    Deployment istiod ─► ReplicaSet ─► pod ─► its container is hosted: the daemon runs it

The container is no process of its own, because everything else of one machine's mesh is in the
daemon already; but it is a container to everybody: it starts, is probed, ends, is restarted with
back-off and replaced like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.object import DEPLOYMENTS, REPLICA_SETS, Object
from mutua.cluster.controllers.ownership import controller_of
from mutua.cluster.controllers.view import View
from mutua.cluster.node.images import repository
from mutua.runtime.spec import ContainerSpec

NAMESPACE: Final = "istio-system"
NAME: Final = "istiod"
"""Of the Deployment (Istio's names, which people and tools know)."""

IMAGE: Final = "mutua/istiod"
"""Of its container: a name for the part of the daemon that is the control plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedSpec(ContainerSpec):
    """A container that the daemon runs inside itself; only the node makes one."""


def is_control_plane(view: View, pod: Object) -> bool:
    """Tell whether a pod is one of Deployment istiod's, and as mutua can run it.

    Labels and names prove nothing, owners do: they are objects with uids.
    """
    if pod["metadata"]["namespace"] != NAMESPACE or not _is_plain(pod["spec"]):
        return False
    owner, owning_set = controller_of(pod), None
    if owner is not None and owner["kind"] == "ReplicaSet":
        owning_set = view[REPLICA_SETS].get(NAMESPACE, owner["name"])
    if owner is None or owning_set is None or owning_set["metadata"]["uid"] != owner["uid"]:
        return False
    deployment = view[DEPLOYMENTS].get(NAMESPACE, NAME)
    above = controller_of(owning_set)
    return (
        deployment is not None
        and above is not None
        and above["uid"] == deployment["metadata"]["uid"]
    )


def _is_plain(spec: Object) -> bool:
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return len(containers) == 1 and asks_for_control_plane(containers[0])


def asks_for_control_plane(container: Mapping[str, Any]) -> bool:
    """Tell whether a container is to run what only the daemon can run."""
    return repository(str(container.get("image") or "")) == IMAGE and not container.get("command")
