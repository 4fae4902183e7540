"""PeerAuthentication, digested for lookup: policies in, the mode of any port of any pod out.

Indexed once per change of policies; a lookup then costs one dictionary access plus the workload
policies of one namespace.  This is the compiler's own reading of istio-semantics section 1.5,
made without mutua.policy, which tests compare it with.

While a change is under way a server accepts more than its policies say: what clients that go by
the sets before still send.  On a port, the kinds of connections that are accepted form a set,

    DISABLE {plaintext}     STRICT {mTLS}     PERMISSIVE {plaintext, mTLS}

and what is added to it is one kind per earlier set: the one that clients choose under it, if it
was accepted.  So PERMISSIVE to STRICT adds nothing: clients sent mTLS before already.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mutua.api.object import PEER_AUTHENTICATIONS, Key
from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.workload import Workload
from mutua.xds.compile.stage import Stage


@dataclass(frozen=True, slots=True)
class InboundModes:
    """What a pod's proxy demands.

    Attributes:
        default: On every port not named in `ports`.
        ports: Exceptions: (container port, mode), by port, none of them equal to the default.
        overlap: Clients may send plaintext to a port where TLS is looked for, although its policy
            sends them mTLS before or after the change.
    """

    default: MutualTlsMode
    ports: tuple[tuple[int, MutualTlsMode], ...] = ()
    overlap: bool = False

    def of(self, port: int) -> MutualTlsMode:
        """Return the mode of a container port."""
        return dict(self.ports).get(port, self.default)


Demands = tuple[PeerAuthentication | None, tuple[PeerAuthentication, ...]]
"""The policy that decides about the pods of a namespace, and those that select some of them."""


@dataclass(slots=True)
class _Namespace:
    policy: PeerAuthentication | None = None
    workload_policies: list[PeerAuthentication] = field(default_factory=list)


class ModeIndex:
    """Answers for every namespace and pod what mode is in force."""

    def __init__(self, policies: Sequence[PeerAuthentication], root_namespace: str) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._readings: dict[str, Hashable] = {}
        self._demands: dict[str, Demands] = {}
        self._alike: dict[str, InboundModes] = {}
        mesh: PeerAuthentication | None = None
        for policy in sorted(policies, key=lambda p: (p.created, p.name, p.namespace)):
            if policy.namespace == root_namespace:
                # With a selector, a policy of the root namespace is dead.
                if not policy.selector and mesh is None:
                    mesh = policy
                continue
            namespace = self._namespaces.setdefault(policy.namespace, _Namespace())
            if policy.selector:
                namespace.workload_policies.append(policy)
            elif namespace.policy is None:
                namespace.policy = policy
        self._mesh = mesh if mesh is not None and mesh.mode is not MutualTlsMode.UNSET else None

    def namespace(self, name: str) -> MutualTlsMode:
        """Return the mode of a namespace, which is also what clients go by (section 3.3)."""
        policy = self._wider(name)
        return MutualTlsMode.PERMISSIVE if policy is None else policy.mode

    def demands(self, namespace: str) -> Demands:
        """Return all that decides about the pods of a namespace: equal means nothing changed."""
        if namespace not in self._demands:
            known = self._namespaces.get(namespace)
            narrow = () if known is None else tuple(known.workload_policies)
            self._demands[namespace] = self._wider(namespace), narrow
        return self._demands[namespace]

    def origins(self, workload: Workload) -> tuple[Key, ...]:
        """Return the policies that decide about a pod."""
        found = (self._wider(workload.namespace), self._narrow(workload))
        return tuple(
            Key(PEER_AUTHENTICATIONS, policy.namespace, policy.name)
            for policy in found
            if policy is not None
        )

    def reading(self, namespace: str) -> Hashable:
        """Return all that decides what clients send to a namespace: equal means nothing changed.

        Clients care only where something is switched off.
        """
        if namespace not in self._readings:
            self._readings[namespace] = self._read(namespace)
        return self._readings[namespace]

    def _read(self, namespace: str) -> Hashable:
        inherited, (_, policies) = self.namespace(namespace), self.demands(namespace)
        off = MutualTlsMode.DISABLE
        workloads = []
        for policy in policies:
            modes = _modes(policy, inherited)
            ports = tuple((port, mode is off) for port, mode in modes.ports)
            selector = frozenset((policy.selector or {}).items())
            workloads.append((selector, modes.default is off, ports))
        return inherited is off, tuple(workloads)

    def workload(self, workload: Workload) -> InboundModes:
        """Return what the policies demand of this pod's proxy on each port."""
        policy = self._narrow(workload)
        if policy is not None:
            return _modes(policy, self.namespace(workload.namespace))
        # Nothing tells the pods of the namespace apart.
        name = workload.namespace
        if name not in self._alike:
            self._alike[name] = InboundModes(self.namespace(name))
        return self._alike[name]

    def is_alike(self, namespace: str) -> bool:
        """Tell whether nothing tells the pods of a namespace apart."""
        known = self._namespaces.get(namespace)
        return known is None or not known.workload_policies

    def _wider(self, namespace: str) -> PeerAuthentication | None:
        """Return the policy without selector that decides in a namespace: its own or the mesh's."""
        known = self._namespaces.get(namespace)
        own = known.policy if known is not None else None
        return own if own is not None and own.mode is not MutualTlsMode.UNSET else self._mesh

    def _narrow(self, workload: Workload) -> PeerAuthentication | None:
        known = self._namespaces.get(workload.namespace)
        for policy in known.workload_policies if known is not None else ():
            if _selects(policy.selector or {}, workload.labels):
                return policy
        return None


