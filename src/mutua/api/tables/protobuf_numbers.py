"""Field numbers of the protobuf messages that kubectl and Helm send.

Names and types come from the schemas; only the numbers are here, one line per schema of
`mutua.api.tables`:

    field=3      its number
    field*=3     a pointer in Go: 0, "" and false were said on purpose and are kept
    ~Other=1     an embedded message whose fields belong to this object

Status is left out: a write that is not to /status never changes it.
Source: the protobuf interface of Kubernetes 1.32, whose field numbers never change.
"""

from collections.abc import Mapping
from typing import Final

NUMBERS: Final[Mapping[str, str]] = {
    "Namespace": "metadata=1 spec=2",
    "ObjectMeta": (
        "name=1 generateName=2 namespace=3 selfLink=4 uid=5 resourceVersion=6 "
        "generation=7 creationTimestamp=8 deletionTimestamp=9 "
        "deletionGracePeriodSeconds*=10 labels=11 annotations=12 ownerReferences=13 "
        "finalizers=14 managedFields=17"
    ),
    "OwnerReference": ("kind=1 name=3 uid=4 apiVersion=5 controller*=6 blockOwnerDeletion*=7"),
    "ManagedFieldsEntry": (
        "manager=1 operation=2 apiVersion=3 time=4 fieldsType=6 fieldsV1=7 subresource=8"
    ),
    "NamespaceSpec": "finalizers=1",
    "Secret": "metadata=1 data=2 type=3 stringData=4 immutable*=5",
    "ConfigMap": "metadata=1 data=2 binaryData=3 immutable*=4",
    "ServiceAccount": ("metadata=1 secrets=2 imagePullSecrets=3 automountServiceAccountToken*=4"),
    "ObjectReference": (
        "kind=1 namespace=2 name=3 uid=4 apiVersion=5 resourceVersion=6 fieldPath=7"
    ),
    "LocalObjectReference": "name=1",
    "Service": "metadata=1 spec=2",
    "ServiceSpec": (
        "ports=1 selector=2 clusterIP=3 type=4 externalIPs=5 sessionAffinity=7 "
        "loadBalancerIP=8 loadBalancerSourceRanges=9 externalName=10 "
        "externalTrafficPolicy=11 healthCheckNodePort=12 publishNotReadyAddresses=13 "
        "sessionAffinityConfig*=14 ipFamilyPolicy*=17 clusterIPs=18 ipFamilies=19 "
        "allocateLoadBalancerNodePorts*=20 loadBalancerClass*=21 "
        "internalTrafficPolicy*=22 trafficDistribution*=23"
    ),
    "ServicePort": "name=1 protocol=2 port=3 targetPort=4 nodePort=5 appProtocol*=6",
    "Deployment": "metadata=1 spec=2",
    "DeploymentSpec": (
        "replicas*=1 selector=2 template=3 strategy=4 minReadySeconds=5 "
        "revisionHistoryLimit*=6 paused=7 progressDeadlineSeconds*=9"
    ),
    "LabelSelector": "matchLabels=1 matchExpressions=2",
    "LabelSelectorRequirement": "key=1 operator=2 values=3",
    "PodTemplateSpec": "metadata=1 spec=2",
    "PodSpec": (
        "volumes=1 containers=2 restartPolicy=3 terminationGracePeriodSeconds*=4 "
        "activeDeadlineSeconds*=5 dnsPolicy=6 nodeSelector=7 serviceAccountName=8 "
        "serviceAccount=9 nodeName=10 hostNetwork=11 hostPID=12 hostIPC=13 "
        "securityContext=14 imagePullSecrets=15 hostname=16 subdomain=17 affinity=18 "
        "schedulerName=19 initContainers=20 automountServiceAccountToken*=21 "
        "tolerations=22 hostAliases=23 priorityClassName=24 priority*=25 dnsConfig=26 "
        "shareProcessNamespace*=27 readinessGates=28 runtimeClassName*=29 "
        "enableServiceLinks*=30 preemptionPolicy*=31 overhead=32 "
        "topologySpreadConstraints=33 ephemeralContainers=34 setHostnameAsFQDN*=35 os=36 "
        "hostUsers*=37 schedulingGates=38 resourceClaims=39 resources=40"
    ),
    "Volume": "name=1 ~VolumeSource=2",
    "VolumeSource": (
        "hostPath=1 emptyDir=2 gcePersistentDisk=3 awsElasticBlockStore=4 gitRepo=5 "
        "secret=6 nfs=7 iscsi=8 glusterfs=9 persistentVolumeClaim=10 rbd=11 flexVolume=12 "
        "cinder=13 cephfs=14 flocker=15 downwardAPI=16 fc=17 azureFile=18 configMap=19 "
        "vsphereVolume=20 quobyte=21 azureDisk=22 photonPersistentDisk=23 projected=26 "
        "portworxVolume=24 scaleIO=25 storageos=27 csi=28 ephemeral=29 image=30"
    ),
    "EmptyDirVolumeSource": "medium=1 sizeLimit*=2",
    "ConfigMapVolumeSource": "~LocalObjectReference=1 items=2 defaultMode*=3 optional*=4",
    "KeyToPath": "key=1 path=2 mode*=3",
    "SecretVolumeSource": "secretName=1 items=2 defaultMode*=3 optional*=4",
    "DownwardAPIVolumeSource": "items=1 defaultMode*=2",
    "DownwardAPIVolumeFile": "path=1 fieldRef=2 resourceFieldRef=3 mode*=4",
    "ObjectFieldSelector": "apiVersion=1 fieldPath=2",
    "ResourceFieldSelector": "containerName=1 resource=2 divisor=3",
    "ProjectedVolumeSource": "sources=1 defaultMode*=2",
    "VolumeProjection": (
        "secret=1 downwardAPI=2 configMap=3 serviceAccountToken=4 clusterTrustBundle=5"
    ),
    "KeysProjection": "~LocalObjectReference=1 items=2 optional*=4",
    "DownwardAPIProjection": "items=1",
    "ServiceAccountTokenProjection": "audience=1 expirationSeconds*=2 path=3",
    "HostPathVolumeSource": "path=1 type*=2",
    "Container": (
        "name=1 image=2 command=3 args=4 workingDir=5 ports=6 env=7 resources=8 "
        "volumeMounts=9 livenessProbe=10 readinessProbe=11 lifecycle=12 "
        "terminationMessagePath=13 imagePullPolicy=14 securityContext=15 stdin=16 "
        "stdinOnce=17 tty=18 envFrom=19 terminationMessagePolicy=20 volumeDevices=21 "
        "startupProbe=22 resizePolicy=23 restartPolicy*=24"
    ),
    "ContainerPort": "name=1 hostPort=2 containerPort=3 protocol=4 hostIP=5",
    "EnvFromSource": "prefix=1 configMapRef=2 secretRef=3",
    "EnvSource": "~LocalObjectReference=1 optional*=2",
    "EnvVar": "name=1 value=2 valueFrom=3",
    "EnvVarSource": "fieldRef=1 resourceFieldRef=2 configMapKeyRef=3 secretKeyRef=4",
    "KeySelector": "~LocalObjectReference=1 key=2 optional*=3",
    "ResourceRequirements": "limits=1 requests=2 claims=3",
    "VolumeMount": (
        "name=1 readOnly=2 mountPath=3 subPath=4 mountPropagation*=5 subPathExpr=6 "
        "recursiveReadOnly*=7"
    ),
    "Probe": (
        "~ProbeHandler=1 initialDelaySeconds=2 timeoutSeconds=3 periodSeconds=4 "
        "successThreshold=5 failureThreshold=6 terminationGracePeriodSeconds*=7"
    ),
    "ProbeHandler": "exec=1 httpGet=2 tcpSocket=3 grpc=4",
    "ExecAction": "command=1",
    "HTTPGetAction": "path=1 port=2 host=3 scheme=4 httpHeaders=5",
    "HTTPHeader": "name=1 value=2",
    "TCPSocketAction": "port=1 host=2",
    "GRPCAction": "port=1 service*=2",
    "Lifecycle": "postStart=1 preStop=2",
    "LifecycleHandler": "exec=1 httpGet=2 tcpSocket=3 sleep=4",
    "SleepAction": "seconds=1",
    "SecurityContext": (
        "capabilities=1 privileged*=2 seLinuxOptions=3 runAsUser*=4 runAsNonRoot*=5 "
        "readOnlyRootFilesystem*=6 allowPrivilegeEscalation*=7 runAsGroup*=8 procMount*=9 "
        "windowsOptions=10 seccompProfile=11 appArmorProfile=12"
    ),
    "Capabilities": "add=1 drop=2",
    "PodSecurityContext": (
        "seLinuxOptions=1 runAsUser*=2 runAsNonRoot*=3 supplementalGroups=4 fsGroup*=5 "
        "runAsGroup*=6 sysctls=7 windowsOptions=8 fsGroupChangePolicy*=9 "
        "seccompProfile=10 appArmorProfile=11 supplementalGroupsPolicy*=12 "
        "seLinuxChangePolicy*=13"
    ),
    "HostAlias": "ip=1 hostnames=2",
    "DeploymentStrategy": "type=1 rollingUpdate=2",
    "RollingUpdateDeployment": "maxUnavailable*=1 maxSurge*=2",
    "ReplicaSet": "metadata=1 spec=2",
    "ReplicaSetSpec": "replicas*=1 selector=2 template=3 minReadySeconds=4",
    "StatefulSet": "metadata=1 spec=2",
    "StatefulSetSpec": (
        "replicas*=1 selector=2 template=3 volumeClaimTemplates=4 serviceName=5 "
        "podManagementPolicy=6 updateStrategy=7 revisionHistoryLimit*=8 minReadySeconds=9 "
        "persistentVolumeClaimRetentionPolicy=10 ordinals=11"
    ),
    "StatefulSetUpdateStrategy": "type=1 rollingUpdate=2",
    "RollingUpdateStatefulSetStrategy": "partition*=1 maxUnavailable*=2",
    "StatefulSetPersistentVolumeClaimRetentionPolicy": "whenDeleted=1 whenScaled=2",
    "StatefulSetOrdinals": "start=1",
    "Pod": "metadata=1 spec=2",
    "Event": (
        "metadata=1 involvedObject=2 reason=3 message=4 source=5 firstTimestamp=6 "
        "lastTimestamp=7 count=8 type=9 eventTime=10 series=11 action=12 related=13 "
        "reportingComponent=14 reportingInstance=15"
    ),
    "EventSource": "component=1 host=2",
    "EventSeries": "count=1 lastObservedTime=2",
    "TokenRequest": "metadata=1 spec=2",
    "TokenRequestSpec": "audiences=1 boundObjectRef=3 expirationSeconds*=4",
    "BoundObjectReference": "kind=1 apiVersion=2 name=3 uid=4",
    "TokenReview": "metadata=1 spec=2",
    "TokenReviewSpec": "token=1 audiences=2",
    "SelfSubjectReview": "metadata=1",
    "SelfSubjectAccessReview": "metadata=1 spec=2",
    "SelfSubjectAccessReviewSpec": "resourceAttributes=1 nonResourceAttributes=2",
    "ResourceAttributes": (
        "namespace=1 verb=2 group=3 version=4 resource=5 subresource=6 name=7 "
        "fieldSelector=8 labelSelector=9"
    ),
    "NonResourceAttributes": "path=1 verb=2",
    "SelfSubjectRulesReview": "metadata=1 spec=2",
    "SelfSubjectRulesReviewSpec": "namespace=1",
    "EndpointSlice": "metadata=1 endpoints=2 ports=3 addressType=4",
    "Endpoint": (
        "addresses=1 conditions=2 hostname*=3 targetRef=4 deprecatedTopology=5 "
        "nodeName*=6 zone*=7 hints=8"
    ),
    "EndpointConditions": "ready*=1 serving*=2 terminating*=3",
    "EndpointPort": "name*=1 port*=2 protocol*=3 appProtocol*=4",
    "Node": "metadata=1 spec=2",
    "NodeSpec": (
        "podCIDR=1 externalID=2 providerID=3 unschedulable=4 taints=5 configSource=6 podCIDRs=7"
    ),
    "Scale": "metadata=1 spec=2",
    "ScaleSpec": "replicas=1",
    "DeleteOptions": (
        "gracePeriodSeconds*=1 preconditions=2 orphanDependents*=3 propagationPolicy*=4 dryRun=5"
    ),
    "Preconditions": "uid*=1 resourceVersion*=2",
}
