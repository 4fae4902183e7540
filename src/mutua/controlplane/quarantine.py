"""Whose fault is a refusal, and what does the mesh go by meanwhile?

A proxy refuses a resource; the resource knows the policies and rules that shaped it.  The one of
them that changed last is blamed.  Its present state may then be *held back*: the mesh goes by the
state before it, or does without the object, until somebody changes it.  All other objects, also
those that shape the same resource, keep flowing.

A refusal is one proxy's word, and a compromised pod could refuse everything.  So what a proxy says
counts for itself (it keeps the last version that it took), and for the mesh only as far as it
cannot hurt:

    somebody took the object up              never held back: the fault is the proxy's
    several identities refuse it             held back, until somebody proves it good
    everybody who has to take it up does     held back; it concerns nobody else

No I/O, no clock.  Source: the design's "only that object is held back".
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from operator import is_
from typing import Any, Final, TypeVar

from mutua.api.destination import DestinationRule
from mutua.api.object import DESTINATION_RULES, PEER_AUTHENTICATIONS, Key
from mutua.api.security import PeerAuthentication
from mutua.xds.compile.stage import PolicySet

ENOUGH: Final = 2
"""Identities whose refusal is believed although others have not answered yet."""

RuleSet = tuple[DestinationRule, ...]
Policy = PeerAuthentication | DestinationRule
P = TypeVar("P", PeerAuthentication, DestinationRule)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What one proxy refused.

    Attributes:
        proxy: Its name, for people.
        identity: Whom it runs as.
        resource: Name of the refused resource.
        message: Envoy's reason.
        generation: The newest generation of the mesh when it came.
        type_url: Type of the refused resource.
    """

    proxy: str
    identity: str
    resource: str
    message: str
    generation: int = 0
    type_url: str = ""


@dataclass(slots=True, eq=False)
class Case:
    """One state of one object, and what proxies say about it.

    Attributes:
        value: The state.
        changed: When it came, counted in changes of anything.
        good: The state to go by when it is held back, None to do without.
        first: First generation of the mesh that contained it, 0 before it.
        last: Last generation that contained it, None while there is none.
        concerned: Proxies that were given it, as of the first refusal; empty before anybody looked.
        refusals: By proxy.
        accepted: Somebody took it up.
        held: The mesh goes by `good`.
    """

    value: Policy
    changed: int
    good: Policy | None = None
    first: int = 0
    last: int | None = None
    concerned: frozenset[str] = frozenset()
    refusals: dict[str, Refusal] = field(default_factory=dict)
    accepted: bool = False
    held: bool = False

    def was_in(self, generation: int) -> bool:
        """Tell whether a generation of the mesh contained it."""
        return 0 < self.first <= generation and (self.last is None or generation <= self.last)

    def open_to(self, waited: Collection[str]) -> set[str]:
        """Return the proxies whose answer may still decide the case."""
        if not self.refusals or self.accepted or self.held:
            return set()
        return {uid for uid in self.concerned if uid in waited and uid not in self.refusals}

    def is_proven(self, waited: Collection[str]) -> bool:
        """Tell whether the refusals are to be believed."""
        if not self.refusals or not self.concerned or self.accepted or self.held:
            return False
        identities = {refusal.identity for refusal in self.refusals.values()}
        return len(identities) >= ENOUGH or not self.open_to(waited)


