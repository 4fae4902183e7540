"""Schemas of the questions a client may ask about itself, and of CustomResourceDefinitions.

Source: Kubernetes API reference.
"""

from typing import Final

from mutua.api.shape import (
    BOOLEAN,
    OPAQUE,
    OPAQUE_LIST,
    STRING,
    STRINGS,
    ListOf,
    MapOf,
    struct,
)
from mutua.api.tables.meta import CONDITIONS, root

USER_INFO: Final = struct(
    "UserInfo", username=STRING, uid=STRING, groups=STRINGS, extra=MapOf(STRINGS)
)
SELF_SUBJECT_REVIEW: Final = root(
    "SelfSubjectReview", status=struct("SelfSubjectReviewStatus", userInfo=USER_INFO)
)
TOKEN_REVIEW: Final = root(
    "TokenReview",
    spec=struct("TokenReviewSpec", token=STRING, audiences=STRINGS),
    status=struct(
        "TokenReviewStatus",
        authenticated=BOOLEAN,
        user=USER_INFO,
        audiences=STRINGS,
        error=STRING,
    ),
)
SELF_SUBJECT_ACCESS_REVIEW: Final = root(
    "SelfSubjectAccessReview",
    spec=struct(
        "SelfSubjectAccessReviewSpec",
        resourceAttributes=struct(
            "ResourceAttributes",
            namespace=STRING,
            verb=STRING,
            group=STRING,
            version=STRING,
            resource=STRING,
            subresource=STRING,
            name=STRING,
            fieldSelector=OPAQUE,
            labelSelector=OPAQUE,
        ),
        nonResourceAttributes=struct("NonResourceAttributes", path=STRING, verb=STRING),
    ),
    status=struct(
        "SubjectAccessReviewStatus",
        allowed=BOOLEAN,
        denied=BOOLEAN,
        reason=STRING,
        evaluationError=STRING,
    ),
)
RESOURCE_RULE: Final = struct(
    "ResourceRule", verbs=STRINGS, apiGroups=STRINGS, resources=STRINGS, resourceNames=STRINGS
)
SELF_SUBJECT_RULES_REVIEW: Final = root(
    "SelfSubjectRulesReview",
    spec=struct("SelfSubjectRulesReviewSpec", namespace=STRING),
    status=struct(
        "SubjectRulesReviewStatus",
        resourceRules=ListOf(RESOURCE_RULE),
        nonResourceRules=ListOf(struct("NonResourceRule", verbs=STRINGS, nonResourceURLs=STRINGS)),
        incomplete=BOOLEAN,
        evaluationError=STRING,
    ),
)

NAMES: Final = struct(
    "CustomResourceDefinitionNames",
    plural=STRING,
    singular=STRING,
    shortNames=STRINGS,
    kind=STRING,
    listKind=STRING,
    categories=STRINGS,
)
CUSTOM_RESOURCE_DEFINITION: Final = root(
    "CustomResourceDefinition",
    "spec",
    spec=struct(
        "CustomResourceDefinitionSpec",
        group=STRING,
        names=NAMES,
        scope=STRING,
        versions=OPAQUE_LIST,
        conversion=OPAQUE,
        preserveUnknownFields=BOOLEAN,
    ),
    status=struct(
        "CustomResourceDefinitionStatus",
        conditions=CONDITIONS,
        acceptedNames=NAMES,
        storedVersions=STRINGS,
    ),
)
