"""Istio's MeshConfig as a typed value: settings that hold for the whole mesh.

Users write it as YAML in ConfigMap `istio` of namespace `istio-system`, under the key `mesh`;
`mutua.api.validation.mesh_config` reads it.  Defaults are Istio's (istio-semantics section 11.3)
unless said otherwise.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from mutua.api.tables.mesh import HYBRID_CURVES


class TlsVersion(Enum):
    """Lowest version of TLS, in Envoy's spelling."""

    TLS_1_2 = "TLSv1_2"
    TLS_1_3 = "TLSv1_3"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsProfile:
    """Which TLS is spoken.

    Attributes:
        minimum: Lowest version.
        curves: Key exchanges in order of preference; empty for Envoy's own choice.
        ciphers: Of TLS 1.2, in order of preference; empty for Envoy's own choice.
    """

    minimum: TlsVersion = TlsVersion.TLS_1_2
    curves: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()


MESH_TLS: Final = TlsProfile(
    curves=(*HYBRID_CURVES, "X25519", "P-256"),
    ciphers=(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
    ),
)
"""Between proxies.  Ciphers are Istio's (section 2.5).

Deviates from Istio: the hybrid key exchange is offered first.  Traffic that is recorded today
cannot be read with tomorrow's quantum computer, and a peer without it uses X25519.
"""


class PathNormalization(Enum):
    """What proxies do to a request's path before they look at it (section 2.6)."""

    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """How requests and connections are logged.

    Attributes:
        file: /dev/stdout, /dev/stderr, or "" for no log.
        encoding: TEXT or JSON.
        format: Envoy's format: a line, or a JSON object; "" for Istio's (section 9.3).
        unmatched: Whether connections that no filter chain takes are logged too.
    """

    file: str = ""
    encoding: str = "TEXT"
    format: str = ""
    unmatched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CaCertificate:
    """An authority besides the mesh's own.

    Attributes:
        pem: Its certificates, and perhaps its revocation lists; "" if they are not given here.
        trust_domains: Whose certificates it signs.
    """

    pem: str
    trust_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """Settings of the whole mesh.

    Attributes:
        root_namespace: Where mesh-wide policies live.
        trust_domain: First part of every SPIFFE ID this mesh issues.
        trust_domain_aliases: Further trust domains whose certificates are accepted.
        ca_certificates: Authorities that proxies trust besides the mesh's own.
        enable_auto_mtls: Whether clients use mTLS wherever the server can.
        allow_any_outbound: Whether unknown destinations are passed through (ALLOW_ANY) or
            refused (REGISTRY_ONLY).
        inbound_to_localhost: Whether proxies find the applications behind declared ports at
            127.0.0.1 (LOCALHOST) instead of the pod's address (PASSTHROUGH).
        connect_timeout: Seconds a proxy waits for a TCP connection upstream.
        detection_timeout: Seconds a proxy waits for the first bytes that tell what a connection
            is; 0 waits for ever.
        dns_refresh_rate: Seconds between two lookups of a name that a proxy resolves.
        default_service_export_to: Who sees a Service that does not say.
        default_destination_rule_export_to: Who sees a DestinationRule that does not say.
        h2_upgrade: Whether clients speak HTTP/2 to HTTP/1.1 ports unless a rule says otherwise.
        path_normalization: Of requests.
        access_log: Of requests and connections.
        mesh_tls: TLS between proxies.
        tls_defaults: TLS to servers outside the mesh (SIMPLE and MUTUAL).
    """

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    ca_certificates: tuple[CaCertificate, ...] = ()
    enable_auto_mtls: bool = True
    allow_any_outbound: bool = True
    inbound_to_localhost: bool = False
    connect_timeout: float = 10.0
    detection_timeout: float = 0.0
    dns_refresh_rate: float = 60.0
    default_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
    h2_upgrade: bool = False
    path_normalization: PathNormalization = PathNormalization.BASE
    access_log: AccessLog = field(default_factory=AccessLog)
    mesh_tls: TlsProfile = MESH_TLS
    tls_defaults: TlsProfile = field(default_factory=TlsProfile)
