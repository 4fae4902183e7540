"""Schemas every kind shares: metadata, selectors, references, conditions."""

from typing import Final

from mutua.api.shape import (
    BOOLEAN,
    INT64,
    LABELS,
    OPAQUE,
    STRING,
    STRINGS,
    TIME,
    ListOf,
    Schema,
    Struct,
    enum,
    struct,
)

OWNER_REFERENCE: Final = struct(
    "OwnerReference",
    "apiVersion kind name uid",
    apiVersion=STRING,
    kind=STRING,
    name=STRING,
    uid=STRING,
    controller=BOOLEAN,
    blockOwnerDeletion=BOOLEAN,
)

MANAGED_FIELDS: Final = struct(
    "ManagedFieldsEntry",
    manager=STRING,
    operation=STRING,
    apiVersion=STRING,
    time=TIME,
    fieldsType=STRING,
    fieldsV1=OPAQUE,
    subresource=STRING,
)

OBJECT_META: Final = struct(
    "ObjectMeta",
    name=STRING,
    generateName=STRING,
    namespace=STRING,
    selfLink=STRING,
    uid=STRING,
    resourceVersion=STRING,
    generation=INT64,
    creationTimestamp=TIME,
    deletionTimestamp=TIME,
    deletionGracePeriodSeconds=INT64,
    labels=LABELS,
    annotations=LABELS,
    ownerReferences=ListOf(OWNER_REFERENCE, key="uid"),
    finalizers=ListOf(STRING, is_set=True),
    managedFields=ListOf(MANAGED_FIELDS),
)

REQUIREMENT: Final = struct(
    "LabelSelectorRequirement",
    "key operator",
    key=STRING,
    operator=enum("In", "NotIn", "Exists", "DoesNotExist"),
    values=STRINGS,
)

LABEL_SELECTOR: Final = struct(
    "LabelSelector", matchLabels=LABELS, matchExpressions=ListOf(REQUIREMENT)
)

CONDITION: Final = struct(
    "Condition",
    type=STRING,
    status=STRING,
    reason=STRING,
    message=STRING,
    lastTransitionTime=TIME,
    lastUpdateTime=TIME,
    lastProbeTime=TIME,
    lastHeartbeatTime=TIME,
    observedGeneration=INT64,
)
"""Every kind's conditions in one: the time fields differ in name only."""

CONDITIONS: Final = ListOf(CONDITION, key="type")

OBJECT_REFERENCE: Final = struct(
    "ObjectReference",
    kind=STRING,
    namespace=STRING,
    name=STRING,
    uid=STRING,
    apiVersion=STRING,
    resourceVersion=STRING,
    fieldPath=STRING,
)

LOCAL_REFERENCE: Final = struct("LocalObjectReference", name=STRING)


def root(name: str, required: str = "", /, **fields: Schema) -> Struct:
    """Write the schema of a whole object: apiVersion, kind and metadata come by themselves."""
    return struct(name, required, apiVersion=STRING, kind=STRING, metadata=OBJECT_META, **fields)


DELETE_OPTIONS: Final = struct(
    "DeleteOptions",
    apiVersion=STRING,
    kind=STRING,
    gracePeriodSeconds=INT64,
    preconditions=struct("Preconditions", uid=STRING, resourceVersion=STRING),
    orphanDependents=BOOLEAN,
    propagationPolicy=STRING,
    dryRun=STRINGS,
    ignoreStoreReadErrorWithClusterBreakingPotential=BOOLEAN,
)