class Acceptance:
    """Answers what a pod's proxy lets in at a stage of a change."""

    def __init__(self, stage: Stage, root_namespace: str) -> None:
        self._demands: dict[str, tuple[object, ...]] = {}
        self._alike: dict[str, InboundModes] = {}
        self._origins: dict[str, tuple[Key, ...]] = {}
        self._target = ModeIndex(stage.target, root_namespace)
        self._former = [
            (ModeIndex(former.policies, root_namespace), former.anything) for former in stage.former
        ]

    def demands(self, namespace: str) -> tuple[object, ...]:
        """Return all that decides about the pods of a namespace: equal means nothing changed."""
        if namespace not in self._demands:
            self._demands[namespace] = (
                self._target.demands(namespace),
                *((index.demands(namespace), anything) for index, anything in self._former),
            )
        return self._demands[namespace]

    def origins(self, workload: Workload) -> tuple[Key, ...]:
        """Return the policies by which this pod's proxy decides."""
        name = workload.namespace
        if not self._target.is_alike(name):
            return self._target.origins(workload)
        if name not in self._origins:
            self._origins[name] = self._target.origins(workload)
        return self._origins[name]

    def is_alike(self, namespace: str) -> bool:
        """Tell whether nothing tells the pods of a namespace apart."""
        return self._target.is_alike(namespace) and all(
            index.is_alike(namespace) for index, _ in self._former
        )

    def workload(self, workload: Workload) -> InboundModes:
        """Return what this pod's proxy lets in on each port."""
        if not self._former:
            return self._target.workload(workload)
        name = workload.namespace
        if name in self._alike:
            return self._alike[name]
        found = self._joined(workload)
        if self.is_alike(name):
            self._alike[name] = found
        return found

    def _joined(self, workload: Workload) -> InboundModes:
        senders = [
            _Sender(index, workload, anything=anything)
            for index, anything in ((self._target, False), *self._former)
        ]
        ports = {port for sender in senders for port, _ in sender.modes.ports}
        default, overlap = _joined(senders, ANY_PORT)
        exceptions = []
        for port in sorted(ports):
            mode, overlaps = _joined(senders, port)
            overlap |= overlaps
            if mode is not default:
                exceptions.append((port, mode))
        return InboundModes(default, tuple(exceptions), overlap)


def may_switch(
    before: ModeIndex, after: ModeIndex, workload: Workload, modes: InboundModes
) -> bool:
    """Tell whether clients may go over from one set to another, as far as one pod is concerned.

    Args:
        before: What clients go by.
        after: What they are to go by.
        workload: Whom they talk to.
        modes: What its proxy lets in.
    """
    old, new = _Sender(before, workload), _Sender(after, workload)
    ports = {port for one in (old.modes, new.modes, modes) for port, _ in one.ports}
    for port in (ANY_PORT, *ports):
        kinds, mode = new.kinds(port), modes.of(port)
        if kinds == old.kinds(port):
            continue
        if not kinds <= _KINDS[mode]:
            return False
        if PLAINTEXT in kinds and mode is not PLAINTEXT and not modes.overlap:
            return False  # it would wait for the client, when perhaps the server speaks first
    return True


PLAINTEXT: Final = MutualTlsMode.DISABLE
MUTUAL_TLS: Final = MutualTlsMode.STRICT
"""Kinds of connections, called by the mode that accepts nothing else."""

ANY_PORT: Final = 0
"""A port that no policy names."""

_KINDS: Final[Mapping[MutualTlsMode, frozenset[MutualTlsMode]]] = {
    MutualTlsMode.DISABLE: frozenset({PLAINTEXT}),
    MutualTlsMode.STRICT: frozenset({MUTUAL_TLS}),
    MutualTlsMode.PERMISSIVE: frozenset({PLAINTEXT, MUTUAL_TLS}),
}
"""Mode to the kinds of connections it accepts."""


class _Sender:
    """What clients that go by one set send to one pod."""

    def __init__(self, index: ModeIndex, workload: Workload, *, anything: bool = False) -> None:
        self.modes = index.workload(workload)
        self._switched_off = index.namespace(workload.namespace) is MutualTlsMode.DISABLE
        self.anything = anything

    def kinds(self, port: int) -> frozenset[MutualTlsMode]:
        """Return the kinds of connections that may be sent to a port, of those accepted on it."""
        return _KINDS[self.modes.of(port)] if self.anything else self.chosen(port)

    def chosen(self, port: int) -> frozenset[MutualTlsMode]:
        """Return the kinds that policies alone make clients send, of those accepted on a port."""
        mode = self.modes.of(port)
        off = self._switched_off or mode is MutualTlsMode.DISABLE
        return _KINDS[mode] & {PLAINTEXT if off else MUTUAL_TLS}


def _joined(senders: Sequence[_Sender], port: int) -> tuple[MutualTlsMode, bool]:
    """Return what a port accepts, and whether plaintext and TLS overlap there.

    Args:
        senders: The target first.
        port: The port.
    """
    accepted = _KINDS[senders[0].modes.of(port)].union(*(one.kinds(port) for one in senders))
    mode = next(mode for mode, kinds in _KINDS.items() if kinds == accepted)
    chosen = {one.chosen(port) for one in senders}
    overlap = len(chosen) > 1 and any(PLAINTEXT in kinds for kinds in chosen)
    return mode, overlap and mode is not PLAINTEXT


def _or(mode: MutualTlsMode | None, inherited: MutualTlsMode) -> MutualTlsMode:
    return inherited if mode is None or mode is MutualTlsMode.UNSET else mode


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def _modes(policy: PeerAuthentication, inherited: MutualTlsMode) -> InboundModes:
    default = _or(policy.mode, inherited)
    ports = {port: _or(mode, default) for port, mode in policy.port_modes.items()}
    return InboundModes(
        default, tuple(sorted((port, mode) for port, mode in ports.items() if mode is not default))
    )
