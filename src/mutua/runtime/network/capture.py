"""Which nftables rules send a pod's TCP connections through its sidecar.

The answer to "where does this connection go?", first match wins, as Istio's `istio-iptables`:

    inbound   15008, excluded ports             -> the application
              included ports (or all)           -> Envoy, 15006
    outbound  excluded ports                    -> as addressed
              over lo, from 127.0.0.6           -> as addressed: Envoy handing over to the app
              over lo, marked, not to 127.0.0.1 -> Envoy, 15006: Envoy calling its own pod
              over lo, unmarked                 -> as addressed: the app calling itself
              marked                            -> as addressed: Envoy's own upstream traffic
              to 127.0.0.1, excluded ranges     -> as addressed
              included ports, ranges (or all)   -> Envoy, 15001

Deviates from Istio: Envoy is recognised by SO_MARK 1337 instead of uid 1337, because a user
namespace that maps one uid has no second user to tell it apart by.  Only Envoy holds CAP_NET_ADMIN,
without which a process cannot set the mark.

Pure; source: Istio tools/istio-iptables, semantics section 8.4.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, collapse_addresses
from typing import Final

from mutua.runtime.network import nft
from mutua.runtime.network.nft import Message
from mutua.runtime.network.rules import CaptureRules

TABLE: Final = "mutua_capture"
"""Name of the table in each pod's network namespace."""

INBOUND_PORT: Final = 15006
"""Envoy's listener for captured inbound connections (Istio ports table)."""
OUTBOUND_PORT: Final = 15001
"""Envoy's listener for captured outbound connections (Istio ports table)."""
TUNNEL_PORT: Final = 15008
"""HBONE: never captured (Istio ports table)."""

ALWAYS_EXCLUDED_INBOUND: Final = (15090, 15021, 15020)
"""Ports of the sidecar itself (`istio-iptables -d`)."""

ENVOY_MARK: Final = 1337
"""SO_MARK of Envoy's upstream sockets (dimensionless; Istio's uid of the proxy)."""
HANDOVER_ADDRESS: Final = "127.0.0.6"
"""Source address of Envoy's connections to its own application (Istio InboundPassthrough)."""

DESTINATION_NAT: Final = -100
"""Priority of a chain that rewrites destinations (NF_IP_PRI_NAT_DST)."""


TRACK_ONLY: Final = (nft.only_new(),)
"""A rule without a verdict.  The kernel tracks connections in a namespace only while some rule
needs it; if it stopped, every connection that was once redirected would be reset."""


def capture_messages(rules: CaptureRules | None) -> list[Message]:
    """Return the transaction that puts `rules` into force, whatever was in force before.

    Args:
        rules: What to capture; None captures nothing.
    """
    return [
        nft.new_table(TABLE),
        *_chain("inbound", nft.PREROUTING, _inbound(rules) if rules else TRACK_ONLY),
        *_chain("outbound", nft.OUTPUT, _outbound(rules) if rules else TRACK_ONLY),
    ]


def _chain(name: str, hook: int, rules: Iterable[bytes]) -> Iterator[Message]:
    """Refill a base chain."""
    yield nft.new_base_chain(TABLE, name, kind="nat", hook=hook, priority=DESTINATION_NAT)
    yield nft.flush_chain(TABLE, name)
    for rule in rules:
        yield nft.new_rule(TABLE, name, nft.is_protocol(nft.TCP), rule)


def _inbound(rules: CaptureRules) -> Iterator[bytes]:
    for port in (TUNNEL_PORT, *ALWAYS_EXCLUDED_INBOUND, *rules.exclude_inbound_ports):
        yield nft.is_to_port(port) + nft.verdict(nft.RETURN)
    if rules.include_inbound_ports is None:
        yield nft.redirect(INBOUND_PORT)
        return
    for port in rules.include_inbound_ports:
        yield nft.is_to_port(port) + nft.redirect(INBOUND_PORT)


def _outbound(rules: CaptureRules) -> Iterator[bytes]:
    leave = nft.verdict(nft.RETURN)
    local = nft.leaves_by_loopback()
    for port in rules.exclude_outbound_ports:
        yield nft.is_to_port(port) + leave
    yield local + nft.is_from(HANDOVER_ADDRESS) + leave
    yield (
        local
        + nft.has_mark(ENVOY_MARK)
        + nft.is_to("127.0.0.1", equal=False)
        + nft.is_to_port(TUNNEL_PORT, equal=False)
        + nft.redirect(INBOUND_PORT)
    )
    yield local + nft.has_mark(ENVOY_MARK, equal=False) + leave
    yield nft.has_mark(ENVOY_MARK) + leave
    yield nft.is_to("127.0.0.1") + leave
    for cidr in _collapsed(rules.exclude_outbound_cidrs):
        yield nft.is_to(cidr) + leave
    for port in rules.include_outbound_ports:
        yield nft.is_to_port(port) + nft.redirect(OUTBOUND_PORT)
    included = ("0.0.0.0/0",) if rules.include_outbound_cidrs is None else ()
    for cidr in included or _collapsed(rules.include_outbound_cidrs or ()):
        yield nft.is_to(cidr) + nft.redirect(OUTBOUND_PORT)


def _collapsed(cidrs: tuple[str, ...]) -> list[str]:
    networks = (IPv4Network(cidr, strict=False) for cidr in cidrs)
    return [str(network) for network in collapse_addresses(networks)]
