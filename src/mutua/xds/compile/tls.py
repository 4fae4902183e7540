"""Mutual TLS as Envoy transport sockets, for either side of a connection.

Keys and roots come by secret discovery from the agent, so a resource never changes when a
certificate does.  Specification: istio-semantics sections 2.5 and 3.6.
"""

from collections.abc import Sequence
from typing import Any, Final

from mutua.api.mesh_config import TlsProfile, TlsVersion
from mutua.model.settings import MeshSettings
from mutua.xds.compile.names import (
    CERTIFICATE_SECRET,
    SDS_CLUSTER,
    SERVER_ALPN,
    TRUST_SECRET,
    XDS_CLUSTER,
)
from mutua.xds.proto import DownstreamTlsContext, RawBuffer, UpstreamTlsContext, pack

TLS: Final = "envoy.transport_sockets.tls"
RAW: Final = "envoy.transport_sockets.raw_buffer"


def _secrets_from(cluster: str, patience: dict[str, Any]) -> dict[str, Any]:
    """Return where secrets come from.

    Args:
        cluster: Who serves them.
        patience: How long listeners and clusters wait for one, as a duration; {} for ever.
    """
    # Envoy's default ceiling, 30 s, suits a remote server; these are local.
    back_off = {"base_interval": {"nanos": 50_000_000}, "max_interval": {"seconds": 1}}
    service = {"cluster_name": cluster, "retry_policy": {"retry_back_off": back_off}}
    return {
        "api_config_source": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": service}],
        },
        "initial_fetch_timeout": patience,
        "resource_api_version": "V3",
    }


SDS: Final = _secrets_from(SDS_CLUSTER, {})
"""Where the mesh's secrets come from; nobody goes on without one."""

CREDENTIALS: Final = _secrets_from(XDS_CLUSTER, {"seconds": 1})
"""Where Secrets come from that users name.  One that is not there fails the connections that need
it, and must not keep a proxy from confirming anything else."""


def tls_parameters(profile: TlsProfile) -> dict[str, Any]:
    """Return versions, key exchanges and ciphers; what a profile leaves open, Envoy chooses."""
    return {
        "tls_minimum_protocol_version": profile.minimum.value,
        "tls_maximum_protocol_version": TlsVersion.TLS_1_3.value,
        "cipher_suites": profile.ciphers,
        "ecdh_curves": profile.curves,
    }


def trusted_prefixes(settings: MeshSettings) -> list[str]:
    """Return the SPIFFE ID prefixes of every trust domain that this mesh accepts."""
    others = (domain for one in settings.ca_certificates if one.pem for domain in one.trust_domains)
    domains = (settings.trust_domain, *settings.trust_domain_aliases, *others)
    return [f"spiffe://{domain}/" for domain in dict.fromkeys(domains)]


def downstream_tls(settings: MeshSettings) -> dict[str, Any]:
    """Return the server's side: any certificate of the trust domain, and always a certificate.

    Which peer may do what is not decided here but by AuthorizationPolicy.
    """
    context = DownstreamTlsContext(
        common_tls_context=_common(settings, SERVER_ALPN, prefixes=trusted_prefixes(settings)),
        require_client_certificate={"value": True},
    )
    return {"name": TLS, "typed_config": pack(context)}


def upstream_tls(
    *, alpn: Sequence[str], sni: str, identities: Sequence[str], settings: MeshSettings
) -> dict[str, Any]:
    """Return the client's side: the server must prove one of `identities`.

    Deviates from Istio: without a known identity Istio accepts every certificate that the root
    signed; mutua still demands the trust domain.
    """
    prefixes = [] if identities else trusted_prefixes(settings)
    context = UpstreamTlsContext(
        common_tls_context=_common(settings, alpn, exact=identities, prefixes=prefixes), sni=sni
    )
    return {"name": TLS, "typed_config": pack(context)}


def secrets_kept() -> dict[str, Any]:
    """Return mesh TLS that nobody uses, and that keeps the secrets loaded where mTLS is off.

    Envoy forgets secrets without a use.  Then it confirms a listener with TLS before the secrets
    have come and the listener serves, so that "the server is ready for mTLS" would not be true.
    """
    context = UpstreamTlsContext(
        common_tls_context={
            "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE_SECRET, "sds_config": SDS}],
            "validation_context_sds_secret_config": {"name": TRUST_SECRET, "sds_config": SDS},
        }
    )
    return {"name": TLS, "typed_config": pack(context)}


def plaintext() -> dict[str, Any]:
    """Return the transport socket that leaves bytes as they are."""
    return {"name": RAW, "typed_config": pack(RawBuffer())}


def exactly(name: str) -> list[dict[str, Any]]:
    """Return matchers for a name that a peer must prove; of any type unless it is a SPIFFE ID.

    Users write names without saying which kind of SAN they mean (section 3.6).
    """
    kinds = ("URI",) if name.startswith("spiffe://") else ("URI", "DNS", "IP_ADDRESS", "EMAIL")
    return [{"san_type": kind, "matcher": {"exact": name}} for kind in kinds]


def _common(
    settings: MeshSettings,
    alpn: Sequence[str],
    *,
    exact: Sequence[str] = (),
    prefixes: Sequence[str] = (),
) -> dict[str, Any]:
    matchers = [matcher for name in exact for matcher in exactly(name)]
    matchers += [{"san_type": "URI", "matcher": {"prefix": prefix}} for prefix in prefixes]
    return {
        "tls_params": tls_parameters(settings.mesh_tls),
        "alpn_protocols": alpn,
        "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE_SECRET, "sds_config": SDS}],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": matchers},
            "validation_context_sds_secret_config": {"name": TRUST_SECRET, "sds_config": SDS},
        },
    }
