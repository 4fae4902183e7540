"""The waves of `strict apply`: one after the other, each only if it is (still) safe.

A wave is planned anew right before it starts, from what the ledger knows by then.  The first one
that does not hold ends it: later ones do not start, earlier ones stay.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mutua.api.object import Object
from mutua.cli.strict.judge import Judgement
from mutua.cli.strict.roll import Outcome, Wave
from mutua.cli.strict.survey import Plan, Survey, Verdict
from mutua.controlplane.strict.change import Scope, policy_to_change, strict_policy
from mutua.foundation.errors import Rejected


class Roller(Protocol):
    """Makes one scope STRICT; see `mutua.cli.strict.roll.Roll`."""

    def run(self, scope: Scope, title: str, policies: list[Object]) -> Wave:
        """Write the policy and wait for the outcome."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """What is to become STRICT, in order.

    Attributes:
        scopes: What, and how it is called.
        survey: Reads the mesh.
        force: Go on although somebody would be refused.
    """

    scopes: Sequence[tuple[Scope, str]]
    survey: Callable[[], Survey]
    force: bool = False

    def preview(self, survey: Survey) -> Iterator[str]:
        """Yield what would be written, a line per wave."""
        if not self.scopes:
            yield "nothing has a sidecar: there is nothing to switch"
        for number, (scope, title) in enumerate(self.scopes, start=1):
            plan = survey.plan([scope])
            yield f"wave {number}: {title}: {_change(survey, scope, plan)}"

    def check(self, survey: Survey) -> None:
        """Refuse to start when somebody known would be refused.

        Raises:
            Rejected: Somebody would be; names them.
        """
        blockers = survey.plan([scope for scope, _ in self.scopes]).blockers
        if blockers and not self.force:
            raise Rejected(
                f"NOT READY: {_named(blockers)} would be refused",
                hint="mutua strict plan says why and what to do; --force switches nevertheless",
            )

    def run(self, roll: Roller) -> tuple[list[Wave], bool]:
        """Run the waves; return them, and whether somebody interrupted."""
        done: list[Wave] = []
        for scope, title in self.scopes:
            if done and done[-1].outcome not in {Outcome.HELD, Outcome.NOTHING}:
                done.append(Wave(title=title))
                continue
            survey = self.survey()
            plan = survey.plan([scope])
            if not plan.changes:
                done.append(Wave(title=title, outcome=Outcome.NOTHING))
            elif plan.blockers and not self.force:
                why = f"{_named(plan.blockers)} would be refused"
                done.append(Wave(title=title, outcome=Outcome.NOT_READY, why=why))
            else:
                try:
                    done.append(roll.run(scope, title, list(survey.policies)))
                except KeyboardInterrupt:
                    done.append(Wave(title=title, outcome=Outcome.INTERRUPTED))
        return done, any(wave.outcome is Outcome.INTERRUPTED for wave in done)


def _change(survey: Survey, scope: Scope, plan: Plan) -> str:
    ports = sum(one.verdict in {Verdict.READY, Verdict.NOT_READY} for one in plan.ports)
    if not ports:
        return "nothing to do"
    found = policy_to_change(survey.policies, scope)
    policy = strict_policy(survey.policies, scope)
    name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
    if found is None:
        change = f"create PeerAuthentication {name}, STRICT"
    else:
        mode = ((found.get("spec") or {}).get("mtls") or {}).get("mode") or "UNSET"
        change = f"change PeerAuthentication {name} from {mode} to STRICT"
    return f"{change}, for {ports} port{'s' * (ports != 1)}"


def _named(blockers: Sequence[Judgement]) -> str:
    names = list(dict.fromkeys(one.entry.key.caller.short for one in blockers))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
