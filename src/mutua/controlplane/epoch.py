"""The moments that a change of policies is made of, as values: see `rollout`."""

from collections.abc import Iterable
from dataclasses import dataclass

from mutua.api.destination import DestinationRule
from mutua.model.workload import Workload
from mutua.xds.compile.modes import Acceptance, ModeIndex
from mutua.xds.compile.stage import Former, PolicySet, Stage


@dataclass(frozen=True, slots=True, eq=False)
class Intent:
    """What users want at one instant; compared by identity.

    Attributes:
        number: Rises with every intent.
        policies: The PeerAuthentications.
        rules: The DestinationRules: what clients send depends on them too.
        root: The root namespace, by which policies are read.
        modes: The policies, digested.
    """

    number: int
    policies: PolicySet
    rules: tuple[DestinationRule, ...]
    root: str
    modes: ModeIndex


@dataclass(slots=True, eq=False)
class Epoch:
    """A stage that proxies were given, and when.

    Attributes:
        number: Rises with every epoch.
        target: What servers are to enforce.
        dial: What clients go by.
        former: By which clients may go as well.
        stage: The same for the compiler.
        acceptance: What servers let in.
        generation: First generation of the mesh that was published with it, 0 before that.
        since: When that was.
    """

    number: int
    target: Intent
    dial: Intent
    former: tuple[Intent, ...]
    stage: Stage
    acceptance: Acceptance
    generation: int = 0
    since: float = 0.0

    def is_exact(self, workload: Workload) -> bool:
        """Tell whether a server lets in what its policies say, and no more."""
        if not self.former:
            return True
        found, wanted = self.acceptance.workload(workload), self.target.modes.workload(workload)
        return (found.default, found.ports) == (wanted.default, wanted.ports)


def intent_of(
    number: int, policies: PolicySet, rules: tuple[DestinationRule, ...], root: str
) -> Intent:
    """Return an intent; see its attributes."""
    return Intent(number, policies, rules, root, ModeIndex(policies, root))


def stage_of(target: Intent, dial: Intent, former: Iterable[Intent]) -> Stage:
    """Return what the compiler needs to know of an epoch."""
    remembered = (Former(one.policies, one.rules is not target.rules) for one in former)
    return Stage(target.policies, dial.policies, tuple(remembered))
