"""A client's TLS towards servers that are not the mesh's: modes SIMPLE and MUTUAL of a rule.

    SIMPLE    verify the server, prove nothing
    MUTUAL    prove who we are with the rule's own certificate

Either names files of the proxy, or a Secret (`credentialName`).  Files are named in the
configuration itself: a missing one makes Envoy refuse the cluster, so that the rule is held back
and its status says which file.  When the files have changed the proxy is sent the cluster again
(`clusters.reread`): Envoy would follow files that secret discovery names by itself, but tells
nobody when it cannot use what it finds.  A Secret is asked for by name: as long as it is missing,
connections fail, and the rule's status says so.

The proxy's own certificate and the mesh's roots have files too, in /etc/certs; the agent, which
writes them, serves the same by secret discovery, so that they are followed as everywhere else.
Specification: istio-semantics sections 3.4 and 3.6.
"""

from collections.abc import Iterable
from typing import Any, Final

from mutua.api.destination import ROOTS, ClientTls, TlsMode
from mutua.model.settings import MeshSettings
from mutua.xds.compile.names import CERTIFICATE_SECRET, TRUST_SECRET
from mutua.xds.compile.tls import CREDENTIALS, SDS, TLS, exactly, tls_parameters
from mutua.xds.proto import UpstreamTlsContext, pack

SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
"""What a rule without `caCertificates` trusts: Istio's "system", where Debian has it."""

SECRETS: Final = "kubernetes://"
"""What the names of Secrets begin with among proxies (section 2.9)."""

OWN_CERTIFICATE: Final = ("/etc/certs/cert-chain.pem", "/etc/certs/key.pem")
OWN_ROOTS: Final = "/etc/certs/root-cert.pem"
"""Where the agent puts what it also serves."""

HTTP2_ALPN: Final = ("h2",)


def foreign_tls(
    tls: ClientTls, settings: MeshSettings, *, http2: bool, expected: Iterable[str]
) -> dict[str, Any]:
    """Return the transport socket for a rule's SIMPLE or MUTUAL.

    Args:
        tls: The rule's block.
        settings: Of the mesh.
        http2: Whether the cluster speaks HTTP/2.
        expected: Names that a ServiceEntry gives the server; the rule's own beat them.
    """
    common: dict[str, Any] = {"tls_params": tls_parameters(settings.tls_defaults)}
    if (roots := _served_roots(tls)) is not None:
        common["combined_validation_context"] = {
            "default_validation_context": {"match_typed_subject_alt_names": _named(tls, expected)},
            "validation_context_sds_secret_config": roots,
        }
    else:
        common["validation_context"] = _validation(tls, expected)
    if http2:
        common["alpn_protocols"] = HTTP2_ALPN
    if tls.mode is TlsMode.MUTUAL and tls.credential_name:
        common["tls_certificate_sds_secret_configs"] = [_secret(tls.credential_name)]
    elif tls.mode is TlsMode.MUTUAL and (tls.client_certificate, tls.private_key) == (
        OWN_CERTIFICATE
    ):
        common["tls_certificate_sds_secret_configs"] = [_of_the_mesh(CERTIFICATE_SECRET)]
    elif tls.mode is TlsMode.MUTUAL:
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": tls.client_certificate},
                "private_key": {"filename": tls.private_key},
            }
        ]
    context = UpstreamTlsContext(common_tls_context=common, sni=tls.sni)
    return {"name": TLS, "typed_config": pack(context)}


def host_decides(tls: ClientTls, expected: Iterable[str]) -> dict[str, bool]:
    """Return what a request's Host header decides: the name to ask for, and the one to verify."""
    named = bool(names(tls, expected)) or tls.insecure_skip_verify
    return {"auto_sni": not tls.sni, "auto_san_validation": not tls.sni and not named}


def names(tls: ClientTls, expected: Iterable[str]) -> tuple[str, ...]:
    """Return whom the server must prove to be."""
    return tuple(expected) if tls.subject_alt_names is None else tls.subject_alt_names


def _served_roots(tls: ClientTls) -> dict[str, Any] | None:
    """Return the secret to verify the server with; None where there is none, but perhaps a file."""
    if tls.insecure_skip_verify:
        return None
    if tls.credential_name:
        return _secret(tls.credential_name + ROOTS)
    is_own = tls.ca_certificates == OWN_ROOTS and not tls.ca_crl
    return _of_the_mesh(TRUST_SECRET) if is_own else None


def _validation(tls: ClientTls, expected: Iterable[str]) -> dict[str, Any]:
    if tls.insecure_skip_verify:
        return {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
    context: dict[str, Any] = {"trusted_ca": {"filename": tls.ca_certificates or SYSTEM_ROOTS}}
    if tls.ca_crl:
        context["crl"] = {"filename": tls.ca_crl}
    return context | {"match_typed_subject_alt_names": _named(tls, expected)}


def _named(tls: ClientTls, expected: Iterable[str]) -> list[dict[str, Any]]:
    return [matcher for name in names(tls, expected) for matcher in exactly(name)]


def _secret(name: str) -> dict[str, Any]:
    return {"name": f"{SECRETS}{name}", "sds_config": CREDENTIALS}


def _of_the_mesh(name: str) -> dict[str, Any]:
    return {"name": name, "sds_config": SDS}
