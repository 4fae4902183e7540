"""What is special about writing certain kinds, before validation?

Names that the server makes up, the life of a Namespace, the grace of a Pod.  Pure functions that
return changed copies.
"""

import secrets
from typing import Any, Final

from mutua.api.object import NAMESPACES, PODS, Object, Resource
from mutua.api.verdict import Invalid, required
from mutua.cluster.apiserver.status import Forbidden

NAMESPACE_FINALIZER: Final = "kubernetes"
"""Holds a Namespace until its controller has emptied it.

Deviates from Kubernetes: there it is in spec.finalizers; here all kinds use metadata.finalizers.
"""

PERMANENT_NAMESPACES: Final = frozenset({"default", "kube-system"})
"""Namespaces that cannot be deleted.  Source: kube-apiserver's NamespaceLifecycle plugin."""

SUFFIX_LENGTH: Final = 5
"""Random characters after generateName.  Source: apiserver `names.SimpleNameGenerator`."""

SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, no look-alikes.  Source: apimachinery `rand.String`."""

LONGEST_GENERATED: Final = 63
"""Characters of a generated name.  Source: as SUFFIX_LENGTH."""

DEFAULT_GRACE: Final = 30
"""Seconds a pod gets to end.  Source: PodSpec, terminationGracePeriodSeconds."""


def named(obj: Object) -> Object:
    """Return `obj` with a name: its own, or one made from generateName.

    Raises:
        Invalid: It has neither.
    """
    metadata = obj.get("metadata") or {}
    if metadata.get("name"):
        return obj
    prefix = metadata.get("generateName")
    if not prefix:
        raise Invalid([required("metadata.name", "name or generateName is required")])
    suffix = "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))
    name = prefix[: LONGEST_GENERATED - SUFFIX_LENGTH] + suffix
    return obj | {"metadata": metadata | {"name": name}}


def prepared_for_create(resource: Resource, obj: Object) -> Object:
    """Return what a new object of this kind starts as."""
    return _held(obj) if resource == NAMESPACES else obj


def prepared_for_update(resource: Resource, obj: Object, old: Object) -> Object:
    """Return `obj` with what its author cannot take away."""
    if resource != NAMESPACES or "deletionTimestamp" in old["metadata"]:
        return obj
    return _held(obj)


def terminating(namespace: Object) -> Object:
    """Return a Namespace that says it is being deleted."""
    return namespace | {"status": (namespace.get("status") or {}) | {"phase": "Terminating"}}


def namespace_is_ending(resource: Resource, name: str, namespace: str) -> Forbidden:
    """Return the refusal to create something in a Namespace that is being deleted."""
    text = f"namespace {namespace} is being terminated"
    return Forbidden(
        f'{resource} "{name}" is forbidden: unable to create new content in namespace '
        f"{namespace} because it is being terminated",
        causes=(
            {"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"},
        ),
    )


def grace_of(resource: Resource, obj: Object, wish: int | None) -> int | None:
    """Return the seconds that the store shall give an object to end.

    A pod that no node runs, or that has ended by itself, needs none.
    """
    if resource != PODS:
        return None
    phase = (obj.get("status") or {}).get("phase")
    spec: dict[str, Any] = obj.get("spec") or {}
    if not spec.get("nodeName") or phase in {"Succeeded", "Failed"}:
        return 0
    if wish is not None:
        return max(wish, 0)
    own = spec.get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE if own is None else int(own)


def _held(namespace: Object) -> Object:
    metadata = namespace["metadata"]
    finalizers = metadata.get("finalizers") or []
    if NAMESPACE_FINALIZER not in finalizers:
        finalizers = [*finalizers, NAMESPACE_FINALIZER]
    return namespace | {"metadata": metadata | {"finalizers": finalizers}}
