"""Is this in force, and where?  What the status of every policy and rule is made of.

Something is in force on a proxy once the proxy is, for certain, at an epoch of the roll-out that
has it (see `rollout`), and refuses nothing of it.

    Accepted   the control plane understood the object and uses it
    Matched    it speaks about something that is there; the message counts
    InForce    every proxy that has to take it up has it; the message counts them
    Ignored    parts of it have no effect; the message names them and says why

Deviates from Istio: Istio wrote distribution into status once and removed it (1.22).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mutua.controlplane.quarantine import Refusal
from mutua.model.workload import Workload

LONGEST_REASON: Final = 200
"""Characters of Envoy's own words in a status message."""

MOST_NAMES: Final = 3
"""Proxies named in a message; the others are counted."""


class Reason(Enum):
    """CamelCase reasons, for machines."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    IGNORED = "Ignored"
    SUPERSEDED = "Superseded"
    CONFIRMED = "Confirmed"
    PENDING = "Pending"
    REJECTED = "RejectedByProxy"
    MATCHED = "Matched"
    NOT_MATCHED = "NothingMatches"
    UNKNOWN_HOST = "UnknownHost"
    NOT_FOLLOWED = "NotFollowed"
    PARTS_IGNORED = "PartsIgnored"
    NOTHING_IGNORED = "NothingIgnored"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, without its times.

    Attributes:
        type: `Accepted`, `Matched`, `InForce` or `Ignored`.
        holds: Its status.
        reason: Why, for machines.
        message: Why, for people.
    """

    type: str
    holds: bool
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one proxy has made of one object.

    Attributes:
        workload: Its pod.
        in_force: It has it for certain.
        refusal: What it refused of it, None when it refused nothing.
        late: It has been silent for so long that nobody waits for it.
    """

    workload: Workload
    in_force: bool
    refusal: Refusal | None = None
    late: bool = False

    @property
    def name(self) -> str:
        """`pod.namespace`, as Istio's tools call a proxy."""
        return f"{self.workload.name}.{self.workload.namespace}"


@dataclass(frozen=True, slots=True)
class Held:
    """An object's state is held back.

    Attributes:
        refusal: One of the refusals.
        others: Number of the other proxies that refused it.
        concerned: Number of proxies that were given it.
        has_former: The mesh goes by the state before it; else it does without the object.
    """

    refusal: Refusal
    others: int
    concerned: int
    has_former: bool


ACCEPTED: Final = Condition(
    "Accepted", holds=True, reason=Reason.ACCEPTED, message="the control plane uses it"
)


def invalid(reason: str) -> tuple[Condition, ...]:
    """Return the conditions of an object that cannot be read; only foreign stores hold one."""
    return (
        Condition("Accepted", holds=False, reason=Reason.INVALID, message=reason),
        Condition("InForce", holds=False, reason=Reason.INVALID, message="not used: invalid"),
    )


def unused(reason: Reason, message: str) -> tuple[Condition, ...]:
    """Return the conditions of an object that counts for nothing."""
    return (
        Condition("Accepted", holds=False, reason=reason, message=message),
        Condition("InForce", holds=False, reason=reason, message="not used"),
    )


def held_back(held: Held, who: str = "") -> tuple[Condition, Condition]:
    """Return `Accepted` and `InForce` of an object whose present state is held back."""
    instead = "the state before it stays" if held.has_former else "the mesh does without it"
    refused = f"{held.refusal.resource}: {why(held.refusal)}"
    proxies = held.refusal.proxy + (f" and {held.others} more" if held.others else "")
    message = f"{_count(0, held.concerned, who)}; {proxies} refused {refused}"
    return (
        Condition("Accepted", holds=False, reason=Reason.REJECTED, message=f"held back: {instead}"),
        Condition("InForce", holds=False, reason=Reason.REJECTED, message=message),
    )


def in_force(answers: Sequence[Answer], who: str = "") -> Condition:
    """Return whether an object is in force on all proxies that have to take it up.

    Args:
        answers: Of those.
        who: Which they are, an adjective.
    """
    count = sum(one.in_force and one.refusal is None for one in answers)
    message = _count(count, len(answers), who)
    for one in answers:
        if one.refusal is not None:
            message += f"; {one.name} refused {one.refusal.resource}: {why(one.refusal)}"
            return Condition("InForce", holds=False, reason=Reason.REJECTED, message=message)
    if late := [one.name for one in answers if one.late]:
        verb = "has" if len(late) == 1 else "have"
        message += f"; not waited for: {named(late)} {verb} not answered"
    if count < len(answers):
        return Condition("InForce", holds=False, reason=Reason.PENDING, message=message)
    return Condition("InForce", holds=True, reason=Reason.CONFIRMED, message=message)


def _count(some: int, total: int, who: str) -> str:
    proxies = f"{who} {'proxy' if total == 1 else 'proxies'}".strip()
    return f"in force on {some} of {total} {proxies}"


def ignored(parts: Sequence[str]) -> Condition:
    """Return which parts of an object have no effect."""
    if not parts:
        message = "all of it has an effect"
        return Condition("Ignored", holds=False, reason=Reason.NOTHING_IGNORED, message=message)
    return Condition("Ignored", holds=True, reason=Reason.PARTS_IGNORED, message="; ".join(parts))


def named(names: Sequence[str]) -> str:
    """Return a few names, and how many more there are."""
    shown, rest = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def why(refusal: Refusal) -> str:
    """Return Envoy's reason on one line, without what it says about other resources.

    Envoy prints `NAME: the whole message: Proto constraint validation failed (Field: reason)`.
    """
    message = refusal.message.partition(f"{refusal.resource}: ")[2] or refusal.message
    failed = _FAILED.search(message)
    return " ".join((failed[0] if failed else message).split())[:LONGEST_REASON]


_FAILED: Final = re.compile(r"Proto constraint validation failed \([^)]*\)")


def counted(number: int, what: str) -> str:
    """Return `1 pod`, `2 pods`."""
    return f"{number} {what}" + ("" if number == 1 else "s")
