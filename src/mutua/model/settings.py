"""Settings that hold for the whole mesh: what the MeshConfig says, and what nobody can change."""

from dataclasses import dataclass

from mutua.api.mesh_config import MeshConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings(MeshConfig):
    """Mesh-wide settings.

    Attributes:
        dns_domain: Suffix of the names of Services.
    """

    dns_domain: str = "cluster.local"
