"""`authn tls-check`: what would this client send to that port, and does it fit the server?

Both answers are the evaluator's (mutua.policy).  In the columns' own vocabulary:

    SERVER  DISABLE, PERMISSIVE or STRICT; DISABLE also where there is no sidecar to demand more
    CLIENT  ISTIO_MUTUAL or DISABLE; behind a "," what differs between a Service's endpoints

STATUS, with the TLS mode a DestinationRule tells the client to use (istio-semantics 10.7):

    no rule, automatic mTLS on       AUTO
    no rule, automatic mTLS off      OK
    DISABLE to DISABLE or PERMISSIVE, ISTIO_MUTUAL to STRICT or PERMISSIVE    OK
    anything else                    CONFLICT

A client without a sidecar has no choice: it sends plaintext, as under a rule that says DISABLE.
DestinationRules are stored and not enforced yet, so none is shown: their column is "-".
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from mutua.api.security import MutualTlsMode
from mutua.cli.istioctl.exposure import services_of
from mutua.cli.istioctl.target import Target
from mutua.foundation.errors import Rejected
from mutua.model.service import Service, ServiceName, ServicePort
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import TLS_MODE_ISTIO, TLS_MODE_LABEL, Endpoint, Workload
from mutua.policy.auto_mtls import client_decision
from mutua.policy.peer_authentication import Subject, effective_mode

HEADER: Final = ("HOST:PORT", "STATUS", "SERVER", "CLIENT", "AUTHN POLICY", "DESTINATION RULE")

NOTHING: Final = "-"

FITS: Final = frozenset({
    (MutualTlsMode.DISABLE, "DISABLE"),
    (MutualTlsMode.PERMISSIVE, "DISABLE"),
    (MutualTlsMode.PERMISSIVE, "ISTIO_MUTUAL"),
    (MutualTlsMode.STRICT, "ISTIO_MUTUAL"),
})  # fmt: skip
"""What a server accepts of what clients can be told to send."""


@dataclass(frozen=True, slots=True)
class Server:
    """What one endpoint of a Service demands.

    Attributes:
        mode: DISABLE, PERMISSIVE or STRICT.
        policy: `namespace/name` of the policy that decided, "-" for none.
        sends: What a client's sidecar sends to it.
    """

    mode: MutualTlsMode
    policy: str
    sends: str


def status(server: MutualTlsMode, rule: str, *, auto_mtls: bool) -> str:
    """Return AUTO, OK or CONFLICT.

    Args:
        server: What the server demands.
        rule: TLS mode of the client's DestinationRule, "" without one.
        auto_mtls: Whether sidecars choose by themselves where there is no rule.
    """
    if not rule:
        return "AUTO" if auto_mtls else "OK"
    return "OK" if (server, rule) in FITS else "CONFLICT"


def rows(
    snapshot: MeshSnapshot, client: Workload, wanted: Collection[ServiceName] | None = None
) -> list[tuple[str, ...]]:
    """Return one row per port of every Service, or of the wanted ones, by host and port."""
    services = (one for one in snapshot.services if wanted is None or one.id in wanted)
    pairs = [(service, port) for service in services for port in service.ports]
    pairs.sort(key=lambda pair: (pair[0].hostname, pair[1].number))
    return [_row(snapshot, client, service, port) for service, port in pairs]


def find_host(snapshot: MeshSnapshot, host: str, namespace: str) -> set[ServiceName]:
    """Return the Service that a host name means: `web`, `web.shop` or the full name.

    Args:
        snapshot: The mesh.
        host: As a program in a pod would dial it.
        namespace: The namespace of that pod.

    Raises:
        Rejected: No Service has that name.
    """
    for service in snapshot.services:
        name = f"{service.id.name}.{service.id.namespace}"
        spellings = {name, f"{name}.svc", service.hostname}
        if service.id.namespace == namespace:
            spellings.add(service.id.name)
        if host.rstrip(".") in spellings:
            return {service.id}
    raise Rejected(f"no Service is called {host!r}")


def find_services(snapshot: MeshSnapshot, pod_uid: str, asked: Target) -> set[ServiceName]:
    """Return the Services through which a pod is reached.

    Raises:
        Rejected: There is none.
    """
    workload = snapshot.workloads.get(pod_uid)
    found = {one.id for one in services_of(snapshot, workload)} if workload else set()
    if not found:
        raise Rejected(f"no Service selects {asked.resource} in namespace {asked.namespace!r}")
    return found


def _row(
    snapshot: MeshSnapshot, client: Workload, service: Service, port: ServicePort
) -> tuple[str, ...]:
    servers = list(_servers(snapshot, service, port))
    rule = "" if client.accepts_mutual_tls else "DISABLE"
    auto = snapshot.settings.enable_auto_mtls
    verdicts = {status(one.mode, rule, auto_mtls=auto) for one in servers}
    return (
        f"{service.hostname}:{port.number}",
        "CONFLICT" if "CONFLICT" in verdicts else verdicts.pop(),
        _distinct(one.mode.value for one in servers),
        _distinct(rule or one.sends for one in servers),
        _distinct(one.policy for one in servers),
        NOTHING,
    )


def _servers(snapshot: MeshSnapshot, service: Service, port: ServicePort) -> Iterator[Server]:
    endpoints = snapshot.endpoints.get(service.id, {}).get(port.number, ())
    for endpoint in endpoints:
        pod = endpoint.workload
        if pod is None or not pod.accepts_mutual_tls:
            yield Server(MutualTlsMode.DISABLE, NOTHING, "DISABLE")
            continue
        yield _judge(snapshot, service, endpoint)
    if not endpoints:
        yield _judge(snapshot, service, _imagined(service, port))


def _judge(snapshot: MeshSnapshot, service: Service, endpoint: Endpoint) -> Server:
    pod = endpoint.workload
    assert pod is not None  # noqa: S101 - callers see to it
    decision = effective_mode(
        snapshot.peer_authentications,
        Subject(namespace=pod.namespace, labels=pod.labels, port=endpoint.port),
        root_namespace=snapshot.settings.root_namespace,
    )
    sent = client_decision(
        snapshot.peer_authentications,
        endpoint,
        service_namespace=service.id.namespace,
        settings=snapshot.settings,
    )
    sends = "ISTIO_MUTUAL" if sent.mutual_tls else "DISABLE"
    return Server(decision.mode, decision.policy or NOTHING, sends)


def _imagined(service: Service, port: ServicePort) -> Endpoint:
    """Return the endpoint that a Service without pods asks for: a meshed pod that it selects."""
    pod = Workload(
        uid="",
        namespace=service.id.namespace,
        name="",
        address="",
        labels={**service.selector, TLS_MODE_LABEL: TLS_MODE_ISTIO},
        service_account="",
        container_ports={},
    )
    number = port.target if isinstance(port.target, int) else 0
    return Endpoint("", number, ready=False, workload=pod)


def _distinct(values: Iterator[str]) -> str:
    return ",".join(dict.fromkeys(values))
