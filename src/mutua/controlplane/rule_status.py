"""The conditions of a DestinationRule.

It speaks about Services by their host.  It is in force once the proxies of all clients that follow
it have the clusters that it shaped.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mutua.api.destination import DestinationRule
from mutua.controlplane.enforcement import (
    ACCEPTED,
    Answer,
    Condition,
    Held,
    Reason,
    counted,
    held_back,
    ignored,
    in_force,
    named,
    unused,
)
from mutua.model.service import Service
from mutua.policy.destination_rule import MergedRule, suppliers

_Suppliers = Mapping[str, Mapping[str, str]]
"""Part of a rule -> kind of client -> the rule that supplies it."""


def rule_conditions(
    rule: DestinationRule,
    *,
    hostname: str,
    services: Sequence[Service],
    beside: Mapping[str, MergedRule],
    clients: Sequence[Answer] | None,
    somebody: bool,
    held: Held | None = None,
    remarks: Sequence[str] = (),
) -> tuple[Condition, ...]:
    """Return the conditions of one rule.

    Args:
        rule: The rule.
        hostname: Its host in full.
        services: The Services and hosts of ServiceEntries that it means.
        beside: What clients make of it and of other rules for its host (`followed_instead`).
        clients: What the proxies make of it whose configuration it shaped; None before any client
            was given it.
        somebody: There are proxies at all.
        held: Set when its present state is held back.
        remarks: More parts of it that have no effect, and why.
    """
    own, supplied = f"{rule.namespace}/{rule.name}", suppliers(rule, beside)
    parts = [*_ignored(own, supplied), *remarks]
    if leader := _leader(own, supplied, beside):
        message = f"the older rule {leader} speaks for the same host"
        return unused(Reason.SUPERSEDED, message)
    matched = _matched(hostname, len(services))
    if held is not None:
        accepted, refused = held_back(held, "client")
        return (accepted, matched, refused, ignored(parts))
    if not services:
        missing = Condition(
            "InForce",
            holds=False,
            reason=Reason.UNKNOWN_HOST,
            message="not used: " + matched.message,
        )
        return (ACCEPTED, matched, missing, ignored(parts))
    return (ACCEPTED, matched, _in_force(clients, somebody=somebody), ignored(parts))


def means(host: str, hostname: str) -> bool:
    """Tell whether a rule's host, perhaps with a wildcard, is a Service's."""
    return host == hostname or (host.startswith("*") and hostname.endswith(host[1:]))


def _in_force(clients: Sequence[Answer] | None, *, somebody: bool) -> Condition:
    if clients is None:
        message = "clients go over to it once all servers let in what clients will send"
        return Condition("InForce", holds=False, reason=Reason.PENDING, message=message)
    if somebody and not clients:
        message = "no client follows it: others come first, or it is not exported to any"
        return Condition("InForce", holds=False, reason=Reason.NOT_FOLLOWED, message=message)
    return in_force(clients, "client")


def _matched(hostname: str, services: int) -> Condition:
    if not services:
        message = f"no Service and no ServiceEntry has the host {hostname}"
        return Condition("Matched", holds=False, reason=Reason.UNKNOWN_HOST, message=message)
    message = f"speaks about {counted(services, 'service')}"
    return Condition("Matched", holds=True, reason=Reason.MATCHED, message=message)


def _leader(own: str, parts: _Suppliers, beside: Mapping[str, MergedRule]) -> str:
    """Return the rule that leaves another without any effect, "" when it has one."""
    leads = any(one.sources[0] == own for one in beside.values())
    if leads or any(own in by_client.values() for by_client in parts.values()):
        return ""
    return next((one.sources[0] for one in beside.values()), "")


def _ignored(own: str, parts: _Suppliers) -> Iterator[str]:
    for part, by_client in parts.items():
        lost: dict[str, list[str]] = defaultdict(list)
        for client, supplier in sorted(by_client.items()):
            if supplier != own:
                lost[supplier].append(client)
        for supplier, clients in lost.items():
            where = f" for clients in {named(clients)}" if len(clients) < len(by_client) else ""
            yield f"{part}: that of the older rule {supplier} counts{where}"
