"""Settings that hold for the whole mesh (Istio's MeshConfig, as far as mutua honours it)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """Mesh-wide settings; the defaults are Istio's (istio-semantics section 11.3).

    Attributes:
        root_namespace: Where mesh-wide policies live.
        trust_domain: First part of every SPIFFE ID this mesh issues.
        trust_domain_aliases: Further trust domains whose certificates are accepted.
        dns_domain: Suffix of the names of Services.
        enable_auto_mtls: Whether clients use mTLS wherever the server can.
        allow_any_outbound: Whether unknown destinations are passed through (ALLOW_ANY) or
            refused (REGISTRY_ONLY).
        connect_timeout: Seconds a proxy waits for a TCP connection upstream.
    """

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    dns_domain: str = "cluster.local"
    enable_auto_mtls: bool = True
    allow_any_outbound: bool = True
    connect_timeout: float = 10.0
