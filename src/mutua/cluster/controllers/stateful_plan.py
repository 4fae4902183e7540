"""Which pods of a StatefulSet come and go next?  The order of scaling and updating.

Pure.  Three things may be due, and one is done at a time:

    scale up      the lowest ordinal that is missing; OrderedReady: once all before it are available
    scale down    the highest ordinal that is too many; OrderedReady: once the rest is available
    update        the highest ordinal with another template than the newest, down to the partition,
                  once all above it are available; the next round makes it anew

Parallel scales all at once and updates in the same order.  Every change of a pod asks again.

Deviates from Kubernetes: a pod of an outdated template that is not ready is replaced instead of
waited for, or a mistake in a template could not be corrected without deleting pods by hand
(kubernetes/kubernetes#67250).

Source: Kubernetes documentation "StatefulSets", Deployment and Scaling Guarantees, Update
strategies; the rules of the StatefulSet controller's `updateStatefulSet`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final

BURST: Final = 500
"""Pods created in one round (the ReplicaSet controller's burst)."""


class Health(Enum):
    """How far a pod is."""

    STARTING = 1
    """There, and not ready; perhaps no more."""
    READY = 2
    """Ready, but not for minReadySeconds yet."""
    AVAILABLE = 3
    ENDING = 4
    """Asked to go."""
    FINISHED = 5
    """Its containers have ended for good."""


@dataclass(frozen=True, slots=True)
class Member:
    """One pod.

    Attributes:
        ordinal: Its number.
        revision: The template it was made from.
        health: How far it is.
    """

    ordinal: int
    revision: str
    health: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a StatefulSet asks for.

    Attributes:
        ordinals: Of the pods it should have, ascending.
        revision: The newest template.
        partition: How many of the lowest ordinals keep their template in an update; None when
            updates wait for somebody to delete pods (OnDelete).
        parallel: Whether pods come and go without waiting for each other.
    """

    ordinals: range
    revision: str
    partition: int | None = 0
    parallel: bool = False

    def updates(self, ordinal: int) -> bool:
        """Tell whether an update replaces the pod with this ordinal."""
        return self.partition is not None and ordinal in self.ordinals[self.partition :]

    def keeps(self, ordinal: int) -> bool:
        """Tell whether a pod with this ordinal is made from the template before the update."""
        return self.partition is not None and ordinal in self.ordinals[: self.partition]


@dataclass(frozen=True, slots=True)
class Steps:
    """Ordinals of the pods to create and to delete now."""

    create: tuple[int, ...] = ()
    delete: tuple[int, ...] = ()


def next_steps(wish: Wish, members: Iterable[Member]) -> Steps:
    """Return what to do now, given every pod that is still there, ending ones included."""
    held = {member.ordinal: member for member in members}
    return _all_at_once(wish, held) if wish.parallel else _in_order(wish, held)


def _all_at_once(wish: Wish, held: Mapping[int, Member]) -> Steps:
    missing = (ordinal for ordinal in wish.ordinals if ordinal not in held)
    create = tuple(islice(missing, BURST))
    delete = tuple(
        member.ordinal
        for member in held.values()
        if member.health is not Health.ENDING
        and (member.ordinal not in wish.ordinals or member.health is Health.FINISHED)
    )
    return Steps(create, delete) if create or delete else Steps(delete=_outdated(wish, held))


def _in_order(wish: Wish, held: Mapping[int, Member]) -> Steps:
    for ordinal in wish.ordinals:
        if ordinal not in held:
            return Steps(create=(ordinal,))
        member = held[ordinal]
        if member.health is Health.FINISHED or _is_stuck(wish, member, held):
            return Steps(delete=(ordinal,))
        if member.health is not Health.AVAILABLE:
            return Steps()
    surplus = [ordinal for ordinal in held if ordinal not in wish.ordinals]
    if not surplus:
        return Steps(delete=_outdated(wish, held))
    last = max(surplus)
    return Steps() if held[last].health is Health.ENDING else Steps(delete=(last,))


def _outdated(wish: Wish, held: Mapping[int, Member]) -> tuple[int, ...]:
    """Return the one pod to update; every wanted one is there."""
    for ordinal in reversed(wish.ordinals):
        member = held[ordinal]
        if not wish.updates(ordinal):
            break
        if member.revision != wish.revision and member.health is not Health.ENDING:
            return (ordinal,)
        if member.health is not Health.AVAILABLE:
            break
    return ()


def _is_stuck(wish: Wish, member: Member, held: Mapping[int, Member]) -> bool:
    """Tell whether waiting for a pod would be waiting for what an update is to repair.

    Not while a pod is on its way out, and not while one of the newest template is unwell: then
    the newest template may be the mistake.
    """
    if member.health is not Health.STARTING or member.revision == wish.revision:
        return False
    others = held.values()
    return wish.updates(member.ordinal) and not any(
        other.health is Health.ENDING
        or (other.revision == wish.revision and other.health is not Health.AVAILABLE)
        for other in others
    )
