"""The small mesh in which reachability is tried, and every call that is worth trying in it.

    pods       web-1        a server with a sidecar        inside    a client with one
               legacy-1     the same server without        outside   a client without
               db-0, db-1   a StatefulSet of the server, with sidecars
    Services   web, legacy             with an address; their ports differ from the pods'
               web-pods, legacy-pods   headless, over the same pods
               mixed                   headless, over both pods, on ports of its own
               db                      headless, of the StatefulSet

All servers are `mutua.testing.reachability.server`; so each port can be spoken to in many ways.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from typing_extensions import override

from mutua.api.object import Object
from mutua.api.proxy_volumes import MOUNTS, VOLUMES
from mutua.testing.reachability.probe import Says

NAMESPACE: Final = "reach"

CERTIFICATE: Final = "/etc/application/tls.crt"
KEY: Final = "/etc/application/tls.key"
CLIENTS_ROOT: Final = "/etc/application/clients.crt"
"""The one certificate that the applications take for a client's."""

CLIENT_NAME: Final = "client"
"""Common name of that client."""

PROXY_FILES: Final = "/etc/client"
"""Where every proxy has the certificate, `tls.crt`, of a client outside the mesh, its key `tls.key`
and what it verifies the applications with, `ca.crt`."""

SHIFT: Final = 1000
"""How much higher than the pod's the ports of Services with an address are."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the servers.

    Attributes:
        number: As the pod knows it.
        name: As Services call it, which is how the mesh learns its protocol; "" for none does.
        says: What is worth saying to it.
        greets: Whether the application speaks first.
    """

    number: int
    name: str
    says: tuple[Says, ...]
    greets: bool = False


ANYTHING: Final = (Says.HTTP, Says.HTTP2, Says.TEXT, Says.TLS)

PORTS: Final = (
    Port(7001, "http", ANYTHING),
    Port(7002, "http2", (Says.HTTP, Says.HTTP2)),
    Port(7003, "tcp", ANYTHING),
    Port(7004, "https", (Says.TLS,)),
    Port(7005, "tcp-greeting", (Says.NOTHING,), greets=True),
    Port(7006, "any", ANYTHING),
    Port(7007, "any-greeting", (Says.NOTHING,), greets=True),
)
"""What Services declare.  A name without a known protocol leaves it to the first bytes."""

MIXED_PORTS: Final = (
    Port(7011, "http", (Says.HTTP,)),
    Port(7013, "tcp", (Says.TEXT,)),
)

UNDECLARED_PORTS: Final = (
    Port(7021, "", ANYTHING),
    Port(7022, "", (Says.NOTHING,), greets=True),
)

ALL_PORTS: Final = (*PORTS, *MIXED_PORTS, *UNDECLARED_PORTS)

CLIENTS: Final = ("inside", "outside", "web-1")
"""Who calls.  A server does, too: its own Service among others."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt.

    Attributes:
        client: The pod that calls.
        host: Whom it calls.
        port: At which port.
        says: What it says.
        server: The pod that must answer, if any does.
        service: The Service through which it is found, "" when it is dialled by its address.
        address: What it dials instead of what the name resolves to, "" for that.
    """

    client: str
    host: str
    port: int
    says: Says
    server: str
    service: str = ""
    address: str = ""

    @override
    def __str__(self) -> str:
        """Name it in one line."""
        return f"{self.client} -> {self.host}:{self.port} ({self.server}): {self.says}"


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to reach a server: a name or an address, and the ports that are worth dialling."""

    host: str
    server: str
    service: str
    ports: Sequence[Port]
    shift: int = 0
    address: str = ""


def calls(addresses: dict[str, str]) -> Iterator[Call]:
    """Yield every call.

    Args:
        addresses: Pod to its IP address.
    """
    for client in CLIENTS:
        for way in _ways(addresses):
            if client == way.server and not way.shift:
                continue  # a pod's calls to its own address never leave it
            for port in way.ports:
                for says in port.says:
                    yield Call(
                        client,
                        way.host,
                        port.number + way.shift,
                        says,
                        way.server,
                        way.service,
                        way.address,
                    )


def _ways(addresses: dict[str, str]) -> Iterator[_Way]:
    for app in ("web", "legacy"):
        pod = f"{app}-1"
        yield _Way(app, pod, app, PORTS, SHIFT)
        yield _Way(f"{app}-pods", pod, f"{app}-pods", PORTS)
        yield _Way(addresses[pod], pod, "", (*PORTS, *UNDECLARED_PORTS))
        yield _Way("mixed", pod, "mixed", MIXED_PORTS, address=addresses[pod])
    yield _Way("db-0.db", "db-0", "db", PORTS)
    yield _Way(f"db-1.db.{NAMESPACE}.svc.cluster.local", "db-1", "db", PORTS)


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its key.

    Attributes:
        certificate: PEM.
        key: PEM.
    """

    certificate: str
    key: str


