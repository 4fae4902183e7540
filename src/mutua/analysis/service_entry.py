"""ServiceEntries that do not do what their author may think (istio-semantics 3.3, 3.5)."""

from collections import defaultdict
from collections.abc import Iterator

from mutua.analysis.codes import ENTRY_PLAINTEXT, TWO_ENTRIES
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, Origin, origin_of
from mutua.analysis.wording import listed
from mutua.api.object import SERVICE_ENTRIES
from mutua.api.service_entry import Resolution
from mutua.model.service import Protocol, Service, port_protocol


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what is to be said about ServiceEntries."""
    yield from _disagreements(mesh)
    for service in mesh.snapshot.services:
        if service.is_entry and not service.is_external and not service.selector:
            yield from _plaintext(mesh, service)


def _plaintext(mesh: Mesh, service: Service) -> Iterator[Message]:
    """Yield endpoints inside of the mesh to which sidecars nevertheless send plaintext."""
    ports = mesh.snapshot.endpoints.get(service.id, {}).values()
    plain = sorted({
        one.address
        for endpoints in ports
        for one in endpoints
        if one.workload is None or not one.workload.accepts_mutual_tls
    })  # fmt: skip
    text = (
        f"sidecars send plaintext to {listed(plain)}, although {service.hostname} is MESH_INTERNAL:"
        " an endpoint with a sidecar needs a serviceAccount, or the label "
        "security.istio.io/tlsMode=istio"
    )
    if service.resolution is Resolution.NONE:
        text = (
            f"sidecars send plaintext to {service.hostname}, although it is MESH_INTERNAL: with "
            "resolution NONE they do not know its endpoints"
        )
    elif not plain:
        return
    yield Message(
        code=ENTRY_PLAINTEXT,
        origin=mesh.origin(service),
        text=text,
        path="spec.resolution" if service.resolution is Resolution.NONE else "spec.endpoints",
    )


def _disagreements(mesh: Mesh) -> Iterator[Message]:
    """Yield ports of one host to which entries of one namespace give different protocols."""
    said: dict[tuple[str, str, int], dict[Protocol, Origin]] = defaultdict(dict)
    entries = mesh.of_kind(SERVICE_ENTRIES)
    for obj in sorted(entries, key=lambda one: one["metadata"].get("creationTimestamp") or ""):
        metadata, spec = obj["metadata"], obj["spec"]
        for host in spec.get("hosts") or ():
            for port in spec.get("ports") or ():
                number, name = port["number"], port.get("protocol") or ""
                protocol = port_protocol(number, name=name, app_protocol="", transport="TCP")
                known = said[metadata.get("namespace") or "", host.lower(), number]
                for other, older in known.items():
                    if other is protocol or older == origin_of(obj):
                        continue
                    text = (
                        f"port {number} of {host} is {protocol.value} here and {other.value} in "
                        f"the older ServiceEntry {older.path}, which is the one that counts"
                    )
                    yield Message(
                        code=TWO_ENTRIES,
                        origin=origin_of(obj),
                        text=text,
                        path="spec.ports",
                        related=(older,),
                    )
                known.setdefault(protocol, origin_of(obj))
