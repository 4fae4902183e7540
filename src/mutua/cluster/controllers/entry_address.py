"""Which address does each host of a ServiceEntry get?  A controller: it writes status.addresses.

The client's proxy tells TCP services apart by address, so a host that has none is given one that
leads nowhere but to its proxy.  What is written down is the only memory: a restarted controller
finds every address in a status again, and a deleted entry takes its own with it.

An address named twice (an author may write one into spec.addresses that is already given) stays
with the spec, else with the oldest entry; the others get new ones.  Source: Istio 1.25,
pilot/pkg/controllers/ipallocate.

Deviates from Istio: no IPv6 address, which pods do not have; entries that stop wanting addresses
lose them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Set
from ipaddress import AddressValueError, IPv4Address

from mutua.api.object import SERVICE_ENTRIES, Object
from mutua.api.service_entry import ALLOCATED_RANGE, hosts_without_address
from mutua.cluster.controllers.ownership import is_terminating
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.foundation.errors import Unavailable
from mutua.store.mirror import Address, Change, address


class EntryAddressController:
    """Keeps every host of every ServiceEntry with an address of its own."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._loop = Reconciler("entryaddress", self._reconcile)
        self._named: dict[str, set[Address]] = defaultdict(set)
        view[SERVICE_ENTRIES].subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _changed(self, change: Change) -> None:
        key = address(change.object)
        for ip in _named(change.before):
            self._named[ip].discard(key)
        self._loop.add(key)
        for ip in _named(change.after):
            self._named[ip].add(key)
            for rival in self._named[ip]:
                self._loop.add(rival)

    async def _reconcile(self, key: Address) -> None:
        entry = self._view[SERVICE_ENTRIES].get(*key)
        if entry is None or is_terminating(entry):
            return
        status = entry.get("status") or {}
        given = self._allocate(entry)
        if given != (status.get("addresses") or []):
            changed = {**entry, "status": {**status, "addresses": given}}
            await self._view.update_status(SERVICE_ENTRIES, changed)

    def _allocate(self, entry: Object) -> list[dict[str, str]]:
        """Return what status.addresses should be: kept where possible, new where not."""
        before = {str(one.get("host")): str(one.get("value")) for one in _given(entry)}
        taken: set[str] = set()
        found = []
        for host in hosts_without_address(entry):
            ip = before.get(host, "")
            if not _is_ours(ip) or ip in taken or self._yields(entry, ip):
                ip = self._free(entry, host, taken)
            taken.add(ip)
            found.append({"host": host, "value": ip})
        return found

    def _yields(self, entry: Object, ip: str) -> bool:
        """Tell whether another entry has more right to an address."""
        rivals = (self._view[SERVICE_ENTRIES].get(*key) for key in self._named[ip])
        return any(
            ip in _specified(rival) or _age(rival) < _age(entry)
            for rival in rivals
            if rival is not None and rival is not entry
        )

    def _free(self, entry: Object, host: str, taken: Set[str]) -> str:
        """Return an address nobody has; the same host tends to get the same one again."""
        digest = hashlib.sha256("/".join((*address(entry), host)).encode()).digest()
        start, size = int.from_bytes(digest[:4]), ALLOCATED_RANGE.num_addresses
        for step in range(size):
            ip = ALLOCATED_RANGE[(start + step) % size]
            if _is_ours(str(ip)) and not self._named.get(str(ip)) and str(ip) not in taken:
                return str(ip)
        raise Unavailable(
            f"no address of {ALLOCATED_RANGE} is free for {host}",
            hint="delete ServiceEntries that are no longer needed",
        )


def _is_ours(text: str) -> bool:
    """Tell whether a text is an address that may be given: not the network's own two."""
    try:
        ip = IPv4Address(text)
    except AddressValueError:
        return False
    ends = (ALLOCATED_RANGE.network_address, ALLOCATED_RANGE.broadcast_address)
    return ip in ALLOCATED_RANGE and ip not in ends


def _given(entry: Object) -> list[Object]:
    return (entry.get("status") or {}).get("addresses") or []


def _specified(entry: Object) -> list[str]:
    return [text.removesuffix("/32") for text in (entry.get("spec") or {}).get("addresses") or ()]


def _named(entry: Object | None) -> Iterator[str]:
    """Yield the addresses of the range that an entry names, wherever it does."""
    if entry is not None:
        values = (str(one.get("value")) for one in _given(entry))
        yield from filter(_is_ours, {*_specified(entry), *values})


def _age(entry: Object) -> tuple[str, Address]:
    return entry["metadata"].get("creationTimestamp") or "", address(entry)
