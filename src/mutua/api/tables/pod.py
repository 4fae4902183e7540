"""Schema of a Pod and of the template that makes pods.

All fields of Kubernetes are known here, so that ordinary manifests pass strict decoding; what the
process runtime cannot do is Opaque and refused or warned about by `mutua.api.validation.pods`.
Source: Kubernetes API reference, core/v1.
"""

from typing import Final

from mutua.api.shape import (
    BOOLEAN,
    COUNT,
    INT32,
    INT64,
    INT_OR_STRING,
    LABELS,
    OPAQUE,
    OPAQUE_LIST,
    PORT,
    QUANTITY,
    STRING,
    STRINGS,
    TIME,
    ListOf,
    MapOf,
    enum,
    struct,
)
from mutua.api.tables.meta import CONDITIONS, LOCAL_REFERENCE, OBJECT_META, root

QUANTITIES: Final = MapOf(QUANTITY)
FIELD_REF: Final = struct("ObjectFieldSelector", "fieldPath", apiVersion=STRING, fieldPath=STRING)
RESOURCE_FIELD_REF: Final = struct(
    "ResourceFieldSelector", "resource", containerName=STRING, resource=STRING, divisor=QUANTITY
)
KEY_REF: Final = struct("KeySelector", "key", name=STRING, key=STRING, optional=BOOLEAN)
ENV_VAR: Final = struct(
    "EnvVar",
    "name",
    name=STRING,
    value=STRING,
    valueFrom=struct(
        "EnvVarSource",
        fieldRef=FIELD_REF,
        resourceFieldRef=RESOURCE_FIELD_REF,
        configMapKeyRef=KEY_REF,
        secretKeyRef=KEY_REF,
    ),
)
ENV_SOURCE: Final = struct("EnvSource", name=STRING, optional=BOOLEAN)
ENV_FROM: Final = struct(
    "EnvFromSource", prefix=STRING, configMapRef=ENV_SOURCE, secretRef=ENV_SOURCE
)
EXEC: Final = struct("ExecAction", command=STRINGS)
HTTP_GET: Final = struct(
    "HTTPGetAction",
    "port",
    path=STRING,
    port=INT_OR_STRING,
    host=STRING,
    scheme=enum("HTTP", "HTTPS"),
    httpHeaders=ListOf(struct("HTTPHeader", "name", name=STRING, value=STRING)),
)
TCP_SOCKET: Final = struct("TCPSocketAction", "port", port=INT_OR_STRING, host=STRING)
PROBE: Final = struct(
    "Probe",
    exec=EXEC,
    httpGet=HTTP_GET,
    tcpSocket=TCP_SOCKET,
    grpc=struct("GRPCAction", "port", port=PORT, service=STRING),
    initialDelaySeconds=COUNT,
    timeoutSeconds=COUNT,
    periodSeconds=COUNT,
    successThreshold=COUNT,
    failureThreshold=COUNT,
    terminationGracePeriodSeconds=INT64,
)
LIFECYCLE_HANDLER: Final = struct(
    "LifecycleHandler",
    exec=EXEC,
    httpGet=HTTP_GET,
    tcpSocket=TCP_SOCKET,
    sleep=struct("SleepAction", "seconds", seconds=INT64),
)
SECURITY_CONTEXT: Final = struct(
    "SecurityContext",
    capabilities=struct("Capabilities", add=STRINGS, drop=STRINGS),
    privileged=BOOLEAN,
    seLinuxOptions=OPAQUE,
    windowsOptions=OPAQUE,
    runAsUser=INT64,
    runAsGroup=INT64,
    runAsNonRoot=BOOLEAN,
    readOnlyRootFilesystem=BOOLEAN,
    allowPrivilegeEscalation=BOOLEAN,
    procMount=STRING,
    seccompProfile=OPAQUE,
    appArmorProfile=OPAQUE,
)
VOLUME_MOUNT: Final = struct(
    "VolumeMount",
    "name mountPath",
    name=STRING,
    readOnly=BOOLEAN,
    recursiveReadOnly=STRING,
    mountPath=STRING,
    subPath=STRING,
    mountPropagation=STRING,
    subPathExpr=STRING,
)
CONTAINER_PORT: Final = struct(
    "ContainerPort",
    "containerPort",
    name=STRING,
    hostPort=COUNT,
    containerPort=PORT,
    protocol=enum("TCP", "UDP", "SCTP"),
    hostIP=STRING,
)
RESOURCES: Final = struct(
    "ResourceRequirements", limits=QUANTITIES, requests=QUANTITIES, claims=OPAQUE_LIST
)
CONTAINER: Final = struct(
    "Container",
    "name",
    name=STRING,
    image=STRING,
    command=STRINGS,
    args=STRINGS,
    workingDir=STRING,
    ports=ListOf(CONTAINER_PORT, key="containerPort"),
    envFrom=ListOf(ENV_FROM),
    env=ListOf(ENV_VAR, key="name"),
    resources=RESOURCES,
    resizePolicy=OPAQUE_LIST,
    restartPolicy=STRING,
    volumeMounts=ListOf(VOLUME_MOUNT, key="mountPath"),
    volumeDevices=OPAQUE_LIST,
    livenessProbe=PROBE,
    readinessProbe=PROBE,
    startupProbe=PROBE,
    lifecycle=struct(
        "Lifecycle", postStart=LIFECYCLE_HANDLER, preStop=LIFECYCLE_HANDLER, stopSignal=STRING
    ),
    terminationMessagePath=STRING,
    terminationMessagePolicy=STRING,
    imagePullPolicy=enum("Always", "IfNotPresent", "Never"),
    securityContext=SECURITY_CONTEXT,
    stdin=BOOLEAN,
    stdinOnce=BOOLEAN,
    tty=BOOLEAN,
)
KEY_TO_PATH: Final = struct("KeyToPath", "key path", key=STRING, path=STRING, mode=INT32)
KEYS_TO_PATHS: Final = ListOf(KEY_TO_PATH)
DOWNWARD_FILE: Final = struct(
    "DownwardAPIVolumeFile",
    "path",
    path=STRING,
    fieldRef=FIELD_REF,
    resourceFieldRef=RESOURCE_FIELD_REF,
    mode=INT32,
)
KEYS_PROJECTION: Final = struct(
    "KeysProjection", name=STRING, items=KEYS_TO_PATHS, optional=BOOLEAN
)
VOLUME_PROJECTION: Final = struct(
    "VolumeProjection",
    secret=KEYS_PROJECTION,
    configMap=KEYS_PROJECTION,
    downwardAPI=struct("DownwardAPIProjection", items=ListOf(DOWNWARD_FILE)),
    serviceAccountToken=struct(
        "ServiceAccountTokenProjection",
        "path",
        audience=STRING,
        expirationSeconds=INT64,
        path=STRING,
    ),
    clusterTrustBundle=OPAQUE,
)
VOLUME: Final = struct(
    "Volume",
    "name",
    name=STRING,
    emptyDir=struct("EmptyDirVolumeSource", medium=STRING, sizeLimit=QUANTITY),
    configMap=struct(
        "ConfigMapVolumeSource",
        name=STRING,
        items=KEYS_TO_PATHS,
        defaultMode=INT32,
        optional=BOOLEAN,
    ),
    secret=struct(
        "SecretVolumeSource",
        secretName=STRING,
        items=KEYS_TO_PATHS,
        defaultMode=INT32,
        optional=BOOLEAN,
    ),
    downwardAPI=struct("DownwardAPIVolumeSource", items=ListOf(DOWNWARD_FILE), defaultMode=INT32),
    projected=struct("ProjectedVolumeSource", sources=ListOf(VOLUME_PROJECTION), defaultMode=INT32),
    hostPath=struct("HostPathVolumeSource", "path", path=STRING, type=STRING),
    awsElasticBlockStore=OPAQUE,
    azureDisk=OPAQUE,
    azureFile=OPAQUE,
    cephfs=OPAQUE,
    cinder=OPAQUE,
    csi=OPAQUE,
    ephemeral=OPAQUE,
    fc=OPAQUE,
    flexVolume=OPAQUE,
    flocker=OPAQUE,
    gcePersistentDisk=OPAQUE,
    gitRepo=OPAQUE,
    glusterfs=OPAQUE,
    image=OPAQUE,
    iscsi=OPAQUE,
    nfs=OPAQUE,
    persistentVolumeClaim=OPAQUE,
    photonPersistentDisk=OPAQUE,
    portworxVolume=OPAQUE,
    quobyte=OPAQUE,
    rbd=OPAQUE,
    scaleIO=OPAQUE,
    storageos=OPAQUE,
    vsphereVolume=OPAQUE,
)
POD_SECURITY_CONTEXT: Final = struct(
    "PodSecurityContext",
    seLinuxOptions=OPAQUE,
    windowsOptions=OPAQUE,
    runAsUser=INT64,
    runAsGroup=INT64,
    runAsNonRoot=BOOLEAN,
    supplementalGroups=ListOf(INT64),
    supplementalGroupsPolicy=STRING,
    fsGroup=INT64,
    fsGroupChangePolicy=STRING,
    sysctls=OPAQUE_LIST,
    seccompProfile=OPAQUE,
    appArmorProfile=OPAQUE,
    seLinuxChangePolicy=STRING,
)
POD_SPEC: Final = struct(
    "PodSpec",
    "containers",
    volumes=ListOf(VOLUME, key="name"),
    initContainers=ListOf(CONTAINER, key="name"),
    containers=ListOf(CONTAINER, key="name"),
    ephemeralContainers=OPAQUE_LIST,
    restartPolicy=enum("Always", "OnFailure", "Never"),
    terminationGracePeriodSeconds=INT64,
    activeDeadlineSeconds=INT64,
    dnsPolicy=enum("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    nodeSelector=LABELS,
    serviceAccountName=STRING,
    serviceAccount=STRING,
    automountServiceAccountToken=BOOLEAN,
    nodeName=STRING,
    hostNetwork=BOOLEAN,
    hostPID=BOOLEAN,
    hostIPC=BOOLEAN,
    shareProcessNamespace=BOOLEAN,
    securityContext=POD_SECURITY_CONTEXT,
    imagePullSecrets=ListOf(LOCAL_REFERENCE, key="name"),
    hostname=STRING,
    subdomain=STRING,
    affinity=OPAQUE,
    schedulerName=STRING,
    tolerations=OPAQUE_LIST,
    hostAliases=ListOf(struct("HostAlias", "ip", ip=STRING, hostnames=STRINGS), key="ip"),
    priorityClassName=STRING,
    priority=INT32,
    dnsConfig=OPAQUE,
    readinessGates=OPAQUE_LIST,
    runtimeClassName=STRING,
    enableServiceLinks=BOOLEAN,
    preemptionPolicy=STRING,
    overhead=QUANTITIES,
    topologySpreadConstraints=ListOf(OPAQUE, key="topologyKey"),
    setHostnameAsFQDN=BOOLEAN,
    os=OPAQUE,
    hostUsers=BOOLEAN,
    schedulingGates=ListOf(OPAQUE, key="name"),
    resourceClaims=ListOf(OPAQUE, key="name"),
    resources=RESOURCES,
    hostnameOverride=STRING,
)
POD_TEMPLATE: Final = struct("PodTemplateSpec", metadata=OBJECT_META, spec=POD_SPEC)

CONTAINER_STATE: Final = struct(
    "ContainerState",
    waiting=struct("ContainerStateWaiting", reason=STRING, message=STRING),
    running=struct("ContainerStateRunning", startedAt=TIME),
    terminated=struct(
        "ContainerStateTerminated",
        exitCode=INT32,
        signal=INT32,
        reason=STRING,
        message=STRING,
        startedAt=TIME,
        finishedAt=TIME,
        containerID=STRING,
    ),
)
CONTAINER_STATUSES: Final = ListOf(
    struct(
        "ContainerStatus",
        name=STRING,
        state=CONTAINER_STATE,
        lastState=CONTAINER_STATE,
        ready=BOOLEAN,
        restartCount=INT32,
        image=STRING,
        imageID=STRING,
        containerID=STRING,
        started=BOOLEAN,
        allocatedResources=QUANTITIES,
        resources=RESOURCES,
        volumeMounts=OPAQUE_LIST,
        user=OPAQUE,
        allocatedResourcesStatus=OPAQUE_LIST,
        stopSignal=STRING,
    )
)
POD: Final = root(
    "Pod",
    "spec",
    spec=POD_SPEC,
    status=struct(
        "PodStatus",
        phase=STRING,
        conditions=CONDITIONS,
        message=STRING,
        reason=STRING,
        nominatedNodeName=STRING,
        hostIP=STRING,
        hostIPs=ListOf(struct("HostIP", "ip", ip=STRING)),
        podIP=STRING,
        podIPs=ListOf(struct("PodIP", "ip", ip=STRING), key="ip"),
        startTime=TIME,
        initContainerStatuses=CONTAINER_STATUSES,
        containerStatuses=CONTAINER_STATUSES,
        ephemeralContainerStatuses=CONTAINER_STATUSES,
        qosClass=STRING,
        resize=STRING,
        resourceClaimStatuses=OPAQUE_LIST,
        observedGeneration=INT64,
        extendedResourceClaimStatus=OPAQUE,
    ),
)
