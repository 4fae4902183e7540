"""Through which Services is a pod reached?"""

from mutua.model.service import Service
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload


def services_of(snapshot: MeshSnapshot, workload: Workload) -> list[Service]:
    """Return the Services whose selector fits a pod, oldest first."""
    return [
        service
        for service in snapshot.services
        if service.selector
        and service.id.namespace == workload.namespace
        and service.selector.items() <= workload.labels.items()
    ]
