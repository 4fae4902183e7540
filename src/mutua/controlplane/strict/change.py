"""Which PeerAuthentication has to change to make a namespace or workload STRICT, and how back?

Of several policies of one rank only the oldest counts, so that one is changed; a new one beside it
would be ignored.  While a change is on probation, the policy carries `GUARD`: what it said before,
and what was written.  Whoever finds it there can put it back: the control plane, the command that
wrote it, or a person.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.security import match_labels

PREFIX: Final = "strict.mutua.io/"
GUARD: Final = PREFIX + "guard"
"""Annotation of a policy on probation: JSON of a `Probation`."""

APPLIED: Final = PREFIX + "applied"
"""Annotation of a policy that passed: when, and how it was watched."""

REVERTED: Final = PREFIX + "reverted"
"""Annotation of a policy that did not: when, and why."""

STRICT: Final = "STRICT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is to become STRICT.

    Attributes:
        namespace: Where; the root namespace means the whole mesh.
        workload: Name of one workload in it, "" for the whole namespace.
        selector: Labels that select the workload's pods.
        labels: Labels its pods have.
    """

    namespace: str
    workload: str = ""
    selector: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    """What `GUARD` says.

    Attributes:
        before: The spec before the change, None when there was no policy.
        written: The spec that was written.
        watch: Seconds without a refusal after which the change stays.
        known_only: Only callers that were served before count.
    """

    before: Mapping[str, Any] | None
    written: Mapping[str, Any]
    watch: float
    known_only: bool = False


def policy_to_change(policies: Sequence[Object], scope: Scope) -> Object | None:
    """Return the policy that counts for a scope; None when there is none of its rank.

    Args:
        policies: Every PeerAuthentication of the mesh.
        scope: What is to become STRICT.
    """
    of_rank = [
        one
        for one in policies
        if one["metadata"]["namespace"] == scope.namespace and _speaks_for(one, scope)
    ]
    return min(of_rank, key=_age, default=None)


def strict_policy(policies: Sequence[Object], scope: Scope) -> Object:
    """Return the policy that makes a scope STRICT, as it is to be stored."""
    found = policy_to_change(policies, scope)
    if found is not None:
        return {**found, "spec": {**(found.get("spec") or {}), "mtls": {"mode": STRICT}}}
    taken = {
        one["metadata"]["name"]
        for one in policies
        if one["metadata"]["namespace"] == scope.namespace
    }
    wished = scope.workload or "default"
    spec: dict[str, Any] = {"mtls": {"mode": STRICT}}
    if scope.workload:
        spec = {"selector": {"matchLabels": dict(scope.selector or {})}, **spec}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {
            "namespace": scope.namespace,
            "name": wished if wished not in taken else f"{wished}-strict",
        },
        "spec": spec,
    }


def on_probation(
    policy: Object, before: Object | None, *, watch: float, known_only: bool
) -> Object:
    """Return a policy with `GUARD`."""
    probation = {
        "before": None if before is None else before.get("spec") or {},
        "written": policy["spec"],
        "watch": watch,
        "knownOnly": known_only,
    }
    return _annotated(policy, {GUARD: json.dumps(probation)})


def probation_of(policy: Object) -> Probation | None:
    """Return what a policy's `GUARD` says; None without one, or when it makes no sense."""
    text = (policy["metadata"].get("annotations") or {}).get(GUARD)
    if text is None:
        return None
    try:
        said = json.loads(text)
        return Probation(
            before=said["before"],
            written=said["written"],
            watch=float(said["watch"]),
            known_only=bool(said.get("knownOnly")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def is_as_written(policy: Object, probation: Probation) -> bool:
    """Tell whether nobody changed a policy while it was on probation."""
    return bool((policy.get("spec") or {}) == probation.written)


def passed(policy: Object, note: str) -> Object:
    """Return a policy whose probation is over."""
    return _annotated(policy, {APPLIED: note})


def reverted(policy: Object, probation: Probation, note: str) -> Object | None:
    """Return a policy as it was before its probation; None when there was none."""
    if probation.before is None:
        return None
    return {**_annotated(policy, {REVERTED: note}), "spec": dict(probation.before)}


def _annotated(policy: Object, more: Mapping[str, str]) -> Object:
    """Replace whatever this module said in a policy's annotations before."""
    metadata = policy["metadata"]
    kept = {
        name: text
        for name, text in (metadata.get("annotations") or {}).items()
        if not name.startswith(PREFIX)
    }
    return {**policy, "metadata": {**metadata, "annotations": {**kept, **more}}}


def _speaks_for(policy: Object, scope: Scope) -> bool:
    selector = match_labels((policy.get("spec") or {}).get("selector"))
    if not scope.workload:
        return not selector
    return bool(selector) and selector.items() <= (scope.labels or {}).items()


def _age(policy: Object) -> tuple[str, str]:
    metadata = policy["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]
