"""The conditions of a DestinationRule.

It speaks about Services by their host.  It is in force once the proxies of all clients that follow
it have the clusters that it shaped.
"""

from collections.abc import Iterator, Sequence

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
    unused,
)
from mutua.model.service import Service


def rule_conditions(
    rule: DestinationRule,
    *,
    hostname: str,
    services: Sequence[Service],
    older: Sequence[DestinationRule],
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
        older: Older rules that count as one with it (`merges`), the oldest first.
        clients: What the proxies make of it whose configuration it shaped; None before any client
            was given it.
        somebody: There are proxies at all.
        held: Set when its present state is held back.
        remarks: More parts of it that have no effect, and why.
    """
    parts = [*_ignored(rule, older), *remarks]
    if older and not _has_part(rule, older):
        first = older[0]
        message = f"the older rule {first.namespace}/{first.name} speaks for the same host"
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


def merges(older: DestinationRule, younger: DestinationRule, hosts: tuple[str, str]) -> bool:
    """Tell whether two rules count as one (istio-semantics 6.4), `hosts` being theirs in full."""
    return (
        older.namespace == younger.namespace
        and hosts[0] == hosts[1]
        and older.selector == younger.selector
        and _exported(older) == _exported(younger)
        and (older.created, older.name) < (younger.created, younger.name)
    )


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


def _has_part(rule: DestinationRule, older: Sequence[DestinationRule]) -> bool:
    """Tell whether anything of a rule counts beside the older ones."""
    taken = {subset.name for one in older for subset in one.subsets}
    gives_policy = rule.policy is not None and all(one.policy is None for one in older)
    return gives_policy or any(subset.name not in taken for subset in rule.subsets)


def _ignored(rule: DestinationRule, older: Sequence[DestinationRule]) -> Iterator[str]:
    first = next((one for one in older if one.policy is not None), None)
    if rule.policy is not None and first is not None:
        yield f"trafficPolicy: that of the older rule {first.namespace}/{first.name} counts"
    for subset in rule.subsets:
        for one in older:
            if any(subset.name == other.name for other in one.subsets):
                name = f"{one.namespace}/{one.name}"
                yield f"subset {subset.name}: that of the older rule {name} counts"
                break


def _exported(rule: DestinationRule) -> frozenset[str]:
    return frozenset(rule.namespace if to == "." else to for to in rule.export_to)
