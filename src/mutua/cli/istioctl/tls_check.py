"""`authn tls-check`: what would this client send to that port, and does it fit the server?

Both answers are the evaluator's (mutua.policy).  In the columns' own vocabulary:

    SERVER  DISABLE, PERMISSIVE or STRICT; DISABLE also where there is no sidecar to demand more
    CLIENT  ISTIO_MUTUAL or DISABLE; behind a "," what differs between a Service's endpoints

STATUS, with the TLS mode a DestinationRule tells the client to use (istio-semantics 10.7):

    no rule, automatic mTLS on       AUTO, but CONFLICT where the call cannot work
    no rule, automatic mTLS off      OK, but CONFLICT where the call cannot work
    DISABLE to DISABLE or PERMISSIVE, ISTIO_MUTUAL to STRICT or PERMISSIVE    OK
    anything else                    CONFLICT

A client without a sidecar has no choice: it sends plaintext, as under a rule that says DISABLE.
A subset of a DestinationRule has a row of its own, `host|subset`.

Deviates from Istio: without a rule it said AUTO whatever the server demanded.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mutua.api.security import MutualTlsMode
from mutua.cli.istioctl.exposure import services_of
from mutua.cli.istioctl.target import Target
from mutua.foundation.errors import Rejected
from mutua.model.service import Service, ServiceName, ServicePort
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import TLS_MODE_ISTIO, TLS_MODE_LABEL, Endpoint, Workload
from mutua.policy.connection import Verdict, judge
from mutua.policy.destination_rule import MergedRule, cluster_setting, find_rule
from mutua.policy.outbound import Destination, Sends

HEADER: Final = ("HOST:PORT", "STATUS", "SERVER", "CLIENT", "AUTHN POLICY", "DESTINATION RULE")

NOTHING: Final = "-"

FITS: Final = frozenset({
    (MutualTlsMode.DISABLE, "DISABLE"),
    (MutualTlsMode.PERMISSIVE, "DISABLE"),
    (MutualTlsMode.PERMISSIVE, "ISTIO_MUTUAL"),
    (MutualTlsMode.STRICT, "ISTIO_MUTUAL"),
})  # fmt: skip
"""What a server accepts of what clients can be told to send."""


SENT: Final = {
    Sends.NOTHING: NOTHING,
    Sends.PLAINTEXT: "DISABLE",
    Sends.SIMPLE: "SIMPLE",
    Sends.MUTUAL: "MUTUAL",
    Sends.ISTIO_MUTUAL: "ISTIO_MUTUAL",
}
"""What is sent, in the words of a DestinationRule."""


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
    """Return the rows of every Service inside of the mesh, or of the wanted ones.

    One per port, and one more for each subset that a DestinationRule defines; by host and port.
    """
    services = [
        one
        for one in snapshot.services
        if (wanted is None and not one.is_external) or (wanted is not None and one.id in wanted)
    ]
    services.sort(key=lambda one: one.hostname)
    found = []
    for service in services:
        rule = find_rule(snapshot.destination_rules, client, service, snapshot.settings)
        for port in sorted(service.ports, key=lambda one: one.number):
            asked = [Asked(service, port, one) for one in ("", *(rule.subsets if rule else ()))]
            found += [_row(snapshot, client, rule, one) for one in asked]
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What one row is about; subset "" for the Service as a whole."""

    service: Service
    port: ServicePort
    subset: str


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
    snapshot: MeshSnapshot, client: Workload, rule: MergedRule | None, asked: Asked
) -> tuple[str, ...]:
    service, port, subset = asked.service, asked.port, asked.subset
    setting = cluster_setting(rule, port.number, subset)
    told = setting.tls.mode.value if setting.tls else ""
    if not client.accepts_mutual_tls:
        rule, told = None, "DISABLE"
    verdicts = [
        judge(
            snapshot, client, Destination(service=service, port=port, endpoint=one, subset=subset)
        )
        for one in _endpoints(snapshot, rule, asked)
    ]
    auto = snapshot.settings.enable_auto_mtls
    states = {
        "CONFLICT" if not told and one.works is False else status(_mode(one), told, auto_mtls=auto)
        for one in verdicts
    }
    policies = (one.demanded.policy if one.demanded else "" for one in verdicts)
    host = f"{service.hostname}|{subset}" if subset else service.hostname
    return (
        f"{host}:{port.number}",
        "CONFLICT" if "CONFLICT" in states else states.pop(),
        _distinct(_mode(one).value for one in verdicts),
        _distinct(SENT[one.sent.sends] for one in verdicts),
        _distinct(policy or NOTHING for policy in policies),
        rule.source if rule else NOTHING,
    )


def _mode(verdict: Verdict) -> MutualTlsMode:
    """Return what the server demands: nothing, where there is no sidecar."""
    return verdict.demanded.mode if verdict.demanded else MutualTlsMode.DISABLE


def _endpoints(snapshot: MeshSnapshot, rule: MergedRule | None, asked: Asked) -> Sequence[Endpoint]:
    """Return who serves a port; without pods, the one that the Service asks for."""
    found = snapshot.endpoints.get(asked.service.id, {}).get(asked.port.number, ())
    if asked.subset and rule is not None:
        labels = rule.subsets[asked.subset].subset.labels.items()
        found = tuple(
            one for one in found if one.workload and labels <= one.workload.labels.items()
        )
    return found or (_imagined(asked.service, asked.port),)


def _imagined(service: Service, port: ServicePort) -> Endpoint:
    """Return the endpoint that a Service without pods asks for: a meshed pod that it selects."""
    pod = Workload(
        uid="imagined",
        namespace=service.id.namespace,
        name="",
        address="",
        labels={**service.selector, TLS_MODE_LABEL: TLS_MODE_ISTIO},
        service_account="",
        container_ports={},
    )
    number = port.target if isinstance(port.target, int) else 0
    return Endpoint("", number, ready=False, workload=pod)


def _distinct(values: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(values))
