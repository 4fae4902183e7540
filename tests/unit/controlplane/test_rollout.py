"""The order of a change: tables of what is given out when, and properties over all interleavings.

The properties ask the evaluator, a second opinion, what clients send and what servers accept.
"""

import json
from dataclasses import dataclass, field
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mutua.api.destination import DestinationRule, parse_destination_rule
from mutua.api.object import Object
from mutua.api.security import MutualTlsMode, PeerAuthentication, parse_peer_authentication
from mutua.controlplane.checkpoint import Checkpoint, dump, load
from mutua.controlplane.epoch import Epoch, Intent
from mutua.controlplane.rollout import RETURN, Rollout
from mutua.controlplane.rollout_proxy import PATIENCE, SETTLE
from mutua.model.service import Protocol, Service, ServiceName, ServicePort
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload
from mutua.policy.outbound import Destination, what_is_sent
from mutua.policy.peer_authentication import Subject, effective_mode
from mutua.xds.compile.modes import InboundModes
from mutua.xds.compile.stage import PolicySet

D, P, S = MutualTlsMode.DISABLE, MutualTlsMode.PERMISSIVE, MutualTlsMode.STRICT
ROOT = "istio-system"
PORTS = (8080, 9090)
ALL_PORTS = (*PORTS, 7000)


def workload(namespace: str, name: str) -> Workload:
    return Workload(
        uid=name,
        namespace=namespace,
        name=name,
        address="",
        labels={"app": name, "security.istio.io/tlsMode": "istio"},
        service_account=name,
        container_ports={},
    )


def policy(
    mode: MutualTlsMode, namespace: str = ROOT, app: str = "", **ports: MutualTlsMode
) -> PeerAuthentication:
    spec: Object = {"mtls": {"mode": mode.value}}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    if ports:
        spec["portLevelMtls"] = {port.strip("_"): {"mode": of.value} for port, of in ports.items()}
    return parse_peer_authentication({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"namespace": namespace, "name": f"for-{app or 'all'}"},
        "spec": spec,
    })  # fmt: skip


def to_web(name: str) -> DestinationRule:
    return parse_destination_rule({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"host": "web"},
    })  # fmt: skip


class Mesh:
    """A rollout, its pods, and what each proxy has been given and confirmed."""

    def __init__(self, *names: str, first: PolicySet = ()) -> None:
        self.now = 1000.0
        self.written: list[str] = []
        self.rollout = self._begin(None)
        self.workloads = {name: workload("shop", name) for name in names}
        self.generation = 0
        self.rollout.aim(first, (), ROOT)
        self.epoch = self.step()
        self.now += RETURN
        for name in names:
            self.rollout.add(name)
            self.confirm(name)
        self.settle()

    def _begin(self, kept: Checkpoint | None) -> Rollout:
        rollout = Rollout(kept)
        rollout.on_checkpoint = lambda one: self.written.append(json.dumps(dump(one)))
        return rollout

    def die(self) -> None:
        """The control plane is gone; another one begins where the file says, and knows nobody."""
        self.rollout = self._begin(load(json.loads(self.written[-1])))
        self.generation = 0

    def restart(self, *policies: PeerAuthentication) -> Epoch:
        """Die, and return the first epoch of the next life, in which users want this."""
        self.die()
        first = self.aim(*policies)
        for name in self.workloads:
            self.rollout.add(name)
        self.step()
        return first

    def aim(self, *policies: PeerAuthentication, rules: tuple[DestinationRule, ...] = ()) -> Epoch:
        self.rollout.aim(policies, rules, ROOT)
        return self.step()

    def step(self) -> Epoch:
        """Advance, and publish if there is something new, as the control plane does."""
        before = self.generation and self.epoch
        self.epoch = self.rollout.advance(self.workloads, self.now)
        if self.epoch is not before:
            self.generation += 1
            self.rollout.published(self.generation, self.now)
        return self.epoch

    def confirm(self, *names: str) -> bool:
        said = [
            self.rollout.report(name, generation=self.generation, refuses=False, now=self.now)
            for name in names
        ]
        return any(said)

    def settle(self) -> Epoch:
        self.now += SETTLE
        return self.step()

    def modes(self, name: str) -> MutualTlsMode:
        return self.epoch.acceptance.workload(self.workloads[name]).default


