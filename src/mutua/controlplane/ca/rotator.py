"""Move the mesh to another signing CA, step by step, and survive anything in between.

    request ──> key store: the new state, durably ──> authority signs with it
                       ▲                          ──> agents: trust this, present that
                       └── evidence of the proxies, once it has held for SETTLED ──┘

What the steps mean is in mutua.identity.rotation; here they are stored, acted on, and proven.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final, Protocol

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Conflict
from mutua.identity import rotation
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.keystore import KeyStore, Source
from mutua.identity.material import SigningMaterial, read_material
from mutua.identity.rotation import CaState, Evidence, Rotation, Stage

SETTLED: Final = 0.3
"""Seconds for which nobody must lag before a stage counts as finished: Envoy confirms on its main
thread, and its workers follow."""


class Fleet(Protocol):
    """The agents, as far as the CA is concerned; see `mutua.agent.agent.Agent`."""

    def trust(self, bundle: TrustBundle) -> None:
        """Have every proxy verify with this bundle."""
        ...

    def expect(self, signer: str) -> None:
        """Have every workload certified by the CA with this fingerprint."""
        ...

    def evidence(self) -> Evidence:
        """Tell, by pod uid, who lags."""
        ...


class Adoption(Enum):
    """What became of a plugged-in set that was accepted."""

    KNOWN = "in use already"
    LISTS = "its revocation lists are in force"
    BEGUN = "moving to this CA"


class Rotator:
    """Which CA signs, and the way to the next one.

    Attributes:
        waiting_for: Whom the present stage waits for, by name.
        objection: Why the next step is not taken although nobody lags, "" if nothing speaks
            against it.
        ignores_elsewhere: Whether certificates that nobody here can renew are not waited for: who
            has one is refused when the old CA is withdrawn.
    """

    def __init__(
        self,
        store: KeyStore,
        authority: Authority,
        fleet: Fleet,
        clock: Clock,
        *,
        names: Callable[[Sequence[str]], Sequence[str]] = lambda uids: uids,
        elsewhere: Callable[[str], Sequence[str]] = lambda _signer: (),
        note: Callable[[CaState], None] = lambda _state: None,
        objects: Callable[[SigningMaterial], str] = lambda _material: "",
    ) -> None:
        """Prepare; nothing changes before `resume`.

        Args:
            store: The keys and the state.
            authority: Who signs.
            fleet: Who presents and verifies.
            clock: Wall time.
            names: Returns the names of those of these pods, by uid, whose proxies run: one that
                does not run gets everything anew when it starts, and nobody waits for it.
            elsewhere: Returns who holds unexpired certificates that nobody here can renew, of
                other CAs than the one with this fingerprint.
            note: Told of every new state before it is acted on.
            objects: Returns why some proxy would refuse what a CA issues, "" if none is known to.
        """
        self._store = store
        self._authority = authority
        self._fleet = fleet
        self._clock = clock
        self._names = names
        self._elsewhere = elsewhere
        self._note = note
        self._objects = objects
        self._clear_since: float | None = None
        self.waiting_for: Sequence[str] = ()
        self.objection = ""
        self.ignores_elsewhere = False

    @property
    def state(self) -> CaState:
        """As stored."""
        return self._store.state

    @property
    def source(self) -> Source:
        """Where the CA that signs comes from."""
        return self._store.source(self.state.issuing)

    def source_of(self, generation: int) -> Source:
        """Where a generation comes from."""
        return self._store.source(generation)

    def resume(self) -> None:
        """Act on the stored state; after a crash, go on where it stood."""
        self._publish()

    def replace_root(self, request: str) -> None:
        """Begin to move to a new self-signed root.

        Raises:
            Conflict: A rotation is under way.
        """
        self._require_rest()
        self._begin(request, self._store.add_root())

    def replace_intermediate(self, request: str) -> None:
        """Begin to move to a new intermediate below the present self-signed root.

        Raises:
            Conflict: A rotation is under way.
            Rejected: The present CA is plugged in.
            NotValidNow: The root has expired.
        """
        self._require_rest()
        self._begin(request, self._store.add_intermediate())

    def renew(self, *, root: bool) -> None:
        """Begin to move to a successor of the present CA, which the mesh made itself.

        Args:
            root: Whether the root has to be replaced too; what signs below it is not kept then.

        Raises:
            Conflict: A rotation is under way.
            Rejected: The present CA is plugged in.
            NotValidNow: The root has expired.
        """
        self._require_rest()
        is_root = root or self.source is Source.SELF_SIGNED
        target = self._store.add_root() if is_root else self._store.add_intermediate()
        self._begin(f"renewal-{uuid.uuid4()}", target, by_request=False)

    def plug_in(self, files: Mapping[str, str]) -> Adoption:
        """Begin to move to a plugged-in set, unless it signs already.

        Other revocation lists for the CA that signs, or shall sign, are in force at once, also in
        the middle of a rotation: nothing that is presented changes with them.

        Args:
            files: PEM texts by file name; see `read_material`.

        Returns:
            What became of it.

        Raises:
            UnusableMaterial: The set is refused.
            Conflict: Another rotation is under way; ask again when it is done.
        """
        wanted = read_material(files, self._clock.now())
        moving = self.state.rotation
        goal = moving.target if moving else self.state.issuing
        present = self._store.material(goal)
        if _without_lists(present) == _without_lists(wanted):
            if present.bundle.crl == wanted.bundle.crl:
                return Adoption.KNOWN
            self._store.replace_lists(goal, wanted.bundle.crl)
            self._move(self.state)
            return Adoption.LISTS
        self._require_rest()
        self._begin(f"cacerts-{uuid.uuid4()}", self._store.add_plugged_in(files), by_request=False)
        return Adoption.BEGUN

    def abort(self) -> None:
        """Turn the rotation around.

        Raises:
            Conflict: None is under way, or this one is being aborted already.
        """
        moving = self.state.rotation
        if moving is not None and moving.aborted:
            raise Conflict("the rotation is being aborted already")
        self._move(rotation.abort(self.state, self._clock.now()))

    def step(self, monotonic: float) -> bool:
        """Take the next step if the present stage is finished; tell whether it was.

        Args:
            monotonic: Seconds on a clock that nobody sets.
        """
        if self.state.rotation is None:
            self.waiting_for, self.objection = (), ""
            return False
        evidence = self._fleet.evidence()
        # Asked only where it counts: the log of a large mesh is long.
        counts = self.state.rotation.stage is Stage.ISSUE and not self.ignores_elsewhere
        others = self._elsewhere(self._authority.material.fingerprint) if counts else ()
        running = Evidence(
            self._names(evidence.without_bundle),
            [*self._names(evidence.with_others), *others],
        )
        self.waiting_for = rotation.waiting_for(self.state, running)
        if self.waiting_for:
            self._clear_since = None
            return False
        if self._clear_since is None:
            self._clear_since = monotonic
        if monotonic - self._clear_since < SETTLED:
            return False
        self.objection = self._doubt(self.state.rotation)
        if self.objection:
            self._clear_since = monotonic  # asked again in a moment
            return False
        self._move(rotation.advance(self.state, running, self._clock.now()))
        return True

    def _doubt(self, moving: Rotation) -> str:
        """Return why the next step would harm.

        The way back is always free, as is the end: nothing is handed out there.
        """
        if moving.aborted or moving.stage is Stage.WITHDRAW:
            return ""
        return self._objects(self._store.material(moving.target))

    def _require_rest(self) -> None:
        if self.state.rotation is not None:
            raise Conflict("a rotation is under way")

    def _begin(self, request: str, target: int, *, by_request: bool = True) -> None:
        moved = rotation.begin(self.state, request=request, target=target, now=self._clock.now())
        # Else the request before would count as new after a restart.
        self._move(moved if by_request else replace(moved, last_request=self.state.last_request))

    def _move(self, state: CaState) -> None:
        """Store first, act afterwards: whoever starts after a crash acts on the same state."""
        self._note(state)
        self._store.save(state)
        self._clear_since = None
        self._publish()

    def _publish(self) -> None:
        material = self._store.material(self.state.issuing)
        self._authority.adopt(material, self._store.bundle())
        self._fleet.trust(self._authority.bundle)
        self._fleet.expect(material.fingerprint)


def _without_lists(one: SigningMaterial) -> tuple[object, ...]:
    return one.fingerprint, one.intermediates, one.anchor, one.bundle.roots