class Quarantine:
    """Keeps the states that are held back, and decides which."""

    def __init__(self) -> None:
        self._cases: dict[Key, Case] = {}
        self._suspects: dict[Key, Case] = {}
        self._unpublished: dict[Key, Case] = {}
        self._changes = 0
        self._wanted: tuple[PolicySet, RuleSet] = ((), ())
        self._admitted: tuple[PolicySet, RuleSet] = ((), ())

    def case(self, key: Key) -> Case | None:
        """Return what is known about the present state of an object."""
        return self._cases.get(key)

    def admit(self, policies: PolicySet, rules: RuleSet) -> tuple[PolicySet, RuleSet]:
        """Return what the mesh is to go by; the same objects as before when it is the same."""
        if policies is not self._wanted[0] or rules is not self._wanted[1]:
            self._wanted = policies, rules
            self._note((*policies, *rules))
        self._admitted = (
            self._without_held(policies, self._admitted[0]),
            self._without_held(rules, self._admitted[1]),
        )
        return self._admitted

    def published(self, generation: int, policies: PolicySet, rules: RuleSet) -> None:
        """A generation of the mesh with these objects is being published."""
        if not self._unpublished:
            return
        given = {id(value) for value in (*policies, *rules)}
        for key, case in tuple(self._unpublished.items()):
            if id(case.value) in given:
                case.first = generation
                del self._unpublished[key]

    def refused(
        self, uid: str, refusal: Refusal, origins: Iterable[Key], *, for_files: bool = False
    ) -> Key | None:
        """A proxy refused a resource that these objects shaped; return the one to blame.

        Args:
            uid: Of the proxy's pod.
            refusal: What it said.
            origins: The objects.
            for_files: It has taken the resource up before, with other files.
        """
        cases = {key: self._cases[key] for key in origins if key in self._cases}
        candidates = [key for key, case in cases.items() if case.first and not case.held]
        if not candidates:
            return None
        # What a proxy has refused it refuses again, whatever else has changed since.
        again = [key for key in candidates if uid in cases[key].refusals]
        blamed = max(again or candidates, key=lambda key: _age(key, cases[key]))
        cases[blamed].accepted |= for_files
        cases[blamed].refusals[uid] = refusal
        self._suspects[blamed] = cases[blamed]
        return blamed

    def unexamined(self) -> list[Key]:
        """Return the objects that are refused, and of which nobody knows yet whom they concern."""
        return [key for key, case in self._suspects.items() if not case.concerned]

    def examine(self, key: Key, concerned: Iterable[str]) -> None:
        """Say which proxies were given an object's present state."""
        case = self._suspects[key]
        case.concerned = frozenset(concerned) | case.refusals.keys()

    def confirmed(self, uid: str, generation: int, refusing: Collection[Key]) -> bool:
        """A proxy has confirmed up to a generation, except for what these objects shaped.

        Who has refused a state must have gone on since then for its word to count: when it is sent
        the good state again it refuses the bad one no longer, and has not taken it up.

        Returns:
            Whether what the mesh goes by has changed: a state was held back for nothing.
        """
        released = False
        for key, case in self._suspects.items():
            refusal = case.refusals.get(uid)
            has_gone_on = refusal is None or generation > refusal.generation
            if uid not in case.concerned or key in refusing or not has_gone_on:
                continue
            if case.was_in(generation):
                case.refusals.pop(uid, None)
                case.accepted = True
                if case.held:
                    self._release(key, case)
                    released = True
        return released

    def files_changed(self, uids: Collection[str]) -> None:
        """The files of these pods' proxies are others: what they refused may be good now."""
        for key, case in self._suspects.items():
            if uids and case.held and not case.refusals.keys().isdisjoint(uids):
                case.refusals = {u: one for u, one in case.refusals.items() if u not in uids}
                self._release(key, case)

    def gone(self, uid: str) -> None:
        """A proxy is no more."""
        for case in self._suspects.values():
            if not case.held:  # what is held back keeps its reason, until it changes
                case.refusals.pop(uid, None)
                case.concerned -= {uid}

    def refusals_of(self, uid: str) -> int:
        """Return how many objects a proxy refuses."""
        return sum(uid in case.refusals for case in self._suspects.values())

    def refused_by(self, uid: str) -> list[Refusal]:
        """Return what a proxy refuses of the objects' present states, also of those held back."""
        cases = self._suspects.values()
        return [case.refusals[uid] for case in cases if uid in case.refusals]

    def judge(self, waited: Collection[str], generation: int) -> list[Key]:
        """Hold back what is proven bad, and return it.

        Args:
            waited: The proxies whose answer is waited for.
            generation: The newest generation of the mesh.
        """
        proven = [key for key, case in self._suspects.items() if case.is_proven(waited)]
        for key in proven:
            case = self._suspects[key]
            case.held, case.last = True, generation
        return proven

    def open_to(self, waited: Collection[str]) -> set[str]:
        """Return the proxies whose answer may decide a case."""
        return {uid for case in self._suspects.values() for uid in case.open_to(waited)}

    def _release(self, key: Key, case: Case) -> None:
        case.held, case.first, case.last = False, 0, None
        self._unpublished[key] = case

    def _note(self, values: Iterable[Policy]) -> None:
        """Begin a case for every object that is new or has changed."""
        self._changes += 1
        before, self._cases = self._cases, {}
        for value in values:
            key = key_of(value)
            known = before.get(key)
            if known is None or known.value is not value:
                known = Case(value, self._changes, good=_good(known))
                self._unpublished[key] = known
            self._cases[key] = known
        for cases in (self._suspects, self._unpublished):
            for key in [key for key, case in cases.items() if self._cases.get(key) is not case]:
                del cases[key]

    def _without_held(self, values: tuple[P, ...], before: tuple[P, ...]) -> tuple[P, ...]:
        held = {id(case.value): case.good for case in self._suspects.values() if case.held}
        if not any(id(value) in held for value in values):
            return values
        used = tuple(held.get(id(value), value) for value in values)
        found: Any = tuple(value for value in used if value is not None)
        same = len(found) == len(before) and all(map(is_, found, before))
        return before if same else found


def key_of(policy: Policy) -> Key:
    """Return the address of a policy's object."""
    is_rule = isinstance(policy, DestinationRule)
    resource = DESTINATION_RULES if is_rule else PEER_AUTHENTICATIONS
    return Key(resource, policy.namespace, policy.name)


def _good(before: Case | None) -> Policy | None:
    """Return the state to fall back to when the one after this turns out bad."""
    if before is None:
        return None
    is_good = before.accepted or not before.refusals
    return before.value if is_good else before.good


def _age(key: Key, case: Case) -> tuple[int, str, str, str]:
    """Order by change; of what changed at once, and of what was there at the start, by creation."""
    return case.changed, case.value.created, key.namespace, key.name
