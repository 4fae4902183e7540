"""Which nftables rules make a Service's address lead to one of its backends.

    refuse    prerouting   new connections to a Service without backends
    serve     prerouting   (address, protocol, port) -> chain of that Service -> random backend
    hairpin   postrouting  a pod that reached itself through a Service sees the node as its peer:
                           its own address would not come back through the node

The node itself is nobody's client: it talks to pods by their own addresses.
NAT is decided once per connection, so replacing any of this leaves established connections alone.
Pure: `foundation` makes the empty table, `change` the difference between two states of it.
"""

import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Final

from mutua.runtime.network import nft
from mutua.runtime.network.nft import Message
from mutua.runtime.network.rules import Backend, ServiceAddress

Services = Mapping[ServiceAddress, tuple[Backend, ...]]

TABLE: Final = "mutua_services"
"""Name of the table in the node's network namespace."""

SERVED, REFUSED, HAIRPIN = "served", "refused", "hairpin"
"""Names of the map of Services, the set of those without backends, the set of (pod, pod)."""

IDENTS: Final = {SERVED: 1, REFUSED: 2, HAIRPIN: 3}
"""Numbers that tell sets apart within one transaction."""

REFUSE, DESTINATION_NAT, SOURCE_NAT = -110, -100, 100
"""Priorities of the base chains (NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC)."""

PAIR_KEY: Final = 8
"""Length of a pair of addresses in bytes: two registers."""
SERVICE_KEY: Final = 12
"""Length of a Service address in bytes: three registers."""

PROTOCOLS: Final = {"tcp": nft.TCP, "udp": nft.UDP}


def foundation(node_address: str) -> list[Message]:
    """Return the messages that replace whatever is in the table by no Services at all."""
    verdicts = (nft.VERDICT_DATA, 0)
    return [
        nft.new_table(TABLE),
        nft.delete_table(TABLE),
        nft.new_table(TABLE),
        nft.new_set(TABLE, SERVED, ident=IDENTS[SERVED], key=SERVICE_KEY, data=verdicts),
        nft.new_set(TABLE, REFUSED, ident=IDENTS[REFUSED], key=SERVICE_KEY, data=None),
        nft.new_set(TABLE, HAIRPIN, ident=IDENTS[HAIRPIN], key=PAIR_KEY, data=None),
        *_base_chains(node_address),
    ]


def change(before: Services, after: Services) -> Iterator[list[Message]]:
    """Yield the messages that turn `before` into `after`, in groups.

    All groups in one transaction are best; in several, each Service still changes at once.
    """
    changed = [a for a in before.keys() | after.keys() if before.get(a) != after.get(a)]
    old = {address: before[address] for address in changed if address in before}
    new = {address: after[address] for address in changed if address in after}
    for address, backends in new.items():
        if backends:
            yield list(_service(address, backends))
    yield from _elements(SERVED, _jumps(old), _jumps(new))
    yield from _elements(REFUSED, _refusals(old), _refusals(new))
    pods_before, pods_after = _pods(before), _pods(after)
    gone, come = pods_before - pods_after, pods_after - pods_before
    yield from _elements(HAIRPIN, _pairs(gone), _pairs(come))
    for address, backends in old.items():
        if backends and not new.get(address):
            yield [nft.delete_chain(TABLE, _chain_name(address))]


def loses_udp_backends(before: Services, after: Services) -> bool:
    """Tell whether some UDP Service of `after` has fewer backends than it had."""
    return any(
        address.protocol == "udp" and not set(before.get(address, ())) <= set(backends)
        for address, backends in after.items()
    )


def _jumps(services: Services) -> dict[bytes, bytes]:
    keys = ((_key(address), _chain_name(address)) for address, pods in services.items() if pods)
    return {key: nft.jump_mapping(key, chain) for key, chain in keys}


def _refusals(services: Services) -> dict[bytes, bytes]:
    keys = (_key(address) for address, pods in services.items() if not pods)
    return {key: nft.member(key) for key in keys}


def _pods(services: Services) -> set[str]:
    return {backend.ip for backends in services.values() for backend in backends}


def _pairs(pods: set[str]) -> dict[bytes, bytes]:
    keys = (IPv4Address(pod).packed * 2 for pod in pods)
    return {key: nft.member(key) for key in keys}


SLICE: Final = 256
"""Members per message: an attribute's length is 16 bits."""


def _elements(
    name: str, old: Mapping[bytes, bytes], new: Mapping[bytes, bytes]
) -> Iterator[list[Message]]:
    gone = [old[key] for key in old.keys() - new.keys()]
    come = [new[key] for key in new.keys() - old.keys()]
    for kind, members in ((nft.DELETE_ELEMENT, gone), (nft.NEW_ELEMENT, come)):
        for start in range(0, len(members), SLICE):
            yield [nft.elements(kind, TABLE, name, members[start : start + SLICE])]


def _service(address: ServiceAddress, backends: tuple[Backend, ...]) -> Iterator[Message]:
    """Refill the chain of one Service: each backend is taken with the same probability.

    A rule for each, and no map from a random number to a backend: a packet that meets a chain
    while it is replaced sees all old rules or all new ones, but members of a set are looked up in
    the newest state, where the old chain's map is empty.  Such a packet would lose its way.
    """
    chain = _chain_name(address)
    yield nft.new_chain(TABLE, chain)
    yield nft.flush_chain(TABLE, chain)
    for left, backend in zip(range(len(backends), 0, -1), backends, strict=True):
        choice = (nft.one_in(left),) if left > 1 else ()
        yield nft.new_rule(TABLE, chain, *choice, nft.destination_nat(backend.ip, backend.port))


def _base_chains(node_address: str) -> Iterator[Message]:
    hook = nft.PREROUTING
    yield nft.new_base_chain(TABLE, "refuse", kind="filter", hook=hook, priority=REFUSE)
    refused = _load_key() + nft.lookup(REFUSED, ident=IDENTS[REFUSED])
    yield nft.new_rule(
        TABLE, "refuse", nft.is_protocol(nft.TCP), nft.only_new(), refused, nft.reject_with_reset()
    )
    unreachable = nft.reject_with_port_unreachable()
    yield nft.new_rule(
        TABLE, "refuse", nft.is_protocol(nft.UDP), nft.only_new(), refused, unreachable
    )
    yield nft.new_base_chain(TABLE, "serve", kind="nat", hook=hook, priority=DESTINATION_NAT)
    served = nft.lookup(SERVED, ident=IDENTS[SERVED], to=nft.VERDICT)
    for protocol in PROTOCOLS.values():
        yield nft.new_rule(TABLE, "serve", nft.is_protocol(protocol), _load_key(), served)
    hook, priority = nft.POSTROUTING, SOURCE_NAT
    yield nft.new_base_chain(TABLE, "hairpin", kind="nat", hook=hook, priority=priority)
    pair = nft.load_source() + nft.load_destination(to=nft.WORD + 1)
    same = nft.lookup(HAIRPIN, ident=IDENTS[HAIRPIN])
    yield nft.new_rule(TABLE, "hairpin", pair, same, nft.source_nat(node_address))


def _load_key() -> bytes:
    return (
        nft.load_destination()
        + nft.load_meta(nft.PROTOCOL, to=nft.WORD + 1)
        + nft.load_destination_port(to=nft.WORD + 2)
    )


def _key(address: ServiceAddress) -> bytes:
    protocol = PROTOCOLS[address.protocol]
    return IPv4Address(address.ip).packed + struct.pack(">B3xH2x", protocol, address.port)


def _chain_name(address: ServiceAddress) -> str:
    return f"{address.protocol}-{address.ip}-{address.port}"
