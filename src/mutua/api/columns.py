"""The columns of each kind, as the real API server prints them.

A cell is a function of the object and the present instant.  Cells never fail: what is missing
prints as kubectl users expect it to, `<none>` or `<unknown>`.
Source: Kubernetes printers (kubectl get on a real cluster); Istio's additionalPrinterColumns.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mutua.api.age import UNKNOWN, age
from mutua.api.object import Object

Cell = Callable[[Object, datetime], Any]

NONE: Final = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: kubectl prints it in capitals.
        cell: What an object shows in it.
        wide: Only with `-o wide`.
        type: OpenAPI type of the cells.
        description: One line for machines; the name when "".
    """

    name: str
    cell: Cell
    wide: bool = False
    type: str = "string"
    description: str = ""


def at(obj: Object, *path: str) -> Any:
    """Return the value at a path of fields, None when any of them is missing."""
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def field(*path: str, missing: Any = "") -> Cell:
    """Return the cell that shows one field."""

    def cell(obj: Object, _: datetime) -> Any:
        value = at(obj, *path)
        return missing if value is None or value == "" else value

    return cell


def _since(*path: str) -> Cell:
    return lambda obj, now: age(at(obj, *path), now)


def _size(*names: str) -> Cell:
    return lambda obj, _: sum(len(at(obj, name) or ()) for name in names)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Format labels as a selector: `app=web,tier=front`."""
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items())) or NONE


def _selector_text(obj: Object, _: datetime) -> str:
    """Format a LabelSelector."""
    selector = at(obj, "spec", "selector") or {}
    texts = [
        f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression.get("key", ""), ",".join(expression.get("values") or ())
        texts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }.get(expression.get("operator", ""), key)
        )
    return ",".join(texts) or NONE


def _of_containers(name: str) -> Cell:
    def cell(obj: Object, _: datetime) -> str:
        containers = at(obj, "spec", "template", "spec", "containers") or ()
        return ",".join(str(container.get(name) or "") for container in containers)

    return cell


NAME: Final = Column("Name", field("metadata", "name"), description="Name of the object")
AGE: Final = Column(
    "Age", _since("metadata", "creationTimestamp"), description="Time since its creation"
)
_TEMPLATE: Final = (
    Column("Containers", _of_containers("name"), wide=True),
    Column("Images", _of_containers("image"), wide=True),
    Column("Selector", _selector_text, wide=True),
)

NAMESPACE: Final = (NAME, Column("Status", field("status", "phase")), AGE)
SECRET: Final = (
    NAME,
    Column("Type", field("type")),
    Column("Data", _size("data"), type="integer"),
    AGE,
)
CONFIG_MAP: Final = (NAME, Column("Data", _size("data", "binaryData"), type="integer"), AGE)
SERVICE_ACCOUNT: Final = (NAME, Column("Secrets", _size("secrets"), type="integer"), AGE)


def _replicas_ready(obj: Object, _: datetime) -> str:
    return f"{at(obj, 'status', 'readyReplicas') or 0}/{at(obj, 'spec', 'replicas') or 0}"


DEPLOYMENT: Final = (
    NAME,
    Column("Ready", _replicas_ready),
    Column("Up-to-date", field("status", "updatedReplicas", missing=0), type="integer"),
    Column("Available", field("status", "availableReplicas", missing=0), type="integer"),
    AGE,
    *_TEMPLATE,
)
REPLICA_SET: Final = (
    NAME,
    Column("Desired", field("spec", "replicas", missing=0), type="integer"),
    Column("Current", field("status", "replicas", missing=0), type="integer"),
    Column("Ready", field("status", "readyReplicas", missing=0), type="integer"),
    AGE,
    *_TEMPLATE,
)
STATEFUL_SET: Final = (
    NAME,
    Column("Ready", _replicas_ready),
    AGE,
    *_TEMPLATE[:2],
)


def _controller(obj: Object, _: datetime) -> str:
    """Format the managing owner as `statefulset.apps/web`."""
    for owner in at(obj, "metadata", "ownerReferences") or ():
        if owner.get("controller"):
            group = str(owner.get("apiVersion") or "").rpartition("/")[0]
            kind = str(owner.get("kind") or "").lower()
            return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return NONE


CONTROLLER_REVISION: Final = (
    NAME,
    Column("Controller", _controller),
    Column("Revision", field("revision", missing=0), type="integer"),
    AGE,
)


def _external_address(obj: Object, _: datetime) -> str:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or NONE)
    ingress = at(obj, "status", "loadBalancer", "ingress") or ()
    addresses = [entry.get("ip") or entry.get("hostname") or "" for entry in ingress]
    if spec.get("type") == "LoadBalancer" and not addresses:
        return "<pending>"
    return ",".join([*addresses, *(spec.get("externalIPs") or ())]) or NONE


def _service_ports(obj: Object, _: datetime) -> str:
    texts = []
    for port in at(obj, "spec", "ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node_port}/{port.get('protocol') or 'TCP'}")
    return ",".join(texts) or NONE


SERVICE: Final = (
    NAME,
    Column("Type", field("spec", "type")),
    Column("Cluster-IP", field("spec", "clusterIP", missing=NONE)),
    Column("External-IP", _external_address),
    Column("Port(s)", _service_ports),
    AGE,
    Column("Selector", lambda obj, _: labels_text(at(obj, "spec", "selector")), wide=True),
)

MAX_LISTED: Final = 3
"""Ports and endpoints of a slice that are printed; the rest is counted (Kubernetes printers)."""


def _abridged(texts: list[str], nothing: str) -> str:
    if not texts:
        return nothing
    more = f" + {len(texts) - MAX_LISTED} more..." if len(texts) > MAX_LISTED else ""
    return ",".join(texts[:MAX_LISTED]) + more


def _slice_ports(obj: Object, _: datetime) -> str:
    ports = obj.get("ports") or ()
    return _abridged([str(port.get("port") or "*") for port in ports], "<unset>")


def _slice_endpoints(obj: Object, _: datetime) -> str:
    endpoints = obj.get("endpoints") or ()
    addresses = [address for each in endpoints for address in each.get("addresses") or ()]
    return _abridged(addresses, "<unset>")


ENDPOINT_SLICE: Final = (
    NAME,
    Column("AddressType", field("addressType")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)


def _event_object(obj: Object, _: datetime) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{str(involved.get('kind') or '').lower()}/{involved.get('name') or ''}"


def _event_source(obj: Object, _: datetime) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _seen(*fields: str) -> Cell:
    def cell(obj: Object, now: datetime) -> str:
        instants = (obj.get(name) for name in fields)
        return age(next((instant for instant in instants if instant), None), now)

    return cell


EVENT: Final = (
    Column("Last Seen", _seen("lastTimestamp", "firstTimestamp", "eventTime")),
    Column("Type", field("type")),
    Column("Reason", field("reason")),
    Column("Object", _event_object),
    Column("Subobject", field("involvedObject", "fieldPath"), wide=True),
    Column("Source", _event_source, wide=True),
    Column("Message", lambda obj, _: str(obj.get("message") or "").strip()),
    Column("First Seen", _seen("firstTimestamp", "eventTime"), wide=True),
    Column("Count", field("count", missing=1), wide=True, type="integer"),
    Column("Name", field("metadata", "name"), wide=True),
)


def _node_status(obj: Object, _: datetime) -> str:
    conditions = at(obj, "status", "conditions") or ()
    ready = next((each.get("status") for each in conditions if each.get("type") == "Ready"), None)
    text = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return f"{text},SchedulingDisabled" if at(obj, "spec", "unschedulable") else text


_ROLE: Final = "node-role.kubernetes.io/"


def _node_roles(obj: Object, _: datetime) -> str:
    labels = at(obj, "metadata", "labels") or {}
    roles = sorted(name.removeprefix(_ROLE) for name in labels if name.startswith(_ROLE))
    return ",".join(roles) or NONE


def _node_address(kind: str) -> Cell:
    def cell(obj: Object, _: datetime) -> str:
        addresses = at(obj, "status", "addresses") or ()
        return next((str(each["address"]) for each in addresses if each.get("type") == kind), NONE)

    return cell


def _node_info(name: str) -> Cell:
    return field("status", "nodeInfo", name, missing=UNKNOWN)


NODE: Final = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _node_roles),
    AGE,
    Column("Version", _node_info("kubeletVersion")),
    Column("Internal-IP", _node_address("InternalIP"), wide=True),
    Column("External-IP", _node_address("ExternalIP"), wide=True),
    Column("OS-Image", _node_info("osImage"), wide=True),
    Column("Kernel-Version", _node_info("kernelVersion"), wide=True),
    Column("Container-Runtime", _node_info("containerRuntimeVersion"), wide=True),
)

CUSTOM_RESOURCE_DEFINITION: Final = (
    NAME,
    Column("Created At", field("metadata", "creationTimestamp"), type="date"),
)
PEER_AUTHENTICATION: Final = (NAME, Column("Mode", field("spec", "mtls", "mode")), AGE)
AUTHORIZATION_POLICY: Final = (NAME, Column("Action", field("spec", "action")), AGE)
DESTINATION_RULE: Final = (NAME, Column("Host", field("spec", "host")), AGE)


def _hosts(obj: Object, _: datetime) -> str:
    """Format a list as the API server prints columns of custom kinds: JSON."""
    hosts = at(obj, "spec", "hosts")
    return json.dumps(hosts, separators=(",", ":")) if hosts else ""


SERVICE_ENTRY: Final = (
    NAME,
    Column("Hosts", _hosts),
    Column("Location", field("spec", "location")),
    Column("Resolution", field("spec", "resolution")),
    AGE,
)


def _party(*path: str) -> Cell:
    def cell(obj: Object, _: datetime) -> str:
        party = at(obj, *path) or {}
        if not party.get("kind") or party["kind"] == "Address":
            return str(party.get("name") or NONE)
        where = f".{party['namespace']}" if party.get("namespace") else ""
        return f"{party['kind'].lower()}/{party.get('name')}{where}"

    return cell


def _revoked(obj: Object, _: datetime) -> str:
    spec = at(obj, "spec") or {}
    pod = spec.get("pod")
    if pod:
        return f"pod/{pod.get('name')}.{pod.get('namespace')}"
    return str(spec.get("spiffeID") or spec.get("serialNumber") or NONE)


REVOCATION: Final = (
    NAME,
    Column("Revoked", _revoked),
    Column("In Force", field("status", "summary")),
    Column("Closed", field("status", "connectionsClosed", missing=0), type="integer"),
    Column("Refused", field("status", "refused", missing=0), type="integer"),
    AGE,
    Column("Reason", field("spec", "reason"), wide=True),
)

PLAINTEXT_CALLER: Final = (
    NAME,
    Column("Server", _party("spec", "server")),
    Column("Port", field("spec", "port"), type="integer"),
    Column("Caller", _party("spec", "caller")),
    Column("Why", field("status", "reason")),
    Column("Count", field("status", "count", missing=0), type="integer"),
    Column("Last Seen", _since("status", "lastSeen")),
    Column("Refused", field("status", "refused", missing=0), type="integer"),
    Column("Because", field("status", "message"), wide=True),
)

CERTIFICATE_AUTHORITY: Final = (
    NAME,
    Column("Issuer", field("status", "issuing", "subject")),
    Column("Source", field("status", "issuing", "source")),
    Column("Not After", field("status", "issuing", "notAfter")),
    Column("Rotation", field("status", "rotation", "stage", missing=NONE)),
    Column("Message", field("status", "rotation", "message"), wide=True),
    AGE,
)
