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
from collections.abc import Collection, Iterator
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from mutua.api.object import SERVICE_ENTRIES, Object
from mutua.api.service_entry import ALLOCATED_RANGE, hosts_without_address
from mutua.cluster.controllers.ownership import is_terminating
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.foundation.errors import Unavailable
from mutua.store.mirror import Address, Change, address

AUTHOR: Final = ""
"""Stands for the host when an address is the author's own."""


class EntryAddressController:
    """Keeps every host of every ServiceEntry with an address of its own."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._loop = Reconciler("entryaddress", self._reconcile)
        self._claims = Claims()
        view[SERVICE_ENTRIES].subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _changed(self, change: Change) -> None:
        key = address(change.object)
        for ip, host in _named(change.before):
            self._claims.remove(ip, host, key)
        self._loop.add(key)
        for ip, host in _named(change.after):
            self._claims.add(ip, host, key)
            for rival in self._claims.rivals(ip, host):
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
        """Return the address that the oldest entry with a host has for it; "" if none can stay."""
        ips = [ip for ip in self._claims.addresses(host) if not self._is_lost(ip, host)]
        if len(ips) == 1:
            return ips[0]
        return min(ips, key=lambda ip: self._rank(ip, host), default="")

    def _is_lost(self, ip: str, host: str) -> bool:
        """Tell whether somebody else has more right to an address."""
        others = [other for other in self._claims.hosts(ip) if other != host]
        return AUTHOR in others or any(
            self._rank(ip, other) < self._rank(ip, host) for other in others
        )

    def _free(self, host: str, taken: Collection[str]) -> str:
        """Return an address that nobody names; a host tends to get the same one again."""
        start = int.from_bytes(hashlib.sha256(host.encode()).digest()[:4])
        size = ALLOCATED_RANGE.num_addresses
        for step in range(size):
            ip = str(ALLOCATED_RANGE[(start + step) % size])
            if _is_ours(ip) and self._claims.is_free(ip) and ip not in taken:
                return ip
        raise Unavailable(
            f"no address of {ALLOCATED_RANGE} is free for {host}",
            hint="delete ServiceEntries that are no longer needed",
        )

    def _rank(self, ip: str, host: str) -> tuple[str, Address, str]:
        """Return the age of the oldest entry that names an address for a host; no two are equal."""
        return min((self._created(key), key, host) for key in self._claims.of(ip, host))

    def _created(self, key: Address) -> str:
        entry = self._view[SERVICE_ENTRIES].get(*key) or {}
        return (entry.get("metadata") or {}).get("creationTimestamp") or ""


class Claims:
    """Which entry names which address, and for which of its hosts."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[str, set[Address]]] = {}
        self._by_host: dict[str, set[str]] = {}

    def add(self, ip: str, host: str, key: Address) -> None:
        """Note that an entry names an address for a host."""
        self._by_address.setdefault(ip, {}).setdefault(host, set()).add(key)
        self._by_host.setdefault(host, set()).add(ip)

    def remove(self, ip: str, host: str, key: Address) -> None:
        """Forget that it does."""
        hosts = self._by_address[ip]
        hosts[host].discard(key)
        if not hosts[host]:
            del hosts[host]
            _discard(self._by_host, host, ip)
        if not hosts:
            del self._by_address[ip]

    def is_free(self, ip: str) -> bool:
        """Tell whether nobody names an address."""
        return ip not in self._by_address

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses that are named for a host."""
        return tuple(self._by_host.get(host, ()))

    def hosts(self, ip: str) -> Collection[str]:
        """Return the hosts that an address is named for."""
        return self._by_address.get(ip, {}).keys()

    def of(self, ip: str, host: str) -> Collection[Address]:
        """Return the entries that name an address for a host."""
        return self._by_address.get(ip, {}).get(host, ())

    def rivals(self, ip: str, host: str) -> Iterator[Address]:
        """Yield the entries that name the address for another host, or the host with another."""
        for other in self.hosts(ip):
            if other != host:
                yield from self.of(ip, other)
        if host != AUTHOR:
            for other in self.addresses(host):
                if other != ip:
                    yield from self.of(other, host)


def _discard(index: dict[str, set[str]], name: str, value: str) -> None:
    index[name].discard(value)
    if not index[name]:
        del index[name]


def _named(entry: Object | None) -> set[tuple[str, str]]:
    """Return the addresses of the range that an entry names, each with the host it is for."""
    entry = entry or {}
    given = (entry.get("status") or {}).get("addresses") or ()
    named = {(one.get("value") or "", one.get("host") or "") for one in given if one.get("host")}
    written = (entry.get("spec") or {}).get("addresses") or ()
    named |= {(text.removesuffix("/32"), AUTHOR) for text in written}
    return {(ip, host) for ip, host in named if _is_ours(ip)}


def _is_ours(text: str) -> bool:
    """Tell whether a text is an address that may be given: not the network's own two."""
    try:
        ip = IPv4Address(text)
    except AddressValueError:
        return False
    ends = (ALLOCATED_RANGE.network_address, ALLOCATED_RANGE.broadcast_address)
    return ip in ALLOCATED_RANGE and ip not in ends
