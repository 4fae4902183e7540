"""AuthorizationPolicies that speak of what does not exist (istio-semantics 5, 10.4)."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from mutua.analysis.codes import NOT_FOUND
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, origin_of
from mutua.api.object import AUTHORIZATION_POLICIES, Object


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield the namespaces of callers that there are not."""
    for policy in mesh.of_kind(AUTHORIZATION_POLICIES):
        for path, name in _namespaces(policy):
            if not any(fnmatchcase(one, _literal(name)) for one in mesh.namespaces):
                text = f"no namespace is called {name!r}, so no caller is meant"
                yield Message(code=NOT_FOUND, origin=origin_of(policy), text=text, path=path)


def _namespaces(policy: Object) -> Iterator[tuple[str, str]]:
    """Yield where a policy names a namespace of callers, and which."""
    for number, rule in enumerate((policy.get("spec") or {}).get("rules") or ()):
        for place, origin in enumerate(rule.get("from") or ()):
            source = origin.get("source") or {}
            for position, name in enumerate(source.get("namespaces") or ()):
                yield f"spec.rules[{number}].from[{place}].source.namespaces[{position}]", name


def _literal(name: str) -> str:
    """Return a name as a pattern in which only the asterisk means something, as in Istio."""
    return name.replace("[", "[[]").replace("?", "[?]")
