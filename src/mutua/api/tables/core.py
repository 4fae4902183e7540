"""Schemas of the small kinds of core/v1, and of discovery.k8s.io/v1.

Source: Kubernetes API reference.
"""

from typing import Final

from mutua.api.shape import (
    BOOLEAN,
    BYTES,
    COUNT,
    INT32,
    INT64,
    INT_OR_STRING,
    LABELS,
    OPAQUE,
    OPAQUE_LIST,
    PORT,
    STRING,
    STRINGS,
    TIME,
    ListOf,
    MapOf,
    enum,
    struct,
)
from mutua.api.tables.meta import CONDITIONS, LOCAL_REFERENCE, OBJECT_REFERENCE, root
from mutua.api.tables.pod import QUANTITIES

NAMESPACE: Final = root(
    "Namespace",
    spec=struct("NamespaceSpec", finalizers=STRINGS),
    status=struct("NamespaceStatus", phase=STRING, conditions=CONDITIONS),
)
SECRET: Final = root(
    "Secret",
    data=MapOf(BYTES),
    stringData=LABELS,
    type=STRING,
    immutable=BOOLEAN,
)
CONFIG_MAP: Final = root("ConfigMap", data=LABELS, binaryData=MapOf(BYTES), immutable=BOOLEAN)
SERVICE_ACCOUNT: Final = root(
    "ServiceAccount",
    secrets=ListOf(OBJECT_REFERENCE, key="name"),
    imagePullSecrets=ListOf(LOCAL_REFERENCE),
    automountServiceAccountToken=BOOLEAN,
)

PROTOCOL: Final = enum("TCP", "UDP", "SCTP")
SERVICE_PORT: Final = struct(
    "ServicePort",
    "port",
    name=STRING,
    protocol=PROTOCOL,
    port=PORT,
    targetPort=INT_OR_STRING,
    nodePort=COUNT,
    appProtocol=STRING,
)
SERVICE: Final = root(
    "Service",
    "spec",
    spec=struct(
        "ServiceSpec",
        ports=ListOf(SERVICE_PORT, key="port"),
        selector=LABELS,
        clusterIP=STRING,
        clusterIPs=STRINGS,
        type=enum("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
        externalIPs=STRINGS,
        sessionAffinity=enum("None", "ClientIP"),
        loadBalancerIP=STRING,
        loadBalancerSourceRanges=STRINGS,
        externalName=STRING,
        externalTrafficPolicy=STRING,
        healthCheckNodePort=COUNT,
        publishNotReadyAddresses=BOOLEAN,
        sessionAffinityConfig=OPAQUE,
        ipFamilies=STRINGS,
        ipFamilyPolicy=STRING,
        allocateLoadBalancerNodePorts=BOOLEAN,
        loadBalancerClass=STRING,
        internalTrafficPolicy=STRING,
        trafficDistribution=STRING,
    ),
    status=struct("ServiceStatus", loadBalancer=OPAQUE, conditions=CONDITIONS),
)

ENDPOINT_SLICE: Final = root(
    "EndpointSlice",
    "addressType",
    addressType=enum("IPv4", "IPv6", "FQDN"),
    endpoints=ListOf(
        struct(
            "Endpoint",
            "addresses",
            addresses=STRINGS,
            conditions=struct(
                "EndpointConditions", ready=BOOLEAN, serving=BOOLEAN, terminating=BOOLEAN
            ),
            hostname=STRING,
            targetRef=OBJECT_REFERENCE,
            deprecatedTopology=LABELS,
            nodeName=STRING,
            zone=STRING,
            hints=OPAQUE,
        )
    ),
    ports=ListOf(
        struct("EndpointPort", name=STRING, protocol=PROTOCOL, port=PORT, appProtocol=STRING)
    ),
)

EVENT: Final = root(
    "Event",
    involvedObject=OBJECT_REFERENCE,
    reason=STRING,
    message=STRING,
    source=struct("EventSource", component=STRING, host=STRING),
    firstTimestamp=TIME,
    lastTimestamp=TIME,
    count=INT32,
    type=STRING,
    eventTime=TIME,
    series=struct("EventSeries", count=INT32, lastObservedTime=TIME),
    action=STRING,
    related=OBJECT_REFERENCE,
    reportingComponent=STRING,
    reportingInstance=STRING,
)

NODE: Final = root(
    "Node",
    spec=struct(
        "NodeSpec",
        podCIDR=STRING,
        podCIDRs=ListOf(STRING, is_set=True),
        providerID=STRING,
        unschedulable=BOOLEAN,
        taints=OPAQUE_LIST,
        configSource=OPAQUE,
        externalID=STRING,
    ),
    status=struct(
        "NodeStatus",
        capacity=QUANTITIES,
        allocatable=QUANTITIES,
        phase=STRING,
        conditions=CONDITIONS,
        addresses=ListOf(struct("NodeAddress", type=STRING, address=STRING), key="type"),
        daemonEndpoints=OPAQUE,
        nodeInfo=struct(
            "NodeSystemInfo",
            machineID=STRING,
            systemUUID=STRING,
            bootID=STRING,
            kernelVersion=STRING,
            osImage=STRING,
            containerRuntimeVersion=STRING,
            kubeletVersion=STRING,
            kubeProxyVersion=STRING,
            operatingSystem=STRING,
            architecture=STRING,
            swap=OPAQUE,
        ),
        images=OPAQUE_LIST,
        volumesInUse=STRINGS,
        volumesAttached=OPAQUE_LIST,
        config=OPAQUE,
        runtimeHandlers=OPAQUE_LIST,
        features=OPAQUE,
        declaredFeatures=STRINGS,
    ),
)

TOKEN_REQUEST: Final = root(
    "TokenRequest",
    spec=struct(
        "TokenRequestSpec",
        audiences=STRINGS,
        expirationSeconds=INT64,
        boundObjectRef=struct(
            "BoundObjectReference", kind=STRING, apiVersion=STRING, name=STRING, uid=STRING
        ),
    ),
    status=struct("TokenRequestStatus", token=STRING, expirationTimestamp=TIME),
)
