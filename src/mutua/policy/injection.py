"""Does this pod get a proxy?

Two questions, as in Istio: would a webhook of this revision have been called at all (labels only),
and does the webhook then inject (host network, system namespaces, the pod's own wish)?  The
namespace's `istio-injection` beats its `istio.io/rev`; the pod's label beats its annotation.

Source: istio-semantics 8.2; istio manifests mutatingwebhook.yaml, pkg/kube/inject `injectRequired`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mutua.api.annotations import annotations
from mutua.api.object import Object

INJECTION_LABEL: Final = "istio-injection"
REVISION_LABEL: Final = "istio.io/rev"
INJECT: Final = "sidecar.istio.io/inject"
"""Label or annotation of a pod."""

SYSTEM_NAMESPACES: Final = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
)
"""Never injected.  Source: istio pkg/kube/inject IgnoredNamespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What a control plane answers to.

    Attributes:
        revision: Its name.
        tags: Other names of this revision.
        enabled_by_default: Inject where nobody said anything (enableNamespacesByDefault).
    """

    revision: str = "default"
    tags: tuple[str, ...] = ()
    enabled_by_default: bool = False


class Verdict(Enum):
    """Whether the pod gets a proxy."""

    INJECT = True
    SKIP = False


class Reason(Enum):
    """Which fact decided."""

    NAMESPACE_ENABLED = "the namespace has label istio-injection=enabled"
    NAMESPACE_REVISION = "the namespace's label istio.io/rev names this revision"
    POD_ENABLED = "the pod has label sidecar.istio.io/inject=true"
    POD_REVISION = "the pod's label istio.io/rev names this revision"
    ENABLED_BY_DEFAULT = "namespaces are enabled unless they say otherwise"
    NAMESPACE_NOT_ENABLED = "the namespace's label istio-injection is not enabled"
    OTHER_REVISION = "label istio.io/rev names another revision"
    NOTHING_ASKED = "neither the namespace nor the pod asks for injection"
    POD_DISABLED = "the pod says sidecar.istio.io/inject=false"
    HOST_NETWORK = "the pod uses the host's network"
    SYSTEM_NAMESPACE = "pods of this namespace are never injected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A verdict that can explain itself."""

    verdict: Verdict
    reason: Reason


def decide(namespace: Object, pod: Object, revisions: Revisions | None = None) -> Injection:
    """Decide about one pod.

    Args:
        namespace: The pod's namespace.
        pod: The pod, as its author wrote it.
        revisions: The names of this control plane; None for Istio's defaults.
    """
    revisions = revisions or Revisions()
    called = _is_called(_labels(namespace), _labels(pod), revisions)
    if called.verdict is Verdict.SKIP:
        return called
    if pod["spec"].get("hostNetwork"):
        return _skip(Reason.HOST_NETWORK)
    if namespace["metadata"]["name"] in SYSTEM_NAMESPACES:
        return _skip(Reason.SYSTEM_NAMESPACE)
    # The label alone counts when it is there, even if its value means nothing.
    if _labels(pod).get(INJECT, annotations(pod).get(INJECT)) == "false":
        return _skip(Reason.POD_DISABLED)
    return called


def _is_called(
    namespace: Mapping[str, str], pod: Mapping[str, str], revisions: Revisions
) -> Injection:
    """Tell whether a webhook of this revision selects the pod, by labels only."""
    if pod.get(INJECT) == "false":
        return _skip(Reason.POD_DISABLED)
    if (asked := namespace.get(INJECTION_LABEL)) is not None:
        if asked == "enabled":
            return _inject(Reason.NAMESPACE_ENABLED)
        return _skip(Reason.NAMESPACE_NOT_ENABLED)
    if (revision := namespace.get(REVISION_LABEL)) is not None:
        return _by_revision(revision, Reason.NAMESPACE_REVISION, revisions)
    if (revision := pod.get(REVISION_LABEL)) is not None:
        return _by_revision(revision, Reason.POD_REVISION, revisions)
    if pod.get(INJECT) == "true":
        return _inject(Reason.POD_ENABLED)
    if revisions.enabled_by_default and INJECT not in pod:
        return _inject(Reason.ENABLED_BY_DEFAULT)
    return _skip(Reason.NOTHING_ASKED)


def _by_revision(revision: str, reason: Reason, revisions: Revisions) -> Injection:
    if revision in {revisions.revision, *revisions.tags}:
        return _inject(reason)
    return _skip(Reason.OTHER_REVISION)


def _inject(reason: Reason) -> Injection:
    return Injection(verdict=Verdict.INJECT, reason=reason)


def _skip(reason: Reason) -> Injection:
    return Injection(verdict=Verdict.SKIP, reason=reason)


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}
