"""PeerAuthentications that do not do what their author may think (istio-semantics 1.3 to 1.6)."""

from collections.abc import Iterable, Iterator
from typing import Final

from mutua.analysis.codes import (
    INEFFECTIVE,
    NO_SIDECAR,
    NO_WORKLOAD,
    SERVICE_PORT,
    UNKNOWN_PORT,
)
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Code, Message, Origin
from mutua.analysis.pods import PodGroup
from mutua.analysis.wording import having, listed
from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.policy.injection import SYSTEM_NAMESPACES

KIND: Final = "PeerAuthentication"


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what is to be said about PeerAuthentications."""
    for policy in mesh.snapshot.peer_authentications:
        if policy.selector and policy.namespace == mesh.root:
            yield _dead(mesh, policy)
            continue
        selected = [one for one in _reach(mesh, policy) if is_selected(policy, one)]
        if policy.selector and not selected:
            yield _selects_nothing(mesh, policy)
            continue
        silenced = list(_shadowed(mesh, policy, selected))
        yield from silenced
        governed = [one for one in selected if _oldest(mesh, policy, one) == policy]
        if silenced and not governed:
            continue
        yield from _says_nothing(mesh, policy)
        yield from _ports(mesh, policy, governed)
        yield from _unprotected(mesh, policy, governed)


def is_selected(policy: PeerAuthentication, group: PodGroup) -> bool:
    """Tell whether a policy's selector means a group of pods."""
    return (policy.selector or {}).items() <= group.workload.labels.items()


def origin(policy: PeerAuthentication) -> Origin:
    """Return the policy's address."""
    return Origin(KIND, policy.namespace, policy.name)


def named(path: str) -> Origin:
    """Return the address of the policy that the evaluator calls `namespace/name`."""
    namespace, _, name = path.partition("/")
    return Origin(KIND, namespace, name)


def _reach(mesh: Mesh, policy: PeerAuthentication) -> list[PodGroup]:
    if policy.namespace == mesh.root:
        return list(mesh.groups())
    return list(mesh.groups_in(policy.namespace))


def _oldest(mesh: Mesh, policy: PeerAuthentication, group: PodGroup) -> PeerAuthentication:
    """Return the policy that counts for a group, of those of this one's rank."""
    rivals = [
        one
        for one in mesh.policies_in(policy.namespace)
        if bool(one.selector) == bool(policy.selector) and is_selected(one, group)
    ]
    return min(rivals, key=lambda one: (one.created, one.name))


def _message(
    code: Code,
    policy: PeerAuthentication,
    text: str,
    *,
    path: str = "",
    related: tuple[Origin, ...] = (),
) -> Message:
    return Message(code=code, origin=origin(policy), text=text, path=path, related=related)


def _dead(mesh: Mesh, policy: PeerAuthentication) -> Message:
    meant = [one for one in mesh.groups() if is_selected(policy, one)]
    text = (
        f"a policy with a selector in the root namespace {mesh.root} is ignored everywhere, even "
        f"for pods of {mesh.root}; "
    )
    if meant:
        namespaces = sorted({one.workload.namespace for one in meant})
        text += f"put it where the pods are that it means: namespace {listed(namespaces)}"
    else:
        text += "put it into the namespace of the pods that it means"
    return _message(INEFFECTIVE, policy, text, path="spec.selector")


def _selects_nothing(mesh: Mesh, policy: PeerAuthentication) -> Message:
    wanted = policy.selector or {}
    labels = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
    text = f"no pod of namespace {policy.namespace} has "
    text += f"the label {labels}" if len(wanted) == 1 else f"all the labels {labels}"
    elsewhere = sorted({
        one.workload.namespace for one in mesh.groups() if is_selected(policy, one)
    })  # fmt: skip
    if elsewhere:
        text += (
            f"; pods of namespace {listed(elsewhere)} have, but a policy selects only in its own"
        )
    near = () if elsewhere else _nearest(mesh.groups_in(policy.namespace), policy)
    for group in near:
        text += f"; {_likeness(group, policy)}"
    return _message(
        NO_WORKLOAD,
        policy,
        text,
        path="spec.selector.matchLabels",
        related=tuple(group.origin for group in near),
    )


def _nearest(groups: Iterable[PodGroup], policy: PeerAuthentication) -> tuple[PodGroup, ...]:
    """Return the pods that come closest to a selector; none if nothing is alike."""
    wanted = policy.selector or {}

    def common(group: PodGroup) -> int:
        return len(wanted.items() & group.workload.labels.items())

    def known(group: PodGroup) -> int:
        return len(wanted.keys() & group.workload.labels.keys())

    best = max(groups, key=lambda one: (common(one), known(one), one.name), default=None)
    return (best,) if best is not None and known(best) else ()


def _likeness(group: PodGroup, policy: PeerAuthentication) -> str:
    """Say what of a selector fits a group of pods, and what does not."""
    wanted, has = policy.selector or {}, group.workload.labels
    common = len(wanted.items() & has.items())
    faults = [
        f"its {key} is {has[key]!r}" if key in has else f"it has no label {key}"
        for key, value in sorted(wanted.items())
        if has.get(key) != value
    ]
    if not common:
        return f"of {group.name}, {', '.join(faults)}"
    return f"{common} of {len(wanted)} labels match {group.name}: {', '.join(faults)}"