def test_clients_wait_for_a_server_that_is_to_let_in_what_it_has_refused() -> None:
    mesh = Mesh("web", first=(policy(D), policy(S, "shop", "web")))

    first = mesh.aim(policy(D), policy(P, "shop", "web"))
    assert first.dial is not first.target

    mesh.confirm("web")
    assert mesh.settle().dial is first.target


@pytest.mark.parametrize(("before", "after", "epochs"), [
    # what servers let in, and what clients go by, epoch by epoch
    (P, S, [(S, S)]),
    (S, P, [(P, P)]),
    (D, P, [(P, D), (P, P), (P, P)]),
    (P, D, [(P, P), (P, D), (D, D)]),
    (D, S, [(P, D), (P, S), (S, S)]),
    (S, D, [(P, S), (P, D), (D, D)]),
])  # fmt: skip
def test_servers_are_first_to_accept_and_last_to_refuse(
    before: MutualTlsMode,
    after: MutualTlsMode,
    epochs: list[tuple[MutualTlsMode, MutualTlsMode]],
) -> None:
    mesh = Mesh("web", "client", first=(policy(before),))
    mesh.aim(policy(after))
    seen = []
    for _ in epochs:
        seen.append((mesh.modes("web"), mesh.epoch.dial.policies[0].mode))
        mesh.confirm("web", "client")
        mesh.settle()
    assert seen == epochs
    assert mesh.rollout.due is None
    assert mesh.epoch.is_exact(mesh.workloads["web"])


def test_a_change_that_clients_do_not_notice_waits_for_nobody() -> None:
    mesh = Mesh("web", "stuck", first=(policy(P),))
    assert mesh.aim(policy(S)).is_exact(mesh.workloads["web"])
    assert mesh.rollout.due is None


def test_a_confirmation_counts_a_moment_later() -> None:
    mesh = Mesh("web", first=(policy(D),))
    first = mesh.aim(policy(P))
    assert mesh.confirm("web")
    assert mesh.rollout.due == mesh.now + SETTLE
    assert mesh.step() is first
    assert mesh.settle() is not first


@pytest.mark.parametrize("modes", list(permutations((D, P, S), 2)))
def test_a_silent_proxy_is_waited_for_up_to_the_deadline(
    modes: tuple[MutualTlsMode, MutualTlsMode],
) -> None:
    before, after = modes
    mesh = Mesh("web", "silent", first=(policy(before),))
    mesh.aim(policy(after))
    for _ in range(3):
        mesh.confirm("web")
        mesh.settle()
    if mesh.rollout.due is not None:
        mesh.now = mesh.rollout.due
        assert mesh.now >= 1000 + RETURN + PATIENCE
        for _ in range(3):
            mesh.step()
            mesh.confirm("web")
            mesh.settle()
    assert mesh.epoch.is_exact(mesh.workloads["web"])
    assert mesh.epoch.dial.policies[0].mode is after
    since = mesh.epoch.target.number
    assert mesh.rollout.enforces(mesh.workloads["web"], since, mesh.now)
    assert not mesh.rollout.enforces(mesh.workloads["silent"], since, mesh.now)


def test_who_is_not_waited_for_holds_up_no_later_change() -> None:
    mesh = Mesh("web", "silent", first=(policy(D),))
    mesh.aim(policy(P))
    mesh.confirm("web")
    mesh.now += PATIENCE
    for mode in (S, D, P):
        mesh.aim(policy(mode))
        for _ in range(3):
            mesh.confirm("web")
            mesh.settle()
        assert mesh.epoch.dial is mesh.epoch.target
        assert not mesh.epoch.former
    assert mesh.rollout.is_left_behind("silent", mesh.now)


def test_a_proxy_that_is_back_is_waited_for_again() -> None:
    mesh = Mesh("web", "client", first=(policy(D),))
    mesh.aim(policy(P))
    mesh.confirm("web")
    mesh.now += PATIENCE
    mesh.step()
    mesh.confirm("web", "client")
    assert not mesh.rollout.is_left_behind("client", mesh.now)
    mesh.settle()
    mesh.confirm("web", "client")
    mesh.settle()
    mesh.aim(policy(D))
    mesh.confirm("web")
    mesh.settle()
    assert mesh.epoch.dial.policies[0].mode is P


def test_a_further_change_takes_the_place_of_the_one_under_way() -> None:
    mesh = Mesh("web", "stuck", first=(policy(D),))
    mesh.aim(policy(P))
    mesh.aim(policy(S))
    mesh.confirm("web", "stuck")
    mesh.settle()
    assert mesh.epoch.dial.policies[0].mode is S


