"""Schemas of Istio's kinds.

Source: Istio API reference (security, networking); limits of the CustomResourceDefinitions as
listed in istio-semantics sections 1.2, 5.7 and 6.2.
"""

from typing import Final

from mutua.api.shape import (
    BOOLEAN,
    COUNT,
    INT64,
    LABELS,
    NUMBER,
    OPAQUE,
    OPAQUE_LIST,
    STRING,
    STRINGS,
    ListOf,
    MapOf,
    Scalar,
    Schema,
    Struct,
    enum,
    struct,
)
from mutua.api.tables.meta import CONDITIONS, root

MTLS_MODES: Final = ("UNSET", "DISABLE", "PERMISSIVE", "STRICT")
ACTIONS: Final = ("ALLOW", "DENY", "AUDIT", "CUSTOM")
TLS_MODES: Final = ("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL")

MAX_LABELS: Final = 4096
MAX_LABEL_VALUE: Final = 63
MAX_RULES: Final = 512
MAX_TARGETS: Final = 16
MAX_SERVICE_ACCOUNTS: Final = 16

MATCH_LABELS: Final = MapOf(Scalar("string", max_length=MAX_LABEL_VALUE), max_items=MAX_LABELS)
WORKLOAD_SELECTOR: Final = struct("WorkloadSelector", matchLabels=MATCH_LABELS)
STATUS: Final = struct(
    "IstioStatus",
    conditions=CONDITIONS,
    observedGeneration=INT64,
    validationMessages=OPAQUE_LIST,
)
TARGET_REFERENCE: Final = struct(
    "PolicyTargetReference", "kind", group=STRING, kind=STRING, name=STRING, namespace=STRING
)

MUTUAL_TLS: Final = struct("MutualTLS", mode=enum(*MTLS_MODES))
PEER_AUTHENTICATION: Final = root(
    "PeerAuthentication",
    spec=struct(
        "PeerAuthenticationSpec",
        selector=WORKLOAD_SELECTOR,
        mtls=MUTUAL_TLS,
        portLevelMtls=MapOf(MUTUAL_TLS),
    ),
    status=STATUS,
)


def _both(**fields: Schema) -> dict[str, Schema]:
    """Return each field and its negation, as `hosts` and `notHosts`."""
    negated = {f"not{name[0].upper()}{name[1:]}": schema for name, schema in fields.items()}
    return fields | negated


SOURCE: Final = Struct(
    "Source",
    _both(
        principals=STRINGS,
        requestPrincipals=STRINGS,
        namespaces=STRINGS,
        serviceAccounts=ListOf(Scalar("string", max_length=320), max_items=MAX_SERVICE_ACCOUNTS),
        trustDomains=STRINGS,
        ipBlocks=STRINGS,
        remoteIpBlocks=STRINGS,
    ),
)
OPERATION: Final = Struct(
    "Operation", _both(hosts=STRINGS, ports=STRINGS, methods=STRINGS, paths=STRINGS)
)
RULE: Final = Struct(
    "Rule",
    {
        "from": ListOf(struct("From", source=SOURCE), max_items=MAX_RULES),
        "to": ListOf(struct("To", operation=OPERATION), max_items=MAX_RULES),
        "when": ListOf(
            struct("RuleCondition", "key", key=STRING, values=STRINGS, notValues=STRINGS)
        ),
    },
)
AUTHORIZATION_POLICY: Final = root(
    "AuthorizationPolicy",
    spec=struct(
        "AuthorizationPolicySpec",
        selector=WORKLOAD_SELECTOR,
        targetRef=TARGET_REFERENCE,
        targetRefs=ListOf(TARGET_REFERENCE, max_items=MAX_TARGETS),
        action=enum(*ACTIONS),
        rules=ListOf(RULE, max_items=MAX_RULES),
        provider=struct("ExtensionProvider", name=STRING),
    ),
    status=STATUS,
)

