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
        dns_refresh_rate: Seconds between two lookups of a name that a proxy resolves.
        h2_upgrade: Whether clients speak HTTP/2 to HTTP/1.1 ports unless a rule says otherwise.
        default_service_export_to: Who sees a Service that does not say.
        default_destination_rule_export_to: Who sees a DestinationRule that does not say.
    """

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    dns_domain: str = "cluster.local"
    enable_auto_mtls: bool = True
    allow_any_outbound: bool = True
    connect_timeout: float = 10.0
    dns_refresh_rate: float = 60.0
    h2_upgrade: bool = False
    default_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