def test_a_pod_that_is_gone_is_not_waited_for() -> None:
    mesh = Mesh("web", "gone", first=(policy(D),))
    mesh.aim(policy(S))
    mesh.confirm("web")
    del mesh.workloads["gone"]
    assert mesh.rollout.remove("gone")
    mesh.settle()
    assert mesh.epoch.dial.policies[0].mode is S


def test_a_new_pod_gets_the_present_epoch_and_holds_up_nothing_before_it_is_there() -> None:
    mesh = Mesh("web", first=(policy(D),))
    mesh.workloads["new"] = workload("shop", "new")
    mesh.rollout.add("new")
    mesh.aim(policy(S))
    mesh.rollout.report("new", generation=0, refuses=False, now=mesh.now)
    mesh.confirm("web")
    mesh.settle()
    assert mesh.epoch.dial.policies[0].mode is S
    mesh.confirm("web")
    mesh.settle()
    assert mesh.modes("web") is P  # the new one has a configuration by now, and may dial by it
    mesh.confirm("new")
    mesh.settle()
    assert mesh.modes("new") is S


def test_after_a_restart_proxies_may_have_any_configuration() -> None:
    rollout = Rollout()
    workloads = {"old": workload("shop", "old")}
    rollout.add("old")
    rollout.aim((policy(D),), (), ROOT)
    rollout.advance(workloads, 0.0)
    rollout.published(1, 0.0)
    rollout.aim((policy(S),), (), ROOT)
    assert rollout.advance(workloads, 1.0).dial.policies[0].mode is D
    assert rollout.due == RETURN
    assert rollout.advance(workloads, RETURN).dial.policies[0].mode is S


def test_a_server_that_refuses_its_listener_holds_up_nobody() -> None:
    mesh = Mesh("web", "refusing", first=(policy(D),))
    mesh.aim(policy(S))
    mesh.confirm("web")
    assert mesh.rollout.report("refusing", generation=mesh.generation, refuses=True, now=mesh.now)
    mesh.settle()
    assert mesh.epoch.dial.policies[0].mode is S


def test_a_stricter_mode_waits_for_clients_whose_rules_have_changed() -> None:
    """A DestinationRule that switched mTLS off may still be in force on a client."""
    mesh = Mesh("web", "client", first=(policy(P),))
    off = to_web("off")
    mesh.rollout.aim(mesh.epoch.target.policies, (off,), ROOT)
    mesh.step()
    mesh.confirm("web", "client")
    mesh.settle()
    mesh.aim(policy(S))
    assert mesh.modes("web") is P
    mesh.confirm("web", "client")
    mesh.settle()
    assert mesh.modes("web") is S


@pytest.mark.parametrize(
    "after", [policy(D), policy(D, "shop", "web"), policy(P, "shop", "web", _8080=D)]
)
def test_a_mode_that_is_switched_off_together_with_a_change_of_rules_comes_into_force(
    after: PeerAuthentication,
) -> None:
    mesh = Mesh("web", "client")
    mesh.aim(after, rules=(to_web("x"),))
    for _ in range(3):
        mesh.confirm("web", "client")
        mesh.settle()
    assert mesh.epoch.dial is mesh.epoch.target
    assert mesh.epoch.is_exact(mesh.workloads["web"])
    assert mesh.rollout.due is None


def test_rules_alone_change_no_listener() -> None:
    mesh = Mesh("web", first=(policy(P),))
    rule_ = to_web("x")
    policies = mesh.epoch.target.policies
    mesh.rollout.aim(policies, (rule_,), ROOT)
    before = mesh.epoch.acceptance.workload(mesh.workloads["web"])
    mesh.step()
    assert mesh.epoch.acceptance.workload(mesh.workloads["web"]) == before
    assert mesh.epoch.dial.rules == (rule_,)
    assert mesh.rollout.due is None
    assert not mesh.rollout.dials(mesh.workloads["web"], mesh.epoch.dial.number, mesh.now)
    mesh.confirm("web")
    mesh.settle()
    assert mesh.rollout.dials(mesh.workloads["web"], mesh.epoch.dial.number, mesh.now)


def test_another_root_namespace_is_one_step() -> None:
    mesh = Mesh("web", first=(policy(D),))
    mesh.rollout.aim(mesh.epoch.target.policies, (), "elsewhere")
    mesh.step()
    assert mesh.modes("web") is P
    assert mesh.epoch.dial is mesh.epoch.target
    assert mesh.rollout.due is None


