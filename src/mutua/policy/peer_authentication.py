"""Must a peer use mutual TLS?  The reference semantics of PeerAuthentication.

This is the oracle: small, slow and obviously right.  mutua.xds.compile turns the same policies
into listener filter chains without importing this module; tests check that the two agree.

    mode = PERMISSIVE
    mesh policy       without selector, in the root namespace        if not UNSET: mode = its mode
    namespace policy  without selector, in the pod's namespace       if not UNSET: mode = its mode
    workload policy   its selector matches the pod's labels          if not UNSET: mode = its mode
    port              an entry of that workload policy for the port  if not UNSET: mode = its mode

Of several policies of one rank only the oldest counts (ties: name, then namespace); the others do
not even fill its gaps.  A policy with a selector in the root namespace counts nowhere.  Ports are
container ports, never Service ports.  Specification: istio-semantics sections 1.3 to 1.6;
https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from mutua.api.security import MutualTlsMode, PeerAuthentication


class Reason(Enum):
    """Which line of the table above decided."""

    DEFAULT = "no policy sets a mode"
    MESH = "mesh-wide policy"
    NAMESPACE = "namespace policy"
    WORKLOAD = "workload policy"
    PORT = "port of a workload policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The server side of a connection.

    Attributes:
        namespace: The pod's namespace.
        labels: The pod's labels.
        port: The container port that is dialled.
    """

    namespace: str
    labels: Mapping[str, str]
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict that can explain itself.

    Attributes:
        mode: DISABLE, PERMISSIVE or STRICT; never UNSET.
        reason: What decided.
        policy: `namespace/name` of the policy that decided, "" when the default did.
        unused: Policies that would apply were they older, oldest first.
    """

    mode: MutualTlsMode
    reason: Reason
    policy: str = ""
    unused: tuple[str, ...] = ()


def effective_mode(
    policies: Iterable[PeerAuthentication], subject: Subject, *, root_namespace: str
) -> Decision:
    """Decide what the proxy in front of `subject` demands of its peers.

    Args:
        policies: Every PeerAuthentication of the mesh, in any order.
        subject: Who is dialled.
        root_namespace: Where mesh-wide policies live.

    Returns:
        The decision; it does not depend on the order of `policies`.
    """
    oldest_first = sorted(policies, key=lambda p: (p.created, p.name, p.namespace))
    ranks = [
        (Reason.MESH, [p for p in oldest_first if _is_mesh(p, root_namespace)]),
        (Reason.NAMESPACE, [p for p in oldest_first if _is_namespace(p, subject, root_namespace)]),
        (Reason.WORKLOAD, [p for p in oldest_first if _is_workload(p, subject, root_namespace)]),
    ]
    unused = tuple(_name(policy) for _, candidates in ranks for policy in candidates[1:])
    decision = Decision(mode=MutualTlsMode.PERMISSIVE, reason=Reason.DEFAULT, unused=unused)
    for reason, candidates in ranks:
        for winner in candidates[:1]:
            decision = _override(decision, winner.mode, reason, winner)
            if reason is Reason.WORKLOAD and subject.port in winner.port_modes:
                mode = winner.port_modes[subject.port]
                decision = _override(decision, mode, Reason.PORT, winner)
    return decision


def _override(
    so_far: Decision, mode: MutualTlsMode, reason: Reason, policy: PeerAuthentication
) -> Decision:
    if mode is MutualTlsMode.UNSET:
        return so_far
    return Decision(mode=mode, reason=reason, policy=_name(policy), unused=so_far.unused)


def _is_mesh(policy: PeerAuthentication, root: str) -> bool:
    return policy.namespace == root and not policy.selector


def _is_namespace(policy: PeerAuthentication, subject: Subject, root: str) -> bool:
    return policy.namespace == subject.namespace != root and not policy.selector


def _is_workload(policy: PeerAuthentication, subject: Subject, root: str) -> bool:
    if policy.namespace != subject.namespace or policy.namespace == root or not policy.selector:
        return False
    return all(subject.labels.get(key) == value for key, value in policy.selector.items())


def _name(policy: PeerAuthentication) -> str:
    return f"{policy.namespace}/{policy.name}"
