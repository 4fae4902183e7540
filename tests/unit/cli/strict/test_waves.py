"""One wave after the other, and none after one that did not hold."""

from dataclasses import dataclass, field

import pytest

from mutua.api.object import NAMESPACES, PEER_AUTHENTICATIONS, PLAINTEXT_CALLERS, Object
from mutua.cli.strict import report
from mutua.cli.strict.roll import Outcome, Wave
from mutua.cli.strict.survey import READ, Survey
from mutua.cli.strict.waves import Waves
from mutua.controlplane.ledger.cause import Finding, Reason
from mutua.controlplane.ledger.ledger import Entry, Key
from mutua.controlplane.ledger.party import Party
from mutua.controlplane.ledger.record import to_object
from mutua.controlplane.strict.change import Scope, strict_policy
from mutua.foundation.errors import Rejected
from mutua.testing.clock import START
from mutua.testing.mesh import by_resource, namespace, pod

NAMES = ("a", "b", "c")


@dataclass
class Paper:
    """A mesh on paper: three namespaces with a pod each, and a roller that writes at once."""

    outcomes: dict[str, Outcome | type[BaseException]] = field(default_factory=dict)
    ledger: list[Object] = field(default_factory=list)
    policies: list[Object] = field(default_factory=list)
    after: dict[str, Entry] = field(default_factory=dict)
    rolled: list[str] = field(default_factory=list)

    def survey(self) -> Survey:
        plain = pod("street", "plain", "10.244.0.9", meshed=False)
        pods = [pod(name, "web", f"10.244.0.{i}") for i, name in enumerate(NAMES, start=2)]
        known = {resource: [] for resource in READ} | by_resource(*pods, plain)
        known[NAMESPACES] = [namespace(name) for name in (*NAMES, "street")]
        known[PEER_AUTHENTICATIONS] = self.policies
        known[PLAINTEXT_CALLERS] = self.ledger
        return Survey(known, START)

    def run(self, scope: Scope, title: str, policies: list[Object]) -> Wave:
        self.rolled.append(scope.namespace)
        outcome = self.outcomes.get(scope.namespace, Outcome.HELD)
        if not isinstance(outcome, Outcome):
            raise outcome
        if outcome is Outcome.HELD:
            self.policies.append(strict_policy(policies, scope))
        if scope.namespace in self.after:
            self.ledger.append(to_object(self.after[scope.namespace]))
        return Wave(title=title, policy=f"{scope.namespace}/default", outcome=outcome)

    def waves(self, *, force: bool = False) -> Waves:
        scopes = [(Scope(namespace=name), name) for name in NAMES]
        return Waves(scopes=scopes, survey=self.survey, force=force)


def caller(of: str) -> Entry:
    key = Key(Party("Pod", of, "web"), 8080, Party("Pod", "street", "plain"))
    finding = Finding(reason=Reason.NO_SIDECAR, message="…")
    return Entry(key=key, first_seen=START, last_seen=START, count=1, finding=finding)


def outcomes(paper: Paper, *, force: bool = False) -> list[Outcome]:
    done, _ = paper.waves(force=force).run(paper)
    return [one.outcome for one in done]


def test_all_waves_hold() -> None:
    paper = Paper()

    assert outcomes(paper) == [Outcome.HELD] * 3
    assert paper.rolled == list(NAMES)
    assert outcomes(paper) == [Outcome.NOTHING] * 3
    assert paper.rolled == list(NAMES)


@pytest.mark.parametrize("outcome", [Outcome.REVERTED, Outcome.ABANDONED])
def test_after_one_that_does_not_hold_none_starts(outcome: Outcome) -> None:
    paper = Paper(outcomes={"b": outcome})
    done, interrupted = paper.waves().run(paper)

    assert [one.outcome for one in done] == [Outcome.HELD, outcome, Outcome.WAITING]
    assert not interrupted
    assert not report.is_good(done)
    assert report.verdict(done) == f"stopped at b: {outcome.value}; 1 before it stay STRICT"


def test_an_interruption_ends_it_and_is_reported() -> None:
    done, interrupted = (
        Paper(outcomes={"a": KeyboardInterrupt})
        .waves()
        .run(Paper(outcomes={"a": KeyboardInterrupt}))
    )

    assert interrupted
    assert [one.outcome for one in done] == [
        Outcome.INTERRUPTED, Outcome.WAITING, Outcome.WAITING,
    ]  # fmt: skip


def test_it_goes_on_where_it_stopped() -> None:
    paper = Paper(outcomes={"b": Outcome.REVERTED})
    outcomes(paper)
    paper.outcomes.clear()

    assert outcomes(paper) == [Outcome.NOTHING, Outcome.HELD, Outcome.HELD]


def test_whoever_shows_up_meanwhile_stops_the_next_wave() -> None:
    paper = Paper(after={"a": caller("b")})

    assert outcomes(paper) == [Outcome.HELD, Outcome.NOT_READY, Outcome.WAITING]


def test_it_does_not_begin_while_somebody_would_be_refused_unless_forced() -> None:
    paper = Paper(ledger=[to_object(caller("c"))])

    with pytest.raises(Rejected, match=r"NOT READY: pod/plain\.street"):
        paper.waves().check(paper.survey())
    paper.waves(force=True).check(paper.survey())
    assert outcomes(paper, force=True) == [Outcome.HELD] * 3


def test_the_preview_says_what_would_be_written() -> None:
    paper = Paper()
    paper.policies.append(strict_policy([], Scope(namespace="b")))

    assert list(paper.waves().preview(paper.survey())) == [
        "wave 1: a: create PeerAuthentication a/default, STRICT, for 1 port",
        "wave 2: b: nothing to do",
        "wave 3: c: create PeerAuthentication c/default, STRICT, for 1 port",
    ]
