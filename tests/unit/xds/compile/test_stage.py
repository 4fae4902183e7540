"""What servers let in while a mode changes: their policy, and what clients may still send."""

import pytest

from mutua.api.object import PEER_AUTHENTICATIONS, PODS
from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.build import build_snapshot
from mutua.model.workload import Workload
from mutua.testing.mesh import peer_authentication, pod
from mutua.xds.compile import compile_proxy
from mutua.xds.compile.compiler import Compiler
from mutua.xds.compile.modes import Acceptance, InboundModes
from mutua.xds.compile.stage import Former, PolicySet, Stage, at_rest
from mutua.xds.proto import Listener
from mutua.xds.resource import LISTENER

D, P, S = MutualTlsMode.DISABLE, MutualTlsMode.PERMISSIVE, MutualTlsMode.STRICT
ROOT = "istio-system"
WEB = Workload(
    uid="u",
    namespace="shop",
    name="web",
    address="",
    labels={"app": "web"},
    service_account="web",
    container_ports={},
)


def namespace_wide(mode: MutualTlsMode) -> PolicySet:
    return (PeerAuthentication(namespace="shop", name="all", mode=mode),)


def port_level(mode: MutualTlsMode, ports: dict[int, MutualTlsMode]) -> PolicySet:
    selector = {"app": "web"}
    return (
        PeerAuthentication(
            namespace="shop", name="web", mode=mode, port_modes=ports, selector=selector
        ),
    )


def accepted(target: PolicySet, *former: Former, dial: PolicySet = ()) -> InboundModes:
    return Acceptance(Stage(target, dial or target, former), ROOT).workload(WEB)


@pytest.mark.parametrize(("before", "target", "mode", "overlap"), [
    (D, P, P, True),
    (D, S, P, True),
    (P, D, P, True),
    (S, D, P, True),
    (P, S, S, False),  # clients sent mTLS before: nothing to wait for
    (S, P, P, False),
])  # fmt: skip
def test_a_server_lets_in_what_clients_of_the_former_mode_send(
    before: MutualTlsMode, target: MutualTlsMode, mode: MutualTlsMode, overlap: bool
) -> None:
    found = accepted(namespace_wide(target), Former(namespace_wide(before)))
    assert found == InboundModes(mode, (), overlap)


@pytest.mark.parametrize("mode", [D, P, S])
def test_at_rest_a_server_accepts_what_its_policy_says(mode: MutualTlsMode) -> None:
    policies = namespace_wide(mode)
    assert Acceptance(at_rest(policies), ROOT).workload(WEB) == InboundModes(mode)


def test_only_the_port_that_changes_is_widened() -> None:
    before = port_level(S, {8080: D})
    found = accepted(port_level(S, {}), Former(before))
    assert found == InboundModes(S, ((8080, P),), overlap=True)


def test_a_port_that_loses_its_exception_with_the_rest_is_no_exception() -> None:
    found = accepted(port_level(P, {}), Former(port_level(S, {8080: D})))
    assert found == InboundModes(P, (), overlap=True)


def test_several_former_sets_add_up() -> None:
    found = accepted(namespace_wide(S), Former(namespace_wide(P)), Former(namespace_wide(D)))
    assert found.default is P


def test_what_was_refused_before_is_not_let_in_on_the_way() -> None:
    """Clients of a namespace that is switched off send plaintext, also to a STRICT workload."""
    off_but_strict = (*namespace_wide(D), *port_level(S, {}))
    assert accepted(port_level(S, {}), Former(off_but_strict)) == InboundModes(S)


def test_with_other_rules_clients_may_have_sent_all_that_was_accepted() -> None:
    found = accepted(namespace_wide(S), Former(namespace_wide(P), anything=True))
    assert found.default is P


def test_servers_and_clients_go_by_different_sets() -> None:
    snapshot = build_snapshot(
        {
            PODS: [pod("shop", "web", "10.244.0.2")],
            PEER_AUTHENTICATIONS: [peer_authentication("shop", "STRICT")],
        }
    )
    strict, disabled = snapshot.peer_authentications, namespace_wide(D)
    compiler = Compiler()

    def listener(stage: Stage | None) -> bytes:
        resources = compiler.compile(snapshot, "shop-web", stage)
        return resources[LISTENER]["virtualInbound"].body

    plain = compile_proxy(snapshot, "shop-web")[LISTENER]["virtualInbound"].body
    widened = listener(Stage(strict, disabled, (Former(disabled),)))

    assert widened != plain
    assert Listener.FromString(widened).listener_filters_timeout.seconds == 1
    assert listener(at_rest(strict)) == listener(None) == plain
