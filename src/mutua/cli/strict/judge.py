"""What would become of a caller that the ledger knows, once its server is STRICT?

Why it arrived in plaintext was written down when it did; what counts is the mesh as it is now, and
as it would be.  So the question is asked again, of the pods that called, or of those that took
their place:

    no pod, and still calling for all we know            blocks
    its owner is gone from the API                       gone
    the cause is still there                             blocks
    the cause goes away with the server's mode           follows
    the cause has gone away since                        fixed
    a pod that dialled addresses is still there          blocks: no setting tells that it stopped
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from mutua.api.object import Object
from mutua.controlplane.ledger.cause import BY_ADDRESS, Call, Finding, Reason, World, cause
from mutua.controlplane.ledger.ledger import Entry
from mutua.controlplane.ledger.party import ADDRESS, Party, has_ended, owner_of
from mutua.controlplane.ledger.remedy import remedy


class State(Enum):
    """What would become of it."""

    BLOCKS = "blocks"
    FOLLOWS = "follows"
    FIXED = "fixed"
    GONE = "gone"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One caller of one port.

    Attributes:
        entry: What was seen.
        state: What would become of it.
        finding: Why.
        remedy: What to do about it, "" when nothing has to be done.
    """

    entry: Entry
    state: State
    finding: Finding
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Who there is.

    Attributes:
        pods: Pods that have not ended, by whom they belong to.
        owners: Everybody who could have pods, running or not.
        kinds: Kinds whose owners are all in `owners`.
    """

    pods: Mapping[Party, tuple[Object, ...]]
    owners: Collection[Party]
    kinds: Collection[str]

    def exists(self, party: Party) -> bool:
        """Tell whether somebody is still there; of other kinds nobody knows, so yes."""
        return party in self.pods or party in self.owners or party.kind not in self.kinds


def census(pods: Collection[Object], owners: Collection[Object]) -> Census:
    """Take a census.

    Args:
        pods: All pods.
        owners: All Deployments, StatefulSets and ReplicaSets.
    """
    found: dict[Party, list[Object]] = {}
    for pod in pods:
        if not has_ended(pod):
            found.setdefault(owner_of(pod), []).append(pod)
    named = {
        Party(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in owners
    }
    kinds = {"Pod", "Deployment", "StatefulSet", "ReplicaSet"}
    return Census(
        pods={party: tuple(some) for party, some in found.items()}, owners=named, kinds=kinds
    )


def judge(
    entry: Entry, people: Census, servers: tuple[str, ...], now: World, then: World
) -> Judgement:
    """Judge one caller.

    Args:
        entry: What was seen of it.
        people: Who there is.
        servers: Uids of the server's pods.
        now: The mesh as it is.
        then: The mesh as it would be.
    """
    seen = entry.finding or BY_ADDRESS
    caller = entry.key.caller
    if caller.kind == ADDRESS:
        return _blocks(entry, seen, None)
    if not people.exists(caller):
        return Judgement(entry=entry, state=State.GONE, finding=seen)
    here = people.pods.get(caller, ())
    callers = [pod for pod in here if pod["metadata"]["uid"] in entry.pods]
    if not here:
        return _blocks(entry, seen, None)
    call = Call(servers=servers, port=entry.key.port, host=entry.host)
    findings = [(cause(then, pod, call), pod) for pod in callers or here]
    for finding, pod in findings:
        if finding.reason is not Reason.POD_ADDRESS:
            return _blocks(entry, finding, pod)
    if seen.reason is Reason.POD_ADDRESS:
        if callers:
            return _blocks(entry, seen, callers[0])
        return Judgement(entry=entry, state=State.FIXED, finding=seen)
    present = cause(now, findings[0][1], call)
    if present.reason is not Reason.POD_ADDRESS:
        return Judgement(entry=entry, state=State.FOLLOWS, finding=present)
    return Judgement(entry=entry, state=State.FIXED, finding=seen)


def _blocks(entry: Entry, finding: Finding, pod: Object | None) -> Judgement:
    return Judgement(
        entry=entry, state=State.BLOCKS, finding=finding, remedy=remedy(finding, entry.key, pod)
    )
