"""Schemas of apps/v1 and of the scale subresource.

Source: Kubernetes API reference.
"""

from typing import Final

from mutua.api.shape import (
    BOOLEAN,
    COUNT,
    INT32,
    INT64,
    INT_OR_STRING,
    OPAQUE,
    STRING,
    ListOf,
    enum,
    struct,
)
from mutua.api.tables.meta import CONDITIONS, LABEL_SELECTOR, root
from mutua.api.tables.pod import POD_TEMPLATE

DEPLOYMENT: Final = root(
    "Deployment",
    "spec",
    spec=struct(
        "DeploymentSpec",
        "selector template",
        replicas=COUNT,
        selector=LABEL_SELECTOR,
        template=POD_TEMPLATE,
        strategy=struct(
            "DeploymentStrategy",
            type=enum("Recreate", "RollingUpdate"),
            rollingUpdate=struct(
                "RollingUpdateDeployment", maxUnavailable=INT_OR_STRING, maxSurge=INT_OR_STRING
            ),
        ),
        minReadySeconds=COUNT,
        revisionHistoryLimit=COUNT,
        paused=BOOLEAN,
        progressDeadlineSeconds=COUNT,
    ),
    status=struct(
        "DeploymentStatus",
        observedGeneration=INT64,
        replicas=INT32,
        updatedReplicas=INT32,
        readyReplicas=INT32,
        availableReplicas=INT32,
        unavailableReplicas=INT32,
        terminatingReplicas=INT32,
        conditions=CONDITIONS,
        collisionCount=INT32,
    ),
)
REPLICA_SET: Final = root(
    "ReplicaSet",
    "spec",
    spec=struct(
        "ReplicaSetSpec",
        "selector",
        replicas=COUNT,
        minReadySeconds=COUNT,
        selector=LABEL_SELECTOR,
        template=POD_TEMPLATE,
    ),
    status=struct(
        "ReplicaSetStatus",
        replicas=INT32,
        fullyLabeledReplicas=INT32,
        readyReplicas=INT32,
        availableReplicas=INT32,
        terminatingReplicas=INT32,
        observedGeneration=INT64,
        conditions=CONDITIONS,
    ),
)
_RETENTION: Final = enum("Retain", "Delete")

STATEFUL_SET: Final = root(
    "StatefulSet",
    "spec",
    spec=struct(
        "StatefulSetSpec",
        "selector template",
        replicas=COUNT,
        selector=LABEL_SELECTOR,
        template=POD_TEMPLATE,
        serviceName=STRING,
        podManagementPolicy=enum("OrderedReady", "Parallel"),
        updateStrategy=struct(
            "StatefulSetUpdateStrategy",
            type=enum("RollingUpdate", "OnDelete"),
            rollingUpdate=struct(
                "RollingUpdateStatefulSetStrategy", partition=COUNT, maxUnavailable=INT_OR_STRING
            ),
        ),
        ordinals=struct("StatefulSetOrdinals", start=COUNT),
        minReadySeconds=COUNT,
        revisionHistoryLimit=COUNT,
        volumeClaimTemplates=ListOf(OPAQUE),
        persistentVolumeClaimRetentionPolicy=struct(
            "StatefulSetPersistentVolumeClaimRetentionPolicy",
            whenDeleted=_RETENTION,
            whenScaled=_RETENTION,
        ),
    ),
    status=struct(
        "StatefulSetStatus",
        observedGeneration=INT64,
        replicas=INT32,
        readyReplicas=INT32,
        currentReplicas=INT32,
        updatedReplicas=INT32,
        availableReplicas=INT32,
        currentRevision=STRING,
        updateRevision=STRING,
        collisionCount=INT32,
        conditions=CONDITIONS,
    ),
)
CONTROLLER_REVISION: Final = root("ControllerRevision", "revision", data=OPAQUE, revision=INT64)
SCALE: Final = root(
    "Scale",
    spec=struct("ScaleSpec", replicas=COUNT),
    status=struct("ScaleStatus", replicas=INT32, selector=STRING),
)