def objects(application: Credential, client: Credential) -> list[Object]:
    """Return the manifests of the mesh.

    Args:
        application: What the applications show.
        client: What clients' proxies show where a rule tells them to.
    """
    secrets = {
        "application": {
            "tls.crt": application.certificate,
            "tls.key": application.key,
            "clients.crt": client.certificate,
        },
        "client": {
            "tls.crt": client.certificate,
            "tls.key": client.key,
            "ca.crt": application.certificate,
        },
    }
    return [
        _object("Namespace", NAMESPACE, labels={"istio-injection": "enabled"}),
        *(_object("Secret", name, stringData=data) for name, data in secrets.items()),
        *(_object("ServiceAccount", name) for name in ("web", "legacy", "db", "inside", "outside")),
        _pod("web-1", "web", _server(), meshed=True),
        _pod("legacy-1", "legacy", _server(), meshed=False),
        _pod("inside", "inside", _idle(), meshed=True),
        _pod("outside", "outside", _idle(), meshed=False),
        *(_service(name, PORTS, {"app": name}, shift=SHIFT) for name in ("web", "legacy")),
        *(_headless(f"{name}-pods", PORTS, {"app": name}) for name in ("web", "legacy")),
        _headless("mixed", MIXED_PORTS, {"role": "server"}),
        _headless("db", PORTS, {"app": "db"}),
        _stateful_set("db", replicas=2),
    ]


def _object(kind: str, name: str, version: str = "v1", **fields: object) -> Object:
    labels, more = fields.pop("labels", {}), cast("Object", fields.pop("metadata", {}))
    namespace = {} if kind == "Namespace" else {"namespace": NAMESPACE}
    meta = {"name": name, "labels": labels, **namespace, **more}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}


def _pod(name: str, app: str, container: Object, *, meshed: bool) -> Object:
    role = "server" if "readinessProbe" in container else "client"
    inject = "true" if meshed else "false"
    labels = {"app": app, "role": role, "sidecar.istio.io/inject": inject}
    spec = {"serviceAccountName": app, **_spec(container)}
    return _object("Pod", name, labels=labels, metadata=WITH_FILES, spec=spec)


WITH_FILES: Final[Object] = {
    "annotations": {
        VOLUMES: json.dumps([{"name": "client", "secret": {"secretName": "client"}}]),
        MOUNTS: json.dumps([{"name": "client", "mountPath": PROXY_FILES}]),
    }
}


def _stateful_set(name: str, *, replicas: int) -> Object:
    spec = {
        "serviceName": name,
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}, **WITH_FILES},
            "spec": {"serviceAccountName": name, **_spec(_server())},
        },
    }
    return _object("StatefulSet", name, "apps/v1", spec=spec)


def _spec(container: Object) -> Object:
    mount = {"name": "application", "mountPath": "/etc/application"}
    return {
        "containers": [{"name": "app", "image": "host", "volumeMounts": [mount], **container}],
        "volumes": [{"name": "application", "secret": {"secretName": "application"}}],
        "terminationGracePeriodSeconds": 1,
    }


def _server() -> Object:
    numbers = {
        greets: ",".join(str(port.number) for port in ALL_PORTS if port.greets is greets)
        for greets in (False, True)
    }
    program = [sys.executable, "-m", "mutua.testing.reachability.server"]
    return {
        "command": [*program, CERTIFICATE, KEY, CLIENTS_ROOT, numbers[False], numbers[True]],
        "readinessProbe": {"tcpSocket": {"port": ALL_PORTS[-1].number}, "periodSeconds": 1},
    }


def _idle() -> Object:
    return {"command": ["sleep", "infinity"]}


def _service(
    name: str, ports: Sequence[Port], selector: Object, *, shift: int = 0, **fields: object
) -> Object:
    described = [
        {"name": port.name, "port": port.number + shift, "targetPort": port.number}
        for port in ports
    ]
    return _object("Service", name, spec={"selector": selector, "ports": described, **fields})


def _headless(name: str, ports: Sequence[Port], selector: Object) -> Object:
    return _service(name, ports, selector, clusterIP="None")