def test_a_restart_at_rest_is_no_news() -> None:
    mesh = Mesh("web", "client", first=(policy(S),))
    mesh.rollout.save(mesh.now)
    written = mesh.written[-1]
    first = mesh.restart(policy(S))
    assert first is mesh.epoch
    assert mesh.epoch.target is mesh.epoch.dial is mesh.rollout.target
    assert mesh.rollout.due is None
    assert not mesh.rollout.enforces(mesh.workloads["web"], first.target.number, mesh.now)
    mesh.confirm("web", "client")
    mesh.settle()
    assert mesh.rollout.enforces(mesh.workloads["web"], first.target.number, mesh.now)
    assert mesh.written[-1] == written


STAGES = [(P, D), (P, S), (S, S)]
"""From DISABLE to STRICT: what servers let in, and what clients go by."""


@pytest.mark.parametrize("confirmed", [0, 1, 2])
def test_a_change_goes_on_in_the_stage_in_which_it_was_interrupted(confirmed: int) -> None:
    mesh = Mesh("web", "client", first=(policy(D),))
    mesh.aim(policy(S))
    for _ in range(confirmed):
        mesh.confirm("web", "client")
        mesh.settle()
    mesh.restart(policy(S))
    seen = []
    for _ in STAGES[confirmed:]:
        seen.append((mesh.modes("web"), mesh.epoch.dial.policies[0].mode))
        mesh.confirm("web", "client")
        mesh.settle()
    assert seen == STAGES[confirmed:]
    assert mesh.epoch.is_exact(mesh.workloads["web"])
    assert mesh.rollout.due is None


def test_a_proxy_that_does_not_come_back_after_a_restart_is_waited_for_ten_seconds() -> None:
    mesh = Mesh("web", "gone", first=(policy(D),))
    mesh.aim(policy(S))
    mesh.restart(policy(S))
    back = mesh.now
    mesh.confirm("web")
    assert mesh.settle().dial is not mesh.epoch.target
    assert mesh.rollout.due == back + RETURN
    mesh.now = back + RETURN
    assert mesh.step().dial is mesh.epoch.target
    mesh.confirm("web")
    assert mesh.settle().is_exact(mesh.workloads["web"])


def test_a_proxy_that_keeps_silent_after_a_restart_keeps_plaintext_open_for_a_minute() -> None:
    mesh = Mesh("web", "silent", first=(policy(D),))
    mesh.aim(policy(S))
    mesh.confirm("web", "silent")
    mesh.settle()
    mesh.restart(policy(S))
    mesh.confirm("web")
    mesh.rollout.report("silent", generation=0, refuses=False, now=mesh.now)
    mesh.settle()
    assert mesh.modes("web") is P
    back, mesh.now = mesh.now - SETTLE, mesh.now - SETTLE + PATIENCE
    assert mesh.rollout.due == back + PATIENCE
    mesh.step()
    assert mesh.modes("web") is S


def test_a_proxy_of_an_earlier_life_is_waited_for_before_it_is_served() -> None:
    """After a start, pods are adopted one by one while the control plane runs already."""
    mesh = Mesh("web", first=(policy(D),))
    mesh.aim(policy(S))
    mesh.die()
    mesh.aim(policy(S))
    assert mesh.step().dial is not mesh.rollout.target
    assert mesh.rollout.due == mesh.now + RETURN


def test_what_was_tightened_meanwhile_comes_into_force_by_the_usual_stages() -> None:
    mesh = Mesh("web", "client", first=(policy(D),))
    mesh.aim(policy(P))
    first = mesh.restart(policy(S))
    since = mesh.rollout.target.number
    assert first.target is not mesh.rollout.target
    assert not mesh.rollout.dials(mesh.workloads["client"], since, mesh.now)
    seen = []
    for _ in range(3):
        seen.append((mesh.modes("web"), mesh.epoch.dial.policies[0].mode))
        mesh.confirm("web", "client")
        assert not mesh.rollout.enforces(mesh.workloads["web"], since, mesh.now)
        mesh.settle()
    assert seen == [(P, D), (P, S), (S, S)]
    assert mesh.rollout.enforces(mesh.workloads["web"], since, mesh.now)


