"""The one question admission asks about an object's content.

    shape      types, enumerations, ranges, required fields        mutua.api.shape
    metadata   names, labels, annotations                          .metadata
    meaning    what this kind demands, what may not change         one module per area

Meaning is judged only on objects of the right shape, so its modules need not check types.
"""

from collections.abc import Callable, Mapping
from typing import Final

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.revocation import check_revocation
from mutua.api.schema import shape_errors
from mutua.api.security import check_peer_authentication
from mutua.api.validation.authorization import check_authorization_policy
from mutua.api.validation.content import check_config_map, check_secret
from mutua.api.validation.destination import check_destination_rule
from mutua.api.validation.metadata import metadata_errors
from mutua.api.validation.pods import check_pod
from mutua.api.validation.service_entry import check_service_entry
from mutua.api.validation.services import check_endpoint_slice, check_service
from mutua.api.validation.stateful import check_controller_revision, check_stateful_set
from mutua.api.validation.workloads import check_deployment, check_replica_set
from mutua.api.verdict import Verdict

Check = Callable[[Object, Object | None], Verdict]
"""Judges the meaning of an object, given what it replaces."""

_CHECKS: Final[Mapping[str, Check]] = {
    "Pod": check_pod,
    "Deployment": check_deployment,
    "ReplicaSet": check_replica_set,
    "StatefulSet": check_stateful_set,
    "ControllerRevision": check_controller_revision,
    "Service": check_service,
    "EndpointSlice": check_endpoint_slice,
    "Secret": check_secret,
    "ConfigMap": check_config_map,
    "PeerAuthentication": lambda obj, _: check_peer_authentication(obj),
    "AuthorizationPolicy": lambda obj, _: check_authorization_policy(obj),
    "DestinationRule": lambda obj, _: check_destination_rule(obj),
    "ServiceEntry": lambda obj, _: check_service_entry(obj),
    "Revocation": lambda obj, _: check_revocation(obj),
}


def validate(kind: Kind, obj: Object, old: Object | None = None) -> Verdict:
    """Judge an object before it is stored.

    Args:
        kind: The object's kind.
        obj: The whole object as it would be stored, defaults applied, patches merged.
        old: What it replaces; None when it is new.

    Returns:
        Errors, all that were found, and warnings.  Never raises for any JSON object.
    """
    errors = shape_errors(kind, obj)
    if errors:
        return Verdict(errors=errors)
    errors += metadata_errors(kind, obj)
    verdict = _CHECKS[kind.kind](obj, old) if kind.kind in _CHECKS else Verdict()
    return Verdict(errors=[*errors, *verdict.errors], warnings=verdict.warnings)
