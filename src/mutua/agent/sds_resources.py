"""A workload's secret as the two resources Envoy asks the agent for.

    default    TlsCertificate                 key, and leaf + intermediates + root
    ROOTCA     CertificateValidationContext   trust anchors

Source: istio-semantics 4.7; istio security/pkg/nodeagent/sds.
"""

import hashlib
from typing import Any, Final

from mutua.agent.secret import WorkloadSecret
from mutua.xds.proto import message, type_url
from mutua.xds.resource import Layer, ProxyResources, Resource, ResourceSet

CERTIFICATE: Final = "default"
"""Name of the workload's own certificate and key."""

TRUST: Final = "ROOTCA"
"""Name of the trust anchors."""

MESSAGE: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"
SECRET: Final = type_url(MESSAGE)
"""Type URL of both."""


def secret_resources(secret: WorkloadSecret) -> ProxyResources:
    """Return everything the secret service has for one proxy."""
    return {SECRET: ResourceSet(Layer((_certificate(secret), _trust(secret))))}


def _certificate(secret: WorkloadSecret) -> Resource:
    body: Any = message(MESSAGE)(name=CERTIFICATE)
    body.tls_certificate.certificate_chain.inline_bytes = secret.issued.chain_pem.encode()
    body.tls_certificate.private_key.inline_bytes = secret.key.pem().encode()
    return _resource(CERTIFICATE, secret.issued.chain_pem, body)


def _trust(secret: WorkloadSecret) -> Resource:
    body: Any = message(MESSAGE)(name=TRUST)
    context = body.validation_context
    context.trusted_ca.inline_bytes = secret.bundle.roots_pem.encode()
    if secret.bundle.crl:
        context.crl.inline_bytes = secret.bundle.crl.encode()
        context.only_verify_leaf_cert_crl = not secret.bundle.checks_authorities
    return _resource(TRUST, secret.bundle.digest, body)


def _resource(name: str, public: str, body: Any) -> Resource:
    """Version a resource by its public part only: versions appear in logs and config dumps."""
    version = hashlib.blake2b(public.encode(), digest_size=8).hexdigest()
    return Resource(name, version, body.SerializeToString(deterministic=True))