def test_a_client_that_may_still_go_by_former_rules_is_heard_after_a_restart() -> None:
    mesh = Mesh("web", "slow", first=(policy(P),))
    mesh.aim(policy(P), rules=(to_web("off"),))
    mesh.confirm("web", "slow")
    mesh.settle()
    mesh.aim(policy(P))
    mesh.confirm("web")
    mesh.settle()
    assert not mesh.epoch.former  # PERMISSIVE hears everything
    mesh.restart(policy(S))
    assert mesh.modes("web") is P
    mesh.confirm("web", "slow")
    mesh.settle()
    assert mesh.modes("web") is S


def test_what_everybody_has_left_behind_is_forgotten_in_writing() -> None:
    mesh = Mesh("web", first=(policy(P),))
    mesh.aim(policy(P), rules=(to_web("off"),))
    mesh.aim(policy(P))
    mesh.confirm("web")
    mesh.now += SETTLE
    mesh.rollout.save(mesh.now)
    mesh.restart(policy(S))
    assert mesh.modes("web") is S


def test_another_root_namespace_after_a_restart_is_one_step() -> None:
    mesh = Mesh("web", first=(policy(D),))
    mesh.die()
    mesh.rollout.aim((policy(D),), (), "elsewhere")
    mesh.step()
    assert mesh.modes("web") is P
    assert mesh.rollout.due is None


# The properties.

MODES = st.sampled_from([D, P, S])


@st.composite
def policy_sets(draw: st.DrawFn) -> PolicySet:
    made = []
    if draw(st.booleans()):
        made.append(policy(draw(MODES)))
    if draw(st.booleans()):
        made.append(policy(draw(MODES), "shop"))
    if draw(st.booleans()):
        ports = {f"_{port}": draw(MODES) for port in PORTS if draw(st.booleans())}
        made.append(policy(draw(MODES), "shop", "web", **ports))
    return tuple(made)


def sends_mutual_tls(intent: Intent, server: Workload, port: int) -> bool:
    endpoint = Endpoint("10.0.0.1", port, ready=True, workload=server)
    service_port = ServicePort(number=port, name="", protocol=Protocol.TCP, target=port)
    service = Service(
        id=ServiceName(server.namespace, server.name),
        hostname=f"{server.name}.{server.namespace}.svc.cluster.local",
        created="",
        addresses=("10.96.0.9",),
        ports=(service_port,),
        selector={},
    )
    mesh = MeshSnapshot(
        settings=MeshSettings(),
        services=(service,),
        workloads={server.uid: server},
        endpoints={service.id: {port: (endpoint,)}},
        inbound_ports={},
        peer_authentications=intent.policies,
    )
    to = Destination(service=service, port=service_port, endpoint=endpoint)
    return what_is_sent(mesh, workload("far", "caller"), to).mutual_tls


def accepts(mode: MutualTlsMode, *, mutual_tls: bool) -> bool:
    return mode is P or mode is (S if mutual_tls else D)


def demanded(intent: Intent, server: Workload, port: int) -> MutualTlsMode:
    subject = Subject(namespace=server.namespace, labels=server.labels, port=port)
    return effective_mode(intent.policies, subject, root_namespace=ROOT).mode


@dataclass
class Given:
    """What one proxy was given, oldest first; it uses one of these, and has confirmed the first."""

    epochs: list[tuple[int, Epoch]] = field(default_factory=list)


