"""The schemas of all kinds, by name of the kind."""

from collections.abc import Mapping
from typing import Final

from mutua.api.shape import Struct
from mutua.api.tables import apps, core, istio, meta, own, pod, review

SCHEMAS: Final[Mapping[str, Struct]] = {
    schema.name: schema
    for schema in (
        meta.DELETE_OPTIONS,
        core.NAMESPACE,
        pod.POD,
        core.SERVICE,
        core.SERVICE_ACCOUNT,
        core.SECRET,
        core.CONFIG_MAP,
        core.EVENT,
        core.NODE,
        core.TOKEN_REQUEST,
        core.ENDPOINT_SLICE,
        apps.DEPLOYMENT,
        apps.REPLICA_SET,
        apps.STATEFUL_SET,
        apps.CONTROLLER_REVISION,
        apps.SCALE,
        review.CUSTOM_RESOURCE_DEFINITION,
        review.SELF_SUBJECT_REVIEW,
        review.TOKEN_REVIEW,
        review.SELF_SUBJECT_ACCESS_REVIEW,
        review.SELF_SUBJECT_RULES_REVIEW,
        istio.PEER_AUTHENTICATION,
        istio.AUTHORIZATION_POLICY,
        istio.DESTINATION_RULE,
        own.CERTIFICATE_AUTHORITY,
        own.PLAINTEXT_CALLER,
        own.WORKLOAD_CERTIFICATE,
        own.REVOCATION,
        istio.SERVICE_ENTRY,
    )
}
"""Stored kinds, and the bodies of subresources and reviews."""
