"""Settings that hold for the whole mesh: what the MeshConfig says, and what nobody can change."""

from dataclasses import dataclass

from mutua.api.mesh_config import MeshConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings(MeshConfig):
    """Mesh-wide settings.

    Attributes:
        dns_domain: Suffix of the names of Services.
        workload_cert_ttl: Seconds that workload certificates live at least; the end of the CA may
            make it less than was asked for.
    """

    dns_domain: str = "cluster.local"
    workload_cert_ttl: float = 86400.0
