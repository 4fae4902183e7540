"""Which address does each host of a ServiceEntry get?  A controller: it writes status.addresses.

A client's proxy tells TCP services apart by address, so a host that has none is given one that
leads nowhere but to the proxy.  What is written down is the only memory: a restarted controller
finds every address in a status again, and the last entry with a host takes its address along.

An address that is named twice (an author may write one into spec.addresses that is already given)
stays with the spec, else with the host of the oldest entry; the others get new ones.
Source: Istio 1.25, pilot/pkg/controllers/ipallocate.

Deviates from Istio: entries for one host share its address, so that a name needs only one answer
whichever of them a client sees; no IPv6 address, which pods do not have; and entries that stop
wanting addresses lose them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from ipaddress import AddressValueError, IPv4Address
from typing import Final, TypeVar

from mutua.api.object import SERVICE_ENTRIES, Object
from mutua.api.service_entry import ALLOCATED_RANGE, hosts_without_address
from mutua.cluster.controllers.ownership import is_terminating
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.foundation.errors import Unavailable
from mutua.store.mirror import Address, Change, address

AUTHOR: Final = ""
"""Stands for the host when an address is the author's own."""

T = TypeVar("T")


class EntryAddressController:
    """Keeps every host of every ServiceEntry with an address of its own."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._loop = Reconciler("entryaddress", self._reconcile)
        # Who names an address, each time with the host; who has an address for a host.
        self._by_address: dict[str, set[tuple[Address, str]]] = defaultdict(set)
        self._by_host: dict[str, dict[Address, str]] = defaultdict(dict)
        view[SERVICE_ENTRIES].subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _changed(self, change: Change) -> None:
        key = address(change.object)
        for ip, host in _claims(change.before):
            self._by_address[ip].discard((key, host))
            self._by_host[host].pop(key, None)
            _drop_empty(self._by_address, ip)
            _drop_empty(self._by_host, host)
        self._loop.add(key)
        for ip, host in _claims(change.after):
            self._by_address[ip].add((key, host))
            if host != AUTHOR:
                self._by_host[host][key] = ip
            for rival in (*(who for who, _ in self._by_address[ip]), *self._by_host.get(host, ())):
                self._loop.add(rival)

    async def _reconcile(self, key: Address) -> None:
        entry = self._view[SERVICE_ENTRIES].get(*key)
        if entry is None or is_terminating(entry):
            return
        status = entry.get("status") or {}
        given: dict[str, str] = {}
        for host in hosts_without_address(entry):
            given[host] = self._known(host) or self._free(host, given.values())
        addresses = [{"host": host, "value": ip} for host, ip in given.items()]
        if addresses != (status.get("addresses") or []):
            changed = {**entry, "status": {**status, "addresses": addresses}}
            await self._view.update_status(SERVICE_ENTRIES, changed)

    def _known(self, host: str) -> str:
        """Return the address that the oldest entry with a host has for it, "" if it cannot stay."""
        having = self._by_host.get(host)
        if not having:
            return ""
        oldest = min(having, key=self._age)
        ip, rank = having[oldest], (self._age(oldest), host)
        is_lost = any(
            other == AUTHOR or (other != host and (self._age(key), other) < rank)
            for key, other in self._by_address[ip]
        )
        return "" if is_lost else ip

    def _free(self, host: str, taken: Collection[str]) -> str:
        """Return an address that nobody names; a host tends to get the same one again."""
        start = int.from_bytes(hashlib.sha256(host.encode()).digest()[:4])
        size = ALLOCATED_RANGE.num_addresses
        for step in range(size):
            ip = str(ALLOCATED_RANGE[(start + step) % size])
            if _is_ours(ip) and ip not in self._by_address and ip not in taken:
                return ip
        raise Unavailable(
            f"no address of {ALLOCATED_RANGE} is free for {host}",
            hint="delete ServiceEntries that are no longer needed",
        )

    def _age(self, key: Address) -> tuple[str, Address]:
        entry = self._view[SERVICE_ENTRIES].get(*key) or {}
        return (entry.get("metadata") or {}).get("creationTimestamp") or "", key


def _claims(entry: Object | None) -> Iterator[tuple[str, str]]:
    """Yield the addresses of the range that an entry names, and the host each is for."""
    if entry is None:
        return
    for one in (entry.get("status") or {}).get("addresses") or ():
        host, ip = one.get("host") or "", one.get("value") or ""
        if host and _is_ours(ip):
            yield ip, host
    for text in (entry.get("spec") or {}).get("addresses") or ():
        if _is_ours(ip := text.removesuffix("/32")):
            yield ip, AUTHOR


def _drop_empty(index: dict[str, T], name: str) -> None:
    if not index.get(name):
        index.pop(name, None)


def _is_ours(text: str) -> bool:
    """Tell whether a text is an address that may be given: not the network's own two."""
    try:
        ip = IPv4Address(text)
    except AddressValueError:
        return False
    ends = (ALLOCATED_RANGE.network_address, ALLOCATED_RANGE.broadcast_address)
    return ip in ALLOCATED_RANGE and ip not in ends
