"""The CustomResourceDefinitions that Istio's kinds would have on a Kubernetes cluster.

They are derived, not stored: kubectl lists them to explain an unknown kind, and people check with
`kubectl get crd` whether a mesh is installed.
"""

from typing import Any, Final

from mutua.api.kinds import KINDS, Kind
from mutua.api.object import Object
from mutua.api.openapi import structural_schema
from mutua.api.schema import schema_of
from mutua.api.shape import Struct

_COLUMNS: Final = {
    "PeerAuthentication": {"Mode": ".spec.mtls.mode"},
    "AuthorizationPolicy": {"Action": ".spec.action"},
    "DestinationRule": {"Host": ".spec.host"},
    "CertificateAuthority": {"Issuer": ".status.issuing.subject"},
    "PlaintextCaller": {"Port": ".spec.port", "Why": ".status.reason"},
    "WorkloadCertificate": {
        "Identity": ".status.spiffeID",
        "Serial": ".status.serialNumber",
        "Not After": ".status.notAfter",
    },
    "Revocation": {"Reason": ".spec.reason", "In Force": ".status.summary"},
    "ServiceEntry": {
        "Hosts": ".spec.hosts",
        "Location": ".spec.location",
        "Resolution": ".spec.resolution",
    },
}


def custom_resource_definitions(created: str) -> list[Object]:
    """Return the definitions of all custom kinds.

    Args:
        created: creationTimestamp to show, RFC 3339: when the mesh was made.
    """
    return [_definition(kind, created) for kind in KINDS if kind.is_custom]


def _definition(kind: Kind, created: str) -> Object:
    name = str(kind.resource)
    names = {
        "plural": kind.resource.plural,
        "singular": kind.singular,
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name,
            "uid": f"crd-{name}",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": created,
        },
        "spec": {
            "group": kind.resource.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "conversion": {"strategy": "None"},
            "versions": [_version(kind, version) for version in kind.versions],
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": [kind.storage_version],
            "conditions": [
                _condition("NamesAccepted", "NoConflicts", created),
                _condition("Established", "InitialNamesAccepted", created),
            ],
        },
    }


def _version(kind: Kind, version: str) -> Object:
    whole = schema_of(kind)
    shown = {name: whole.fields[name] for name in ("spec", "status") if name in whole.fields}
    parts = Struct(whole.name, shown, whole.required)
    return {
        "name": version,
        "served": True,
        "storage": version == kind.storage_version,
        "schema": {"openAPIV3Schema": structural_schema(parts)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            *(
                {"name": column, "type": "string", "jsonPath": path}
                for column, path in _COLUMNS[kind.kind].items()
            ),
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }


def _condition(name: str, reason: str, created: str) -> dict[str, Any]:
    return {"type": name, "status": "True", "reason": reason, "lastTransitionTime": created}
