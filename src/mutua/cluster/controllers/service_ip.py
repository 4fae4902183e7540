"""Which address does a Service get?  An admission hook: the client sees it in the answer.

The same name gets the same address again when it is free, so that what clients cached survives a
`kubectl delete` and `apply`.  Source: Kubernetes "Service ClusterIP allocation".
"""

import hashlib
from collections import deque
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Final, NoReturn

from mutua.api.object import SERVICES, Object, Resource
from mutua.api.verdict import Invalid, invalid
from mutua.foundation.errors import Unavailable
from mutua.store.port import ObjectStore

SERVICE_RANGE: Final = IPv4Network("10.96.0.0/16")
"""Cluster IPs (kubeadm's default range, reduced to a /16)."""

RESERVED: Final = frozenset({"10.96.0.0", "10.96.0.1", "10.96.0.10", "10.96.255.255"})
"""The network, the API server's place in Kubernetes, cluster DNS, the broadcast address."""

RECENT: Final = 256
"""Addresses not given out twice before the store knows their owner (two creates at once)."""


class ServiceAddresses:
    """Allocates cluster IPs.  Its `admit` is an admission hook of the registry."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._recent: deque[tuple[str, tuple[str, str]]] = deque(maxlen=RECENT)

    async def admit(self, resource: Resource, obj: Object, old: Object | None) -> Object:
        """Return the Service with its addresses; other kinds as they are.

        Raises:
            Invalid: The address asked for is taken, outside the range, or would change.
            Unavailable: No address is free.
        """
        if resource != SERVICES:
            return obj
        spec = obj.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return obj
        wanted = spec.get("clusterIP") or ""
        kept = ((old or {}).get("spec") or {}).get("clusterIP") or ""
        if kept:
            if wanted not in {"", kept}:
                _refuse("spec.clusterIPs[0]", [wanted], "may not change once set")
            address = kept
        elif wanted == "None":
            address = wanted
        else:
            address = await self._allocate(obj, wanted)
        return {**obj, "spec": {**spec, "clusterIP": address, "clusterIPs": [address]}}

    async def _allocate(self, obj: Object, wanted: str) -> str:
        owner = (obj["metadata"].get("namespace", ""), obj["metadata"].get("name", ""))
        services = (await self._store.list(SERVICES)).items
        used = {(s.get("spec") or {}).get("clusterIP") for s in services}
        used |= {address for address, recent in self._recent if recent != owner}
        address = _checked(wanted, used) if wanted else _free(owner, used)
        self._recent.append((address, owner))
        return address


def _checked(wanted: str, used: set[str | None]) -> str:
    path = "spec.clusterIPs"
    try:
        address = IPv4Address(wanted)
    except AddressValueError:
        _refuse(path, [wanted], "must be an IPv4 address")
    if address not in SERVICE_RANGE or wanted in RESERVED:
        _refuse(path, [wanted], f"the provided IP is not in the valid range {SERVICE_RANGE}")
    if wanted in used:
        _refuse(path, [wanted], f"failed to allocate IP {wanted}: provided IP is already allocated")
    return wanted


def _refuse(path: str, value: object, detail: str) -> NoReturn:
    raise Invalid([invalid(path, value, detail)])


def _free(owner: tuple[str, str], used: set[str | None]) -> str:
    digest = hashlib.sha256("/".join(owner).encode()).digest()
    start = int.from_bytes(digest[:4])
    size = SERVICE_RANGE.num_addresses
    for step in range(size):
        address = str(SERVICE_RANGE[(start + step) % size])
        if address not in used and address not in RESERVED:
            return address
    raise Unavailable("no cluster IP is free", hint="delete Services that are no longer needed")
