"""AuthorizationPolicies that speak of what does not exist (istio-semantics 5, 10.4)."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from mutua.analysis.codes import NOT_FOUND
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, origin_of
from mutua.api.object import AUTHORIZATION_POLICIES, Object


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield the namespaces of callers that there are not.

    Nothing when there are manifests only, without any namespace: it may be elsewhere.
    """
    for policy in mesh.of_kind(AUTHORIZATION_POLICIES):
        for path, name in _namespaces(policy):
            if mesh.namespaces and not _is_there(mesh, name):
                text = f"no namespace is called {name!r}, so no caller is meant"
                yield Message(code=NOT_FOUND, origin=origin_of(policy), text=text, path=path)


def _namespaces(policy: Object) -> Iterator[tuple[str, str]]:
    """Yield where a policy names a namespace of callers, and which."""
    for number, rule in enumerate((policy.get("spec") or {}).get("rules") or ()):
        for place, origin in enumerate(rule.get("from") or ()):
            source = origin.get("source") or {}
            for position, name in enumerate(source.get("namespaces") or ()):
                yield f"spec.rules[{number}].from[{place}].source.namespaces[{position}]", name


def _is_there(mesh: Mesh, name: str) -> bool:
    """Tell whether there is such a namespace; only the asterisk is a pattern, as in Istio."""
    pattern = name.replace("[", "[[]").replace("?", "[?]")
    return any(fnmatchcase(one, pattern) for one in mesh.namespaces)
