"""The conditions of a PeerAuthentication.

It speaks about the pods of its namespace that its selector matches; about all pods, if it is
mesh-wide.  It is in force once their proxies let in what it says, and no more.
"""

from collections.abc import Callable, Sequence

from mutua.api.security import PeerAuthentication
from mutua.controlplane.enforcement import (
    ACCEPTED,
    Answer,
    Condition,
    Held,
    Reason,
    counted,
    held_back,
    ignored,
    in_force,
    unused,
)
from mutua.model.workload import Workload
from mutua.policy.peer_authentication import Subject, effective_mode


def policy_conditions(
    policy: PeerAuthentication,
    *,
    rivals: Sequence[PeerAuthentication],
    pods: Sequence[Workload],
    answer: Callable[[Workload], Answer | None],
    root_namespace: str,
    held: Held | None = None,
    remarks: Sequence[str] = (),
) -> tuple[Condition, ...]:
    """Return the conditions of one policy.

    Args:
        policy: The policy.
        rivals: Every policy of its namespace and of the root namespace, itself included.
        pods: Every pod of its namespace; of the mesh, for one of the root namespace.
        answer: What the proxy of a pod makes of the policy; None for a pod without one.
        root_namespace: Where mesh-wide policies live.
        held: Set when its present state is held back.
        remarks: Parts of it that have no effect, and why.
    """
    if policy.namespace == root_namespace and policy.selector:
        message = f"a selector has no meaning in the root namespace {root_namespace}"
        return unused(Reason.IGNORED, message)
    if (older := _superseded_by(policy, rivals)) is not None:
        message = f"the older policy {older.namespace}/{older.name} speaks for the same workloads"
        return unused(Reason.SUPERSEDED, message)
    selected = [pod for pod in pods if _selects(policy, pod)]
    governed = [pod for pod in selected if _counts(policy, pod, rivals, root_namespace)]
    if selected and not governed:
        return unused(Reason.SUPERSEDED, "older policies select the same workloads")
    answers = [one for pod in governed if (one := answer(pod)) is not None]
    matched = _matched(policy, len(governed), len(answers))
    if held is not None:
        accepted, refused = held_back(held)
        return (accepted, matched, refused, ignored(remarks))
    return (ACCEPTED, matched, in_force(answers), ignored(remarks))


def _matched(policy: PeerAuthentication, pods: int, proxies: int) -> Condition:
    verb = "selects" if policy.selector else "speaks about"
    message = f"{verb} {counted(pods, 'workload')}"
    if proxies < pods:
        message += f", {proxies} of them with a proxy"
    reason = Reason.MATCHED if pods else Reason.NOT_MATCHED
    return Condition("Matched", holds=pods > 0, reason=reason, message=message)


def _selects(policy: PeerAuthentication, pod: Workload) -> bool:
    wanted = (policy.selector or {}).items()
    return all(pod.labels.get(key) == value for key, value in wanted)


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
    pod: Workload,
    rivals: Sequence[PeerAuthentication],
    root_namespace: str,
) -> bool:
    """Tell whether, of its rank, this policy is the one that counts for a pod."""
    if not policy.selector:
        return True
    subject = Subject(namespace=pod.namespace, labels=pod.labels, port=0)
    decision = effective_mode(rivals, subject, root_namespace=root_namespace)
    return f"{policy.namespace}/{policy.name}" not in decision.unused
