"""Do clients send what servers accept?

Every Service, port and workload behind it is put to the evaluator, with clients made up for the
purpose: one for each kind of client there is (mutua.analysis.clients).  What does not work, and
why, is the evaluator's verdict; here it is only told to the author of the object that can be
changed.  Specification: istio-semantics 3.5; IST0113 as Istio once had it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mutua.analysis.clients import callers, followers
from mutua.analysis.codes import CONFLICT, HEADLESS_MIXED, HEADLESS_OFF, NAMESPACE_OFF
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, Origin
from mutua.analysis.peer_authentication import named
from mutua.analysis.pods import PodGroup
from mutua.analysis.rules import origin, services_for
from mutua.analysis.wording import having, listed
from mutua.api.destination import DestinationRule
from mutua.api.security import MutualTlsMode
from mutua.model.inbound import target_port
from mutua.model.service import Service, ServicePort
from mutua.model.workload import Endpoint, Workload
from mutua.policy.connection import Verdict, judge
from mutua.policy.destination_rule import Level
from mutua.policy.inbound import Outcome
from mutua.policy.outbound import Destination, Why
from mutua.policy.peer_authentication import Decision

NO_LABELS: Final[Mapping[str, str]] = {}

PATHS: Final = {
    Level.RULE: "spec.trafficPolicy.tls",
    Level.PORT: "spec.trafficPolicy.portLevelSettings",
    Level.SUBSET: "spec.subsets",
    Level.SUBSET_PORT: "spec.subsets",
}


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield the calls that policies and rules make impossible."""
    unruled = _Findings()
    for rule in mesh.snapshot.destination_rules:
        yield from _of_rule(mesh, rule, unruled)
    for service in mesh.snapshot.services:
        for client in callers(mesh, service):
            for case in _cases(mesh, service, client):
                if not case.verdict.sent.setting.source:
                    unruled.add(mesh, case)
    yield from unruled.messages()


@dataclass(frozen=True, slots=True)
class Case:
    """One call and what becomes of it."""

    service: Service
    port: ServicePort
    group: PodGroup
    verdict: Verdict

    @property
    def place(self) -> str:
        """`web.shop:8000`."""
        return f"{self.service.id.name}.{self.service.id.namespace}:{self.port.number}"


def _cases(
    mesh: Mesh,
    service: Service,
    client: Workload,
    subset: str = "",
    labels: Mapping[str, str] = NO_LABELS,
) -> Iterator[Case]:
    """Yield the calls of one client to every port and workload of a Service, or of a subset."""
    snapshot = mesh.around(service, client.namespace)
    for group in mesh.behind(service):
        if not labels.items() <= group.workload.labels.items():
            continue
        for port in service.ports:
            if (target := target_port(service, port, group.workload)) is None:
                continue
            endpoint = Endpoint(group.workload.address, target, ready=True, workload=group.workload)
            to = Destination(service=service, port=port, endpoint=endpoint, subset=subset)
            yield Case(service, port, group, judge(snapshot, client, to))


def _of_rule(mesh: Mesh, rule: DestinationRule, unruled: "_Findings") -> Iterator[Message]:
    """Yield what a rule makes clients send in vain; one message for each cause.

    Args:
        mesh: The mesh.
        rule: The rule.
        unruled: Takes note of calls of its followers about which no rule says anything.
    """
    own = f"{rule.namespace}/{rule.name}"
    causes: dict[tuple[Level, str, str, str], list[Case]] = defaultdict(list)
    subsets = (("", NO_LABELS), *((one.name, one.labels) for one in rule.subsets))
    calls = (
        case
        for service in services_for(mesh, rule)
        for client in followers(mesh, rule, service)
        for subset, labels in subsets
        for case in _cases(mesh, service, client, subset, labels)
    )
    for case in calls:
        sent = case.verdict.sent
        if not sent.setting.source:
            unruled.add(mesh, case)
        elif case.verdict.works is False and sent.setting.source == own:
            demand = _demand(case.verdict.demanded)
            key = (sent.setting.level, sent.sends.value, demand, case.verdict.outcome.value)
            causes[key].append(case)
    for (level, sends, demand, outcome), cases in causes.items():
        places = listed(sorted({case.place for case in cases}))
        policies = {case.verdict.demanded.policy for case in cases if case.verdict.demanded}
        if not demand:
            bare = sorted({case.group.name for case in cases})
            demand = f"{having(bare)} no sidecar to take it"
        text = f"clients send {sends} to {places}, but {demand}: {outcome}"
        related = tuple(named(policy) for policy in sorted(policies) if policy)
        yield Message(
            code=CONFLICT, origin=origin(rule), text=text, path=PATHS[level], related=related
        )


