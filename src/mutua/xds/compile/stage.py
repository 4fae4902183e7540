"""How far is a change of policies?  What servers let in and what clients send, as two things.

A mode is changed in an order: servers first let in what clients are about to send, then clients
send it, then servers refuse what nobody sends any more.  A `Stage` is one moment of that order;
`controlplane.rollout` decides which one it is.  At rest, servers and clients go by the same set.
"""

from dataclasses import dataclass

from mutua.api.security import PeerAuthentication

PolicySet = tuple[PeerAuthentication, ...]
"""All PeerAuthentications of the mesh at one instant; compared by identity."""


@dataclass(frozen=True, slots=True)
class Former:
    """A set by which some client may still go.

    Attributes:
        policies: The set.
        anything: Clients may send all that servers accepted under it, not only what the set itself
            makes them send: their DestinationRules have changed since.
    """

    policies: PolicySet
    anything: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """What servers and clients go by at one moment.

    Attributes:
        target: What servers are to enforce.
        dial: What clients go by.
        former: Sets by which clients may go as well; servers let in what those clients send.
    """

    target: PolicySet
    dial: PolicySet
    former: tuple[Former, ...] = ()


def at_rest(policies: PolicySet) -> Stage:
    """Return the stage in which everybody goes by one set."""
    return Stage(policies, policies)
