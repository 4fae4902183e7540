"""What `kubectl get` shows: the server prints, kubectl aligns.

The answer is a meta.k8s.io/v1 Table.  Each row carries the object's metadata, from which kubectl
makes NAMESPACE, LABELS and `--sort-by`; columns of priority 1 appear with `-o wide` only
(kubectl-facade, section 3).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from mutua.api import certificate_columns, columns, pod_columns
from mutua.api.columns import AGE, NAME, Column
from mutua.api.kinds import Kind
from mutua.api.object import Object

IncludeObject = Literal["None", "Metadata", "Object"]
"""How much of the object a row carries (`?includeObject=`)."""

COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "Namespace": columns.NAMESPACE,
    "Pod": pod_columns.POD,
    "Service": columns.SERVICE,
    "ServiceAccount": columns.SERVICE_ACCOUNT,
    "Secret": columns.SECRET,
    "ConfigMap": columns.CONFIG_MAP,
    "Event": columns.EVENT,
    "Node": columns.NODE,
    "Deployment": columns.DEPLOYMENT,
    "ReplicaSet": columns.REPLICA_SET,
    "StatefulSet": columns.STATEFUL_SET,
    "ControllerRevision": columns.CONTROLLER_REVISION,
    "EndpointSlice": columns.ENDPOINT_SLICE,
    "CustomResourceDefinition": columns.CUSTOM_RESOURCE_DEFINITION,
    "PeerAuthentication": columns.PEER_AUTHENTICATION,
    "AuthorizationPolicy": columns.AUTHORIZATION_POLICY,
    "DestinationRule": columns.DESTINATION_RULE,
    "ServiceEntry": columns.SERVICE_ENTRY,
    "CertificateAuthority": columns.CERTIFICATE_AUTHORITY,
    "PlaintextCaller": columns.PLAINTEXT_CALLER,
    "WorkloadCertificate": certificate_columns.WORKLOAD_CERTIFICATE,
    "Revocation": columns.REVOCATION,
}


def table(
    kind: Kind,
    objects: Iterable[Object],
    now: datetime,
    *,
    include_object: IncludeObject = "Metadata",
    resource_version: str = "",
    with_columns: bool = True,
) -> Object:
    """Return the Table of `objects`.

    Args:
        kind: The kind of all of them.
        objects: In the order of the rows.
        now: The instant from which ages count, UTC.
        include_object: What each row carries besides its cells.
        resource_version: The list's position; "" leaves it out.
        with_columns: False in a watch after the first event, where definitions may be left out.
    """
    shown = COLUMNS.get(kind.kind, (NAME, AGE))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": resource_version} if resource_version else {},
        "columnDefinitions": [_definition(column) for column in shown] if with_columns else [],
        "rows": [_row(shown, obj, now, include_object) for obj in objects],
    }


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column is NAME else "",
        "description": column.description or column.name,
        "priority": 1 if column.wide else 0,
    }


def _row(
    shown: Iterable[Column], obj: Object, now: datetime, include_object: IncludeObject
) -> Object:
    row: dict[str, Any] = {"cells": [column.cell(obj, now) for column in shown]}
    if include_object == "Metadata":
        row["object"] = partial_metadata(obj)
    elif include_object == "Object":
        row["object"] = obj
    return row


def partial_metadata(obj: Object) -> Object:
    """Return the PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata") or {},
    }
