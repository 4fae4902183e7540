"""How far is a change of policies?  What the next control plane has to know to go on with it.

A control plane that starts knows no proxy; each may be at any epoch of its predecessor's.  The
checkpoint, written before an epoch is given out, says what the newest of them was and by what
clients may go.  So the newest is given out again, nothing in it is news to anybody, and the change
goes on from there as if nobody had been away.

As plain values, for a file:

    {"format": 1, "root": "istio-system", "objects": [PeerAuthentication or DestinationRule, …],
     "intents": [{"policies": [object, …], "rules": [object, …]}, …],
     "target": intent, "dial": intent, "former": [intent, …], "dials": [intent, …]}

where objects and intents are named by their place in the lists.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mutua.api.destination import DestinationRule, parse_destination_rule
from mutua.api.kinds import kind_of
from mutua.api.object import DESTINATION_RULES, PEER_AUTHENTICATIONS, Key, Object
from mutua.api.security import PeerAuthentication, parse_peer_authentication
from mutua.controlplane.epoch import Intent, intent_of
from mutua.controlplane.quarantine import Policy, key_of

FORMAT: Final = 1
"""Rises when what is written is no longer understood by what read it before."""

METADATA: Final = ("namespace", "name", "creationTimestamp")
"""What of an object's metadata has a meaning for the mesh."""

P = TypeVar("P", PeerAuthentication, DestinationRule)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One moment of a change; intents are compared by identity.

    Attributes:
        target: What servers are to enforce; this and the next two are those of the newest epoch.
        dial: What clients go by.
        former: By which clients may go as well, as far as servers have to know.
        dials: All by which clients may go.
    """

    target: Intent
    dial: Intent
    former: tuple[Intent, ...]
    dials: tuple[Intent, ...]


def dump(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint as plain values.

    Raises:
        KeyError: A policy was not read from an object.
    """
    objects: dict[int, Object] = {}
    numbers: dict[int, int] = {}  # by identity, as policies and intents are compared
    sets: dict[int, list[int]] = {}
    intents: list[dict[str, list[int]]] = []

    def places(values: Sequence[Policy]) -> list[int]:
        if id(values) not in sets:
            for one in values:
                if id(one) not in objects:
                    numbers[id(one)] = len(objects)
                    objects[id(one)] = _object(one)
            sets[id(values)] = [numbers[id(one)] for one in values]
        return sets[id(values)]

    def place(one: Intent) -> int:
        if id(one) not in numbers:
            numbers[id(one)] = len(intents)
            intents.append({"policies": places(one.policies), "rules": places(one.rules)})
        return numbers[id(one)]

    return {
        "format": FORMAT,
        "root": checkpoint.target.root,
        "target": place(checkpoint.target),
        "dial": place(checkpoint.dial),
        "former": [place(one) for one in checkpoint.former],
        "dials": [place(one) for one in checkpoint.dials],
        "intents": intents,
        "objects": [*objects.values()],
    }


def load(data: Mapping[str, Any]) -> Checkpoint:
    """Return what was dumped; its intents are older than all others.

    Raises:
        ValueError: It has another format.
        Invalid: A policy in it is none.
        KeyError: Something is missing.
        IndexError: The same.
        TypeError: Something has another type.
        AttributeError: The same.
    """
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']} instead of {FORMAT}")
    root, values = data["root"], [_value(one) for one in data["objects"]]
    tuples: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def chosen(places: Sequence[int], kind: type[P]) -> tuple[P, ...]:
        found = tuple(values[place] for place in places)
        if not all(isinstance(one, kind) for one in found):
            raise TypeError("a policy is no rule, and the other way round")
        return tuples.setdefault(tuple(places), found)  # equal sets are the same set

    intents = [
        intent_of(
            -1 - number,
            chosen(one["policies"], PeerAuthentication),
            chosen(one["rules"], DestinationRule),
            root,
        )
        for number, one in enumerate(data["intents"])
    ]
    return Checkpoint(
        intents[data["target"]],
        intents[data["dial"]],
        tuple(intents[one] for one in data["former"]),
        tuple(intents[one] for one in data["dials"]),
    )


def reconciled(kept: Checkpoint, wish: Intent) -> Checkpoint:
    """Return a checkpoint in which what is equal to what users want now is the same object.

    Args:
        kept: Of an earlier control plane, read with the same root namespace.
        wish: What users want now.
    """
    wishes: tuple[Policy, ...] = (*wish.policies, *wish.rules)
    known: dict[Key, Any] = {key_of(one): one for one in wishes}
    tuples: dict[int, Any] = {}
    intents: dict[int, Intent] = {}

    def same(values: tuple[P, ...], wanted: tuple[P, ...]) -> tuple[P, ...]:
        if id(values) not in tuples:
            found = [known[key_of(one)] if known.get(key_of(one)) == one else one for one in values]
            is_wanted = set(map(id, found)) == set(map(id, wanted))
            tuples[id(values)] = wanted if is_wanted else tuple(found)
        result: tuple[P, ...] = tuples[id(values)]
        return result

    def intent(one: Intent) -> Intent:
        if id(one) not in intents:
            policies, rules = same(one.policies, wish.policies), same(one.rules, wish.rules)
            is_wish = policies is wish.policies and rules is wish.rules
            intents[id(one)] = (
                wish if is_wish else intent_of(one.number, policies, rules, wish.root)
            )
        return intents[id(one)]

    return Checkpoint(
        intent(kept.target),
        intent(kept.dial),
        tuple(map(intent, kept.former)),
        tuple(map(intent, kept.dials)),
    )


def _object(policy: Policy) -> Object:
    """Return what of an object has a meaning for the mesh: no status, nobody's annotations."""
    metadata = policy.source["metadata"]
    return {
        "kind": kind_of(key_of(policy).resource).kind,
        "metadata": {name: metadata[name] for name in METADATA if name in metadata},
        "spec": policy.source.get("spec") or {},
    }


def _value(obj: Object) -> Policy:
    return _PARSERS[obj["kind"]](obj)


_PARSERS: Final[Mapping[str, Callable[[Object], Policy]]] = {
    kind_of(PEER_AUTHENTICATIONS).kind: parse_peer_authentication,
    kind_of(DESTINATION_RULES).kind: parse_destination_rule,
}