def _shadowed(
    mesh: Mesh, policy: PeerAuthentication, selected: Iterable[PodGroup]
) -> Iterator[Message]:
    """Yield that an older policy of the same rank is the only one that counts."""
    if policy.selector is None:
        older = min(
            (one for one in mesh.policies_in(policy.namespace) if one.selector is None),
            key=lambda one: (one.created, one.name),
        )
        if older != policy:
            scope = "the mesh" if policy.namespace == mesh.root else f"namespace {older.namespace}"
            text = (
                f"the older policy {older.name} is the only one that counts for {scope}; this one "
                "changes nothing, not even where the older one leaves the mode UNSET"
            )
            yield _message(INEFFECTIVE, policy, text, related=(origin(older),))
        return
    everything = list(selected)
    winners: dict[str, set[str]] = {}
    for group in everything:
        winner = _oldest(mesh, policy, group)
        if winner != policy:
            winners.setdefault(winner.name, set()).add(group.name)
    for winner_name, names in sorted(winners.items()):
        is_total = names == {one.name for one in everything}
        effect = "this one changes nothing" if is_total else "this one has no effect there"
        text = (
            f"the older policy {winner_name} is the only one that counts for "
            f"{listed(sorted(names))}; {effect}, ports included"
        )
        related = (Origin(KIND, policy.namespace, winner_name),)
        yield _message(INEFFECTIVE, policy, text, path="spec.selector", related=related)


def _says_nothing(mesh: Mesh, policy: PeerAuthentication) -> Iterator[Message]:
    modes = {policy.mode, *policy.port_modes.values()}
    if modes != {MutualTlsMode.UNSET}:
        return
    text = "sets no mode: everything stays as wider policies have it, or PERMISSIVE"
    silenced = [
        one.name
        for one in mesh.policies_in(policy.namespace)
        if (one.created, one.name) > (policy.created, policy.name)
        and bool(one.selector) == bool(policy.selector)
        and any(is_selected(policy, group) and is_selected(one, group) for group in mesh.groups())
    ]
    if silenced:
        text += f"; and yet it keeps {listed(sorted(silenced))} from counting, for it is older"
    yield _message(INEFFECTIVE, policy, text, path="spec.mtls")


def _ports(
    mesh: Mesh, policy: PeerAuthentication, governed: Iterable[PodGroup]
) -> Iterator[Message]:
    """Yield the entries of portLevelMtls that name no port of the workloads."""
    groups = list(governed)
    for number in sorted(policy.port_modes):
        exposing = [(one, *exposed) for one in groups for exposed in mesh.exposing(one)]
        if any(number in one.ports for one in groups) or any(
            target == number for _, _, _, target in exposing
        ):
            continue
        path = f"spec.portLevelMtls[{number}]"
        confused = [
            (service, target) for _, service, port, target in exposing if port.number == number
        ]
        if confused:
            service, _ = confused[0]
            targets = sorted({target for _, target in confused})
            ports = listed([str(one) for one in targets])
            text = (
                f"{number} is a Service port; the workload listens on {ports}: this entry changes "
                f"nothing; write {ports} (Service {service.id.name})"
            )
            related = (Origin("Service", service.id.namespace, service.id.name),)
            yield _message(SERVICE_PORT, policy, text, path=path, related=related)
        elif groups:
            names = listed(sorted({one.name for one in groups}))
            text = (
                f"no container of {names} declares port {number}, and no Service leads to it: "
                "unless something listens there, this entry changes nothing"
            )
            yield _message(UNKNOWN_PORT, policy, text, path=path)


def _unprotected(
    mesh: Mesh, policy: PeerAuthentication, governed: Iterable[PodGroup]
) -> Iterator[Message]:
    """Yield the pods that STRICT means and that have no sidecar to enforce it."""
    if MutualTlsMode.STRICT not in {policy.mode, *policy.port_modes.values()}:
        return
    name = f"{policy.namespace}/{policy.name}"
    bare = [
        one
        for one in governed
        if not one.is_meshed
        and one.workload.namespace not in {*SYSTEM_NAMESPACES, mesh.root}
        and _decides_strict(mesh, policy, one, name)
    ]
    names = sorted({
        f"{one.name}.{one.workload.namespace}" if policy.namespace == mesh.root else one.name
        for one in bare
    })  # fmt: skip
    if names:
        text = (
            f"{having(names)} no sidecar: nothing there enforces STRICT, and what is sent from "
            "there to STRICT ports is refused"
        )
        related = tuple(dict.fromkeys(one.origin for one in bare))
        yield _message(NO_SIDECAR, policy, text, related=related)


def _decides_strict(mesh: Mesh, policy: PeerAuthentication, group: PodGroup, name: str) -> bool:
    return any(
        (decision := mesh.demanded(group, port)).mode is MutualTlsMode.STRICT
        and decision.policy == name
        for port in (0, *policy.port_modes)
    )
