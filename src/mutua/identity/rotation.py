"""How a mesh moves from one signing CA to another without losing a request.

    DISTRIBUTE   peers learn to trust the target; the origin signs
        │  every proxy has confirmed the larger bundle
    ISSUE        the target signs; every workload gets a new certificate; both are trusted
        │  no proxy presents a certificate of the origin any longer
    WITHDRAW     only the target is trusted
        │  every proxy has confirmed the smaller bundle
    done         the origin's key is deleted

At no instant does a peer present what another does not trust yet, or any longer.  Moving to an
intermediate under the same root takes the same steps; those that change nothing are over at once.

A rotation is aborted by turning it around: what is trusted and presented at that moment is a valid
starting point in both directions.  The state is a value and is stored before it is acted on, so
whoever starts after a crash goes on where it stood.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from mutua.foundation.errors import Conflict


class Stage(Enum):
    """What a rotation is waiting to be finished."""

    DISTRIBUTE = "Distribute"
    ISSUE = "Issue"
    WITHDRAW = "Withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A move that is under way.

    Attributes:
        id: Of the request that began it.
        origin: Generation that signed before.
        target: Generation that shall sign.
        stage: Where it is.
        since: When the stage began, UTC.
        aborted: It goes back to where it came from.
    """

    id: str
    origin: int
    target: int
    stage: Stage
    since: datetime
    aborted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaState:
    """Which CA signs, which are trusted.  Generations are numbers; see `KeyStore`.

    Attributes:
        issuing: The generation that signs.
        trusted: The generations whose anchors are in the bundle.
        rotation: The move that is under way, or None.
        last_request: Id of the request that was heeded last; it is not heeded again.
    """

    issuing: int
    trusted: tuple[int, ...]
    rotation: Rotation | None = None
    last_request: str = ""

    def __post_init__(self) -> None:
        if self.issuing not in self.trusted:
            raise ValueError("a CA that nobody trusts cannot sign")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the proxies, for the state of the moment.

    Attributes:
        without_bundle: Proxies that have not confirmed the present bundle.
        with_others: Who presents, or could present, a certificate of another CA than the
            issuing one.
    """

    without_bundle: Sequence[str] = ()
    with_others: Sequence[str] = ()


def begin(state: CaState, *, request: str, target: int, now: datetime) -> CaState:
    """Start to move to another generation.

    Raises:
        Conflict: A rotation is under way.
    """
    if state.rotation is not None:
        raise Conflict(
            f"the rotation {state.rotation.id} is under way (stage {state.rotation.stage.value})",
            hint="wait until it is done, or: mutua ca rotate abort",
        )
    return CaState(
        issuing=state.issuing,
        trusted=(state.issuing, target),
        rotation=Rotation(
            id=request, origin=state.issuing, target=target, stage=Stage.DISTRIBUTE, since=now
        ),
        last_request=request,
    )


def waiting_for(state: CaState, evidence: Evidence) -> Sequence[str]:
    """Return whom the present stage waits for; nobody when it is finished."""
    if state.rotation is None:
        return ()
    is_issuing = state.rotation.stage is Stage.ISSUE
    return evidence.with_others if is_issuing else evidence.without_bundle


def advance(state: CaState, evidence: Evidence, now: datetime) -> CaState:
    """Return the next state if the present stage is finished, else the same one."""
    rotation = state.rotation
    if rotation is None or waiting_for(state, evidence):
        return state
    both = (rotation.origin, rotation.target)
    match rotation.stage:
        case Stage.DISTRIBUTE:
            moved = replace(rotation, stage=Stage.ISSUE, since=now)
            return replace(state, issuing=rotation.target, trusted=both, rotation=moved)
        case Stage.ISSUE:
            moved = replace(rotation, stage=Stage.WITHDRAW, since=now)
            return replace(state, trusted=(rotation.target,), rotation=moved)
        case Stage.WITHDRAW:
            return replace(state, rotation=None)


def abort(state: CaState, now: datetime) -> CaState:
    """Return the state from which the origin becomes the only CA again.

    An aborted rotation that is aborted goes on to its first target.

    Raises:
        Conflict: No rotation is under way.
    """
    rotation = state.rotation
    if rotation is None:
        raise Conflict("no rotation is under way")
    back = replace(
        rotation,
        origin=rotation.target,
        target=rotation.origin,
        since=now,
        aborted=not rotation.aborted,
    )
    match rotation.stage:
        case Stage.DISTRIBUTE:  # nothing was issued by the target
            back = replace(back, stage=Stage.WITHDRAW)
            return replace(state, trusted=(back.target,), rotation=back)
        case Stage.ISSUE:  # everybody trusts both
            return replace(state, issuing=back.target, rotation=back)
        case Stage.WITHDRAW:  # some may have forgotten the origin
            back = replace(back, stage=Stage.DISTRIBUTE)
            return replace(state, trusted=(back.origin, back.target), rotation=back)