CLIENT_TLS: Final = struct(
    "ClientTLSSettings",
    mode=enum(*TLS_MODES),
    clientCertificate=STRING,
    privateKey=STRING,
    caCertificates=STRING,
    credentialName=STRING,
    subjectAltNames=STRINGS,
    sni=STRING,
    insecureSkipVerify=BOOLEAN,
    caCrl=STRING,
)
TCP_POOL: Final = struct(
    "TCPSettings",
    maxConnections=COUNT,
    connectTimeout=STRING,
    tcpKeepalive=struct("TcpKeepalive", probes=COUNT, time=STRING, interval=STRING),
    maxConnectionDuration=STRING,
    idleTimeout=STRING,
)
HTTP_POOL: Final = struct(
    "HTTPSettings",
    http1MaxPendingRequests=COUNT,
    http2MaxRequests=COUNT,
    maxRequestsPerConnection=COUNT,
    maxRetries=COUNT,
    idleTimeout=STRING,
    h2UpgradePolicy=enum("DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"),
    useClientProtocol=BOOLEAN,
    maxConcurrentStreams=COUNT,
)
OUTLIER_DETECTION: Final = struct(
    "OutlierDetection",
    consecutiveErrors=COUNT,
    splitExternalLocalOriginErrors=BOOLEAN,
    consecutiveLocalOriginFailures=COUNT,
    consecutiveGatewayErrors=COUNT,
    consecutive5xxErrors=COUNT,
    interval=STRING,
    baseEjectionTime=STRING,
    maxEjectionPercent=COUNT,
    minHealthPercent=COUNT,
)
LOAD_BALANCER: Final = struct(
    "LoadBalancerSettings",
    simple=enum(
        "UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"
    ),
    consistentHash=OPAQUE,
    localityLbSetting=OPAQUE,
    warmupDurationSecs=STRING,
    warmup=OPAQUE,
)
_POLICY: Final[dict[str, Schema]] = {
    "loadBalancer": LOAD_BALANCER,
    "connectionPool": struct("ConnectionPoolSettings", tcp=TCP_POOL, http=HTTP_POOL),
    "outlierDetection": OUTLIER_DETECTION,
    "tls": CLIENT_TLS,
}
TRAFFIC_POLICY: Final = struct(
    "TrafficPolicy",
    **_POLICY,
    portLevelSettings=ListOf(
        struct("PortTrafficPolicy", port=struct("PortSelector", number=COUNT), **_POLICY)
    ),
    tunnel=struct(
        "TunnelSettings",
        "targetHost targetPort",
        protocol=STRING,
        targetHost=STRING,
        targetPort=COUNT,
    ),
    proxyProtocol=struct("ProxyProtocol", version=enum("V1", "V2")),
    retryBudget=struct("RetryBudget", percent=NUMBER, minRetryConcurrency=COUNT),
)
DESTINATION_RULE: Final = root(
    "DestinationRule",
    spec=struct(
        "DestinationRuleSpec",
        "host",
        host=STRING,
        trafficPolicy=TRAFFIC_POLICY,
        subsets=ListOf(
            struct("Subset", "name", name=STRING, labels=LABELS, trafficPolicy=TRAFFIC_POLICY)
        ),
        exportTo=STRINGS,
        workloadSelector=WORKLOAD_SELECTOR,
    ),
    status=STATUS,
)

LOCATIONS: Final = ("MESH_EXTERNAL", "MESH_INTERNAL")
RESOLUTIONS: Final = ("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN")

MAX_LISTED: Final = 256
"""Hosts, addresses and ports of a ServiceEntry, and labels of an endpoint."""
MAX_ENDPOINTS: Final = 4096

WORKLOAD_ENTRY: Final = struct(
    "WorkloadEntrySpec",
    address=Scalar("string", max_length=256),
    ports=MapOf(COUNT, max_items=128),
    labels=MapOf(STRING, max_items=MAX_LISTED),
    network=Scalar("string", max_length=2048),
    locality=Scalar("string", max_length=2048),
    weight=COUNT,
    serviceAccount=Scalar("string", max_length=253),
)
SERVICE_ENTRY: Final = root(
    "ServiceEntry",
    spec=struct(
        "ServiceEntrySpec",
        "hosts",
        hosts=ListOf(STRING, max_items=MAX_LISTED),
        addresses=ListOf(Scalar("string", max_length=64), max_items=MAX_LISTED),
        ports=ListOf(
            struct(
                "ServiceEntryPort",
                "number name",
                number=COUNT,
                protocol=STRING,
                name=STRING,
                targetPort=COUNT,
            ),
            max_items=MAX_LISTED,
        ),
        location=enum(*LOCATIONS),
        resolution=enum(*RESOLUTIONS),
        endpoints=ListOf(WORKLOAD_ENTRY, max_items=MAX_ENDPOINTS),
        workloadSelector=struct("EntryWorkloadSelector", labels=MATCH_LABELS),
        exportTo=STRINGS,
        subjectAltNames=STRINGS,
    ),
    status=struct(
        "ServiceEntryStatus",
        conditions=CONDITIONS,
        observedGeneration=INT64,
        validationMessages=OPAQUE_LIST,
        addresses=ListOf(struct("ServiceEntryAddress", host=STRING, value=STRING)),
    ),
)