def _demand(decision: Decision | None) -> str:
    """Return what is demanded and by whom, "" where there is no sidecar."""
    if decision is None:
        return ""
    by = f"PeerAuthentication {decision.policy}" if decision.policy else "the default"
    return f"{by} says {decision.mode.value}"


@dataclass(slots=True)
class _Findings:
    """What goes wrong without any rule, put together by the object to change."""

    off: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    headless: dict[tuple[str, Origin], set[str]] = field(default_factory=lambda: defaultdict(set))
    mixed: dict[Origin, "_Mixed"] = field(default_factory=dict)

    def add(self, mesh: Mesh, case: Case) -> None:
        """Take note of a call, if there is anything to note."""
        verdict, service = case.verdict, mesh.origin(case.service)
        demanded = verdict.demanded
        if verdict.sent.why is Why.NOT_ALL_SIDECARS:
            if service not in self.mixed:
                self.mixed[service] = _mixed(mesh, case.service)
            if verdict.outcome is Outcome.CLOSED and demanded is not None:
                self.mixed[service].refusing.add(demanded.policy)
        elif demanded is None or verdict.works is not False:
            return
        elif verdict.sent.why in {Why.NAMESPACE_DISABLED, Why.AUTO_MTLS_OFF}:
            if demanded.mode is MutualTlsMode.STRICT:
                self.off[demanded.policy, verdict.sent.policy].add(case.place)
        elif verdict.sent.why is Why.ALL_SIDECARS and demanded.mode is MutualTlsMode.DISABLE:
            self.headless[demanded.policy, service].add(case.place)

    def messages(self) -> Iterator[Message]:
        """Yield what was noted."""
        for (strict, disabled), places in self.off.items():
            why = "automatic mTLS is off for the mesh"
            remedy = "write a DestinationRule with ISTIO_MUTUAL, or set enableAutoMtls: true"
            if disabled:
                why = f"PeerAuthentication {disabled} says DISABLE"
                remedy = "let that one say PERMISSIVE or STRICT"
            text = (
                f"sidecars send plaintext to {listed(sorted(places))}, because {why}, and this "
                f"policy refuses it; {remedy}"
            )
            related = (named(disabled),) if disabled else ()
            yield Message(code=NAMESPACE_OFF, origin=named(strict), text=text, related=related)
        for (policy, service), places in self.headless.items():
            text = (
                f"sidecars send mTLS to {listed(sorted(places))} in spite of DISABLE: of a "
                "headless Service they cannot tell endpoints apart; use PERMISSIVE, or DISABLE for "
                "the namespace"
            )
            yield Message(code=HEADLESS_OFF, origin=named(policy), text=text, related=(service,))
        for service, found in self.mixed.items():
            if found.meshed:
                yield found.message(service)


@dataclass(slots=True)
class _Mixed:
    """A headless Service of which some pods have no sidecar.

    Attributes:
        bare: The workloads without.
        meshed: The workloads with.
        refusing: Policies that refuse the plaintext that is then sent to all.
    """

    bare: list[str]
    meshed: list[str]
    refusing: set[str] = field(default_factory=set)

    def message(self, service: Origin) -> Message:
        """Return what to say about the Service."""
        text = (
            f"of this headless Service {having(self.bare)} no sidecar, so sidecars send plaintext "
            f"to {listed(self.meshed)} too"
        )
        policies = sorted(policy for policy in self.refusing if policy)
        if policies:
            text += f", and PeerAuthentication {listed(policies)} refuses it"
        related = tuple(map(named, policies))
        return Message(code=HEADLESS_MIXED, origin=service, text=text, related=related)


def _mixed(mesh: Mesh, service: Service) -> _Mixed:
    groups = mesh.behind(service)
    return _Mixed(
        bare=sorted({one.name for one in groups if not one.is_meshed}),
        meshed=sorted({one.name for one in groups if one.is_meshed}),
    )
