"""What kubectl learns first: which groups, versions and kinds this server has.

Two forms of the same table (`mutua.api.kinds`): the aggregated documents of kubectl 1.27 and later
(one request for /api, one for /apis), and the older one-document-per-version form that Python
clients and older kubectls know.  Which one a client wants is in its Accept header; the answer's
Content-Type must name the aggregated form exactly (kubectl-facade, section 1.3).
"""

from collections.abc import Iterable
from typing import Any, Final

from mutua.api.kinds import Kind, group_versions, kinds_in

AGGREGATED_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Content-Type of the aggregated documents; send `Vary: Accept` with it."""

Document = dict[str, Any]

_STATUS_VERBS: Final = ("get", "patch", "update")

_SUBRESOURCES: Final[dict[str, tuple[str, str, str, tuple[str, ...]]]] = {
    # subresource: (group, version, kind of its body; "" is the parent's kind), verbs
    "status": ("", "", "", _STATUS_VERBS),
    "log": ("", "", "", ("get",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "scale": ("autoscaling", "v1", "Scale", _STATUS_VERBS),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
}


def wants_aggregated(accept: str) -> bool:
    """Tell whether an Accept header asks for the aggregated form (v2)."""
    wanted = {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"}
    return any(
        wanted <= {part.strip() for part in media_range.split(";")}
        for media_range in accept.split(",")
    )


def aggregated_core() -> Document:
    """Return the aggregated document for /api."""
    return _aggregated([("", _versions_of(""))])


def aggregated_groups() -> Document:
    """Return the aggregated document for /apis."""
    return _aggregated([(group, _versions_of(group)) for group in _groups()])


def core_versions(server_address: str) -> Document:
    """Return the older document for /api (APIVersions)."""
    return {
        "kind": "APIVersions",
        "versions": _versions_of(""),
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}
        ],
    }


def group_list() -> Document:
    """Return the older document for /apis (APIGroupList)."""
    groups = [_group(group) for group in _groups()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(name: str) -> Document | None:
    """Return the document for /apis/<name> (APIGroup), None when there is no such group."""
    if name not in _groups():
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def resource_list(group_name: str, version: str) -> Document | None:
    """Return the document for /api/v1 or /apis/<group>/<version>, None when it is not served."""
    kinds = kinds_in(group_name, version)
    if not kinds:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": _group_version(group_name, version),
        "resources": [row for kind in kinds for row in _rows(kind)],
    }


def _groups() -> list[str]:
    return list(dict.fromkeys(name for name, _ in group_versions() if name))


def _versions_of(name: str) -> list[str]:
    return [version for group_name, version in group_versions() if group_name == name]


def _group_version(name: str, version: str) -> str:
    return f"{name}/{version}" if name else version


def _group(name: str) -> Document:
    versions = [
        {"groupVersion": _group_version(name, version), "version": version}
        for version in _versions_of(name)
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _rows(kind: Kind) -> Iterable[Document]:
    row: Document = {
        "name": kind.resource.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    yield row
    for name in kind.subresources:
        body_group, body_version, body_kind, verbs = _SUBRESOURCES[name]
        below: Document = {
            "name": f"{kind.resource.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": body_kind or kind.kind,
            "verbs": list(verbs),
        }
        if body_group:
            below |= {"group": body_group, "version": body_version}
        yield below


def _aggregated(groups: Iterable[tuple[str, list[str]]]) -> Document:
    items = [
        {
            "metadata": {"name": name},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [_resource(kind, version) for kind in kinds_in(name, version)],
                }
                for version in versions
            ],
        }
        for name, versions in groups
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _resource(kind: Kind, version: str) -> Document:
    own = {"group": kind.resource.group, "version": version, "kind": kind.kind}
    return {
        "resource": kind.resource.plural,
        "responseKind": own,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "subresources": [_subresource(name, own) for name in kind.subresources],
    }


def _subresource(name: str, parent: Document) -> Document:
    body_group, body_version, body_kind, verbs = _SUBRESOURCES[name]
    body = {"group": body_group, "version": body_version, "kind": body_kind}
    return {
        "subresource": name,
        "responseKind": body if body_kind else parent,
        "verbs": list(verbs),
    }