class Interleavings(RuleBasedStateMachine):
    """Whatever is confirmed in whatever order, every client is heard by every server."""

    @initialize(first=policy_sets())
    def start(self, first: PolicySet) -> None:
        self.mesh = Mesh("web", "other", "client", first=first)
        self.sent: dict[Intent, list[tuple[str, int, bool]]] = {}
        self.wish = first
        self.given = {name: Given([self._newest()]) for name in self.mesh.workloads}

    def _newest(self) -> tuple[int, Epoch]:
        return self.mesh.generation, self.mesh.epoch

    def _step(self) -> None:
        before = self.mesh.epoch
        if self.mesh.step() is not before:
            self._give()

    def _give(self) -> None:
        for given in self.given.values():
            given.epochs.append(self._newest())

    @rule(policies=policy_sets())
    def change(self, policies: PolicySet) -> None:
        self.wish = policies
        self.mesh.rollout.aim(policies, (), ROOT)
        self._step()

    @rule(
        wish=st.none() | policy_sets(),
        unpublished=st.none() | policy_sets(),
        again=st.booleans(),
    )
    def die(self, wish: PolicySet | None, unpublished: PolicySet | None, *, again: bool) -> None:
        """The control plane dies, perhaps while it gives an epoch out, perhaps twice in a row.

        Args:
            wish: What users want when it is back, None for the same as before.
            unpublished: For what an epoch is written down that nobody is given, None for nothing.
            again: It dies once more when it has given out where the one before was.
        """
        if unpublished is not None:
            self.wish = unpublished
            self.mesh.rollout.aim(unpublished, (), ROOT)
            self.mesh.rollout.advance(self.mesh.workloads, self.mesh.now)
        for given in self.given.values():
            given.epochs[:] = [(0, epoch) for _, epoch in given.epochs]
        self.wish = self.wish if wish is None else wish
        for _ in range(1 + again):
            self.mesh.die()
            self.mesh.aim(*self.wish)
            self._give()
        for name in self.mesh.workloads:
            self.mesh.rollout.add(name)
        self._step()

    @rule(name=st.sampled_from(["web", "other", "client"]), skipped=st.integers(0, 2))
    def confirm(self, name: str, skipped: int) -> None:
        """The proxy goes on to one of the epochs that it was given, and says so."""
        given = self.given[name].epochs
        given[:] = given[min(skipped, len(given) - 1) :]
        generation, _ = given[0]
        self.mesh.rollout.report(name, generation=generation, refuses=False, now=self.mesh.now)

    @rule(slow=st.sampled_from(["web", "other", "client", ""]))
    def all_but_one_catch_up(self, slow: str) -> None:
        for name in self.mesh.workloads:
            if name != slow:
                self.confirm(name, skipped=len(self.given[name].epochs))
        self.mesh.now += SETTLE
        self._step()

    @rule()
    def a_moment_passes(self) -> None:
        self.mesh.now += SETTLE / 2
        self._step()

    @rule()
    def wait_for_what_is_due(self) -> None:
        due = self.mesh.rollout.due
        if due is not None and due < self.mesh.now + 1:
            self.mesh.now = max(due, self.mesh.now)
            self._step()

    @precondition(lambda self: hasattr(self, "mesh"))
    @invariant()
    def every_client_is_heard(self) -> None:
        epochs = {epoch for given in self.given.values() for _, epoch in given.epochs}
        sent = {kind for intent in {epoch.dial for epoch in epochs} for kind in self._sent(intent)}
        for name, port, mutual_tls in sent:
            for listener in self._listeners(name):
                assert accepts(listener.of(port), mutual_tls=mutual_tls)

    @precondition(lambda self: hasattr(self, "mesh"))
    @invariant()
    def in_force_is_never_said_too_early(self) -> None:
        target = self.mesh.rollout.target
        for name, server in self.mesh.workloads.items():
            if self.mesh.rollout.enforces(server, target.number, self.mesh.now):
                for listener in self._listeners(name):
                    assert [listener.of(port) for port in ALL_PORTS] == [
                        demanded(target, server, port) for port in ALL_PORTS
                    ]

    def _listeners(self, name: str) -> set[InboundModes]:
        server = self.mesh.workloads[name]
        return {epoch.acceptance.workload(server) for _, epoch in self.given[name].epochs}

    def _sent(self, intent: Intent) -> list[tuple[str, int, bool]]:
        """Return what clients that go by an intent send where, and mean to be accepted."""
        if intent not in self.sent:
            self.sent[intent] = [
                (name, port, mutual_tls)
                for name, server in self.mesh.workloads.items()
                for port in ALL_PORTS
                for mutual_tls in (sends_mutual_tls(intent, server, port),)
                if accepts(demanded(intent, server, port), mutual_tls=mutual_tls)
            ]
        return self.sent[intent]

    def teardown(self) -> None:
        """Whatever happened, once everybody has confirmed, exactly the policies are in force."""
        if not hasattr(self, "mesh"):
            return
        for _ in range(5):
            self.mesh.confirm(*self.mesh.workloads)
            self.mesh.settle()
        assert self.mesh.epoch.target is self.mesh.epoch.dial is self.mesh.rollout.target
        kept = load(json.loads(self.mesh.written[-1]))
        assert [one.policies for one in kept.dials] == [self.wish]
        assert all(self.mesh.epoch.is_exact(one) for one in self.mesh.workloads.values())
        assert self.mesh.rollout.due is None


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
