"""PeerAuthentication, digested for lookup: policies in, the mode of any port of any pod out.

Indexed once per change of policies; a lookup then costs one dictionary access plus the workload
policies of one namespace.  This is the compiler's own reading of istio-semantics section 1.5,
made without mutua.policy, which tests compare it with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.workload import Workload


@dataclass(frozen=True, slots=True)
class InboundModes:
    """What a pod's proxy demands.

    Attributes:
        default: On every port not named in `ports`.
        ports: Exceptions: (container port, mode), by port, none of them equal to the default.
    """

    default: MutualTlsMode
    ports: tuple[tuple[int, MutualTlsMode], ...] = ()

    def of(self, port: int) -> MutualTlsMode:
        """Return the mode of a container port."""
        return dict(self.ports).get(port, self.default)


@dataclass(slots=True)
class _Namespace:
    mode: MutualTlsMode | None = None
    workload_policies: list[PeerAuthentication] = field(default_factory=list)


class ModeIndex:
    """Answers for every namespace and pod what mode is in force."""

    def __init__(self, policies: Sequence[PeerAuthentication], root_namespace: str) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        mesh: MutualTlsMode | None = None
        for policy in sorted(policies, key=lambda p: (p.created, p.name, p.namespace)):
            if policy.namespace == root_namespace:
                # With a selector, a policy of the root namespace is dead.
                if not policy.selector and mesh is None:
                    mesh = policy.mode
                continue
            namespace = self._namespaces.setdefault(policy.namespace, _Namespace())
            if policy.selector:
                namespace.workload_policies.append(policy)
            elif namespace.mode is None:
                namespace.mode = policy.mode
        self._mesh = _or(mesh, MutualTlsMode.PERMISSIVE)

    def namespace(self, name: str) -> MutualTlsMode:
        """Return the mode of a namespace, which is also what clients go by (section 3.3)."""
        known = self._namespaces.get(name)
        return self._mesh if known is None else _or(known.mode, self._mesh)

    def workload(self, workload: Workload) -> InboundModes:
        """Return what this pod's proxy demands on each port."""
        inherited = self.namespace(workload.namespace)
        known = self._namespaces.get(workload.namespace)
        for policy in known.workload_policies if known is not None else ():
            if _selects(policy.selector or {}, workload.labels):
                return _modes(policy, inherited)
        return InboundModes(inherited)


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
