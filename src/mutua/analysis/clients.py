"""Which clients have to be looked at, to know what all clients of a Service do?

Clients of one namespace follow the same rules, and most namespaces are alike.  What tells them
apart: rules of their own for the host, and being named by somebody's exportTo.  So it is enough to
ask for the Service's own namespace, for those that are named, for one of all the others, and for
the root namespace: most rules there are no rules of its own clients' own.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from mutua.analysis.mesh import Mesh
from mutua.analysis.rules import is_meant
from mutua.api.destination import DestinationRule
from mutua.model.service import Service
from mutua.model.workload import TLS_MODE_ISTIO, TLS_MODE_LABEL, Workload

NOWHERE: Final = "192.0.2.1"
"""The made-up client's address, which no pod has (RFC 5737)."""


def client_in(namespace: str, rule: DestinationRule | None = None) -> Workload:
    """Return a meshed client of a namespace, one that a rule's selector means."""
    labels = {**((rule.selector if rule else None) or {}), TLS_MODE_LABEL: TLS_MODE_ISTIO}
    return Workload(
        uid="client",
        namespace=namespace,
        name="client",
        address=NOWHERE,
        labels=labels,
        service_account="client",
        container_ports={},
    )


def followers(mesh: Mesh, rule: DestinationRule, service: Service) -> Iterator[Workload]:
    """Yield clients that may follow a rule to a Service, or are left without one by it."""
    exported = rule.export_to or mesh.settings.default_destination_rule_export_to
    is_local = rule.namespace not in {service.id.namespace, mesh.root}
    if is_local or set(exported) == {"."} or rule.selector is not None:
        yield client_in(rule.namespace, rule)
        if rule.selector is not None:
            yield client_in(rule.namespace)
        return
    yield from callers(mesh, service, exported)


def callers(mesh: Mesh, service: Service, exported: Iterable[str] = ()) -> Iterator[Workload]:
    """Yield one client for each kind of client that a Service has.

    Args:
        mesh: The mesh.
        service: What they call.
        exported: Further namespaces that are named, as in exportTo.
    """
    visible = service.export_to or mesh.settings.default_service_export_to
    named = {one for one in (*exported, *visible) if one not in {"*", "."}}
    own = service.id.namespace
    root = [mesh.root] if mesh.root in mesh.inhabited else []
    others = _one_of_the_others(mesh, service, named)
    for namespace in dict.fromkeys((own, *sorted(named), *root, *others)):
        yield client_in(namespace)


def _one_of_the_others(mesh: Mesh, service: Service, named: set[str]) -> Iterator[str]:
    domain = mesh.settings.dns_domain
    for namespace in mesh.inhabited:
        has_own = any(
            is_meant(rule.hostname(domain), service.hostname) for rule in mesh.rules_in(namespace)
        )
        if namespace != service.id.namespace and namespace not in named and not has_own:
            yield namespace
            return
