"""Is this policy in force, and where?  The conditions of a PeerAuthentication's status.

A policy is in force on a proxy once the proxy has confirmed (xDS ACK) a state of the mesh that
contains it, and refuses nothing.  Proxies that a policy speaks about are those of the pods in its
namespace that its selector matches, of all pods for a mesh-wide policy.

    Accepted   the control plane understood the policy and uses it
    InForce    every proxy it speaks about has confirmed it; the message counts them

Deviates from Istio: Istio wrote distribution into status once and removed it (1.22).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mutua.api.security import PeerAuthentication
from mutua.model.workload import Workload
from mutua.policy.peer_authentication import Subject, effective_mode
from mutua.xds.compile.names import VIRTUAL_INBOUND
from mutua.xds.feed import Progress
from mutua.xds.subscription import Rejection

LONGEST_REASON: Final = 200
"""Characters of Envoy's own words in a status message."""


class Reason(Enum):
    """CamelCase reasons, for machines."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    IGNORED = "Ignored"
    SUPERSEDED = "Superseded"
    CONFIRMED = "Confirmed"
    PENDING = "Pending"
    REJECTED = "RejectedByProxy"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, without its times.

    Attributes:
        type: `Accepted` or `InForce`.
        holds: Its status.
        reason: Why, for machines.
        message: Why, for people.
    """

    type: str
    holds: bool
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class ProxyState:
    """One proxy and how far it is.

    Attributes:
        workload: Its pod.
        progress: What it confirmed and refused.
    """

    workload: Workload
    progress: Progress

    @property
    def name(self) -> str:
        """`pod.namespace`, as Istio's tools call a proxy."""
        return f"{self.workload.name}.{self.workload.namespace}"

    @property
    def refusal(self) -> Rejection | None:
        """The inbound listener it refused, if it did: all that a PeerAuthentication shapes there.

        Other refused resources hold up other things, not this.
        """
        found = (one for one in self.progress.rejections if one.name == VIRTUAL_INBOUND)
        return next(found, None)


def invalid(reason: str) -> tuple[Condition, ...]:
    """Return the conditions of a policy that cannot be read; only foreign stores hold one."""
    return (
        Condition("Accepted", holds=False, reason=Reason.INVALID, message=reason),
        Condition("InForce", holds=False, reason=Reason.INVALID, message="not used: invalid"),
    )


def conditions(
    policy: PeerAuthentication,
    *,
    since: int,
    rivals: Sequence[PeerAuthentication],
    proxies: Sequence[ProxyState],
    root_namespace: str,
) -> tuple[Condition, ...]:
    """Return the conditions of one policy.

    Args:
        policy: The policy.
        since: The first generation of the mesh that contains it.
        rivals: Every policy of its namespace and of the root namespace, itself included.
        proxies: Every proxy of the mesh.
        root_namespace: Where mesh-wide policies live.
    """
    if policy.namespace == root_namespace and policy.selector:
        message = f"a selector has no meaning in the root namespace {root_namespace}"
        return _unused(Reason.IGNORED, message)
    if (older := _superseded_by(policy, rivals)) is not None:
        message = f"the older policy {older.namespace}/{older.name} speaks for the same workloads"
        return _unused(Reason.SUPERSEDED, message)
    addressed = [one for one in proxies if _speaks_about(policy, one.workload, root_namespace)]
    governed = [one for one in addressed if _counts(policy, one.workload, rivals, root_namespace)]
    if addressed and not governed:
        return _unused(Reason.SUPERSEDED, "older policies select the same workloads")
    accepted = Condition(
        "Accepted", holds=True, reason=Reason.ACCEPTED, message="the control plane uses it"
    )
    return (accepted, _in_force(since, governed))


def _in_force(since: int, proxies: Sequence[ProxyState]) -> Condition:
    total = len(proxies)
    refusals = [(one.name, one.refusal) for one in proxies if one.refusal is not None]
    confirmed = [
        one for one in proxies if one.progress.acknowledged >= since and one.refusal is None
    ]
    message = f"in force on {len(confirmed)} of {total} {'proxy' if total == 1 else 'proxies'}"
    for proxy, refusal in refusals[:1]:
        reason = " ".join(refusal.message.split())[:LONGEST_REASON]
        message += f"; {proxy} refused {refusal.name}: {reason}"
        return Condition("InForce", holds=False, reason=Reason.REJECTED, message=message)
    if len(confirmed) < total:
        return Condition("InForce", holds=False, reason=Reason.PENDING, message=message)
    return Condition("InForce", holds=True, reason=Reason.CONFIRMED, message=message)


def _unused(reason: Reason, message: str) -> tuple[Condition, ...]:
    return (
        Condition("Accepted", holds=False, reason=reason, message=message),
        Condition("InForce", holds=False, reason=reason, message="not used"),
    )


def _speaks_about(policy: PeerAuthentication, workload: Workload, root_namespace: str) -> bool:
    if policy.namespace == root_namespace:
        return True
    if policy.namespace != workload.namespace:
        return False
    wanted = (policy.selector or {}).items()
    return all(workload.labels.get(key) == value for key, value in wanted)


def _superseded_by(
    policy: PeerAuthentication, rivals: Sequence[PeerAuthentication]
) -> PeerAuthentication | None:
    """Return the older policy without selector of the same namespace, if there is one."""
    if policy.selector:
        return None
    same = [one for one in rivals if one.namespace == policy.namespace and not one.selector]
    oldest = min(same, key=lambda one: (one.created, one.name), default=policy)
    return None if oldest == policy else oldest


def _counts(
    policy: PeerAuthentication,
    workload: Workload,
    rivals: Sequence[PeerAuthentication],
    root_namespace: str,
) -> bool:
    """Tell whether, of its rank, this policy is the one that counts for a workload."""
    if not policy.selector:
        return True
    subject = Subject(namespace=workload.namespace, labels=workload.labels, port=0)
    decision = effective_mode(rivals, subject, root_namespace=root_namespace)
    return f"{policy.namespace}/{policy.name}" not in decision.unused
