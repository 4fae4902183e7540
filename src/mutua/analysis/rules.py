"""Which Services does a DestinationRule speak about?"""

from collections.abc import Sequence

from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Origin
from mutua.api.destination import DestinationRule
from mutua.model.service import Service


def origin(rule: DestinationRule) -> Origin:
    """Return the rule's address."""
    return Origin("DestinationRule", rule.namespace, rule.name)


def services_for(mesh: Mesh, rule: DestinationRule) -> Sequence[Service]:
    """Return the Services and hosts of ServiceEntries that a rule's host means."""
    host = rule.hostname(mesh.settings.dns_domain)
    if "*" not in host:
        return mesh.called(host)
    return [one for one in mesh.snapshot.services if is_meant(host, one.hostname)]


def is_meant(host: str, hostname: str) -> bool:
    """Tell whether a rule's host, perhaps a wildcard, means a Service's."""
    return host == hostname or (host.startswith("*") and hostname.endswith(host[1:]))
