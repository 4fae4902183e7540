"""Who is at either end of a connection?  A workload by its owner's name, or a bare address.

Pods come and go; what an operator has to repair is the Deployment they come from.  So both ends
are named by the owner of their pod, as Istio's tools do.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mutua.api.object import Object
from mutua.model.workload import TLS_MODE_ISTIO, TLS_MODE_LABEL

ADDRESS: Final = "Address"
"""Kind of a party that is no pod of this cluster."""

TEMPLATE_HASH: Final = "pod-template-hash"
"""Label that a Deployment gives to its pods; their ReplicaSet's name ends with it."""

ENDED: Final = frozenset({"Succeeded", "Failed"})

_SHORT: Final[Mapping[str, str]] = {
    "Deployment": "deploy",
    "StatefulSet": "sts",
    "ReplicaSet": "rs",
}

MOST_GONE: Final = 4096
"""Addresses remembered after their pod is gone.  A short job is reported when it has ended."""


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """One end of a connection.

    Attributes:
        kind: Kind of the object that owns the pod, "Pod" for a pod of its own, or `ADDRESS`.
        namespace: Its namespace, "" of an address.
        name: Its name, or the address.
    """

    kind: str
    namespace: str
    name: str

    @property
    def short(self) -> str:
        """`deploy/web.shop`, as istioctl takes it; an address as it is."""
        if self.kind == ADDRESS:
            return self.name
        return f"{_SHORT.get(self.kind, self.kind.lower())}/{self.name}.{self.namespace}"

    @property
    def reference(self) -> str:
        """`deployment/web -n shop`, as kubectl takes it."""
        return f"{self.kind.lower()}/{self.name} -n {self.namespace}"


def owner_of(pod: Object) -> Party:
    """Return whom a pod belongs to."""
    metadata = pod["metadata"]
    namespace = metadata["namespace"]
    for owner in metadata.get("ownerReferences") or ():
        if not owner.get("controller"):
            continue
        template = (metadata.get("labels") or {}).get(TEMPLATE_HASH)
        if owner["kind"] == "ReplicaSet" and template:
            return Party("Deployment", namespace, owner["name"].removesuffix(f"-{template}"))
        return Party(owner["kind"], namespace, owner["name"])
    return Party("Pod", namespace, metadata["name"])


def has_ended(pod: Object) -> bool:
    """Tell whether a pod's programs have ended for good."""
    return (pod.get("status") or {}).get("phase") in ENDED


def has_sidecar(pod: Object) -> bool:
    """Tell whether a pod's proxy speaks the mesh's mutual TLS."""
    return (pod["metadata"].get("labels") or {}).get(TLS_MODE_LABEL) == TLS_MODE_ISTIO


class AddressBook:
    """Tells which pod has, or had last, an address.

    Addresses are given out in a circle, so one that has just been left is still its last pod's.
    """

    def __init__(self, most_gone: int = MOST_GONE) -> None:
        self._most_gone = most_gone
        self._pods: dict[str, Object] = {}
        self._gone: OrderedDict[str, str] = OrderedDict()

    def put(self, pod: Object) -> None:
        """Note a pod's present state."""
        address = _own_address(pod)
        if address:
            self._pods[address] = pod
            self._gone.pop(address, None)

    def leave(self, pod: Object) -> None:
        """Note that a pod is gone."""
        address = _own_address(pod)
        if not address or self._pods.get(address, pod)["metadata"]["uid"] != pod["metadata"]["uid"]:
            return  # another pod has the address by now
        self._pods[address] = pod
        self._gone[address] = pod["metadata"]["uid"]
        while len(self._gone) > self._most_gone:
            oldest, _ = self._gone.popitem(last=False)
            del self._pods[oldest]

    def find(self, address: str) -> Object | None:
        """Return the pod of an address, None when no pod had it."""
        return self._pods.get(address)


def _own_address(pod: Object) -> str:
    """Return a pod's address, "" for one at its node's: others call from there, too."""
    status = pod.get("status") or {}
    address: str = status.get("podIP") or ""
    return "" if address == status.get("hostIP") else address
