"""Which namespaces or workloads does a command mean, and in which waves do they change?"""

from collections.abc import Sequence
from typing import Final

from mutua.api.object import NAMESPACES, Object
from mutua.cli.istioctl.target import Target, parse_target
from mutua.cli.kubectl.arguments import parse_kind
from mutua.cli.namespaces import check_namespace
from mutua.cli.strict.survey import OWNERS, Survey
from mutua.controlplane.ledger.party import TEMPLATE_HASH, Party
from mutua.controlplane.strict.change import Scope
from mutua.foundation.errors import Rejected
from mutua.model.workload import TLS_MODE_LABEL

OF_A_POD: Final = (TLS_MODE_LABEL, TEMPLATE_HASH)
"""Labels that a pod gets from others: they do not tell one workload from another."""


def scopes(
    survey: Survey,
    *,
    namespace: str,
    workload: str = "",
    by_workload: bool = False,
    root_namespace: str,
) -> list[Scope]:
    """Return what is to become STRICT, one scope per wave.

    Args:
        survey: The mesh.
        namespace: Only this one, "" for every namespace with a sidecar in it.
        workload: Only this one, as `[TYPE/]NAME[.NAMESPACE]`.
        by_workload: One workload after the other instead of whole namespaces.
        root_namespace: Where a policy speaks for the whole mesh: only when it is named.

    Raises:
        Rejected: There is no such workload in the mesh, or no such namespace.
    """
    meshed = list(survey.meshed)
    existing = [one["metadata"]["name"] for one in survey.objects[NAMESPACES]]
    if workload:
        asked = parse_target(workload, namespace or "default")
        check_namespace(asked.namespace, existing)
        return [_scope(survey, _find(meshed, asked))]
    if namespace:
        check_namespace(namespace, existing)
    if namespace and by_workload:
        meshed = [party for party in meshed if party.namespace == namespace]
    if by_workload:
        return [_scope(survey, party) for party in meshed if party.namespace != root_namespace]
    if namespace:
        return [Scope(namespace=namespace)]
    names = dict.fromkeys(party.namespace for party in meshed)
    return [Scope(namespace=name) for name in names if name != root_namespace]


def title(scope: Scope, root_namespace: str) -> str:
    """Say what a scope is."""
    if scope.workload:
        return f"workload {scope.workload}.{scope.namespace}"
    if scope.namespace == root_namespace:
        return "the whole mesh"
    return f"namespace {scope.namespace}"


def _find(meshed: Sequence[Party], asked: Target) -> Party:
    kinds = {kind.kind for kind in parse_kind(asked.type)} if asked.type else None
    for party in meshed:
        is_kind = kinds is None or party.kind in kinds
        if is_kind and (party.namespace, party.name) == (asked.namespace, asked.name):
            return party
    raise Rejected(
        f"no workload {asked.resource!r} with a sidecar in namespace {asked.namespace!r}",
        hint="mutua status shows what runs and who has a sidecar",
    )


def _scope(survey: Survey, party: Party) -> Scope:
    pods = survey.meshed[party]
    labels = pods[0]["metadata"].get("labels") or {}
    selector = _selector(survey, party) or {
        name: value for name, value in labels.items() if name not in OF_A_POD
    }
    if not selector:
        raise Rejected(f"the pods of {party.short} have no labels that a policy could select")
    return Scope(namespace=party.namespace, workload=party.name, selector=selector, labels=labels)


def _selector(survey: Survey, party: Party) -> dict[str, str]:
    owners: list[Object] = [one for kind in OWNERS for one in survey.objects[kind]]
    for owner in owners:
        meta = owner["metadata"]
        if Party(owner["kind"], meta["namespace"], meta["name"]) == party:
            return dict((owner["spec"].get("selector") or {}).get("matchLabels") or {})
    return {}
