"""What makes this caller use mutual TLS?  One sentence, with the command if there is one."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from mutua.api.annotations import TRAFFIC, annotations
from mutua.api.object import Object
from mutua.controlplane.ledger.cause import FINAL_INJECTION, WILDCARD, Finding, Reason
from mutua.controlplane.ledger.ledger import Key
from mutua.controlplane.ledger.party import Party
from mutua.policy.destination_rule import Level
from mutua.policy.injection import INJECT, INJECTION_LABEL

MUTUAL: Final = {"mode": "ISTIO_MUTUAL"}

TEMPLATED: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})
"""Kinds whose pods come from a template that can be patched."""


def remedy(finding: Finding, key: Key, pod: Object | None) -> str:
    """Return what to do about a caller.

    Args:
        finding: Why it does not use mutual TLS.
        key: Who calls whom.
        pod: One of its pods, None when there is none now.
    """
    write = _WRITERS.get(finding.reason)
    return write(finding, key, pod) if write else ""


def _inject(finding: Finding, key: Key, _pod: Object | None) -> str:
    caller = key.caller
    if finding.detail in FINAL_INJECTION:
        return f"it cannot have a sidecar: {_exception(key)}"
    if finding.detail == "NAMESPACE_NOT_ENABLED":
        label = f"kubectl label namespace {caller.namespace} {INJECTION_LABEL}=enabled --overwrite"
        return f"enable injection, then {_restart(caller, to_do='restart it')}: {label}"
    if finding.detail == "OLDER":
        return _restart(caller)
    return _patched(caller, "labels", INJECT, "true") or (
        f"delete it and create it again with the label {INJECT}=true:"
        f" kubectl delete {caller.reference}"
    )


def _restart(caller: Party, *, to_do: str = "") -> str:
    if caller.kind in TEMPLATED:
        command = f"kubectl rollout restart {caller.reference}"
        return f"{to_do} ({command})" if to_do else f"restart it: {command}"
    command = f"kubectl delete {caller.reference}"
    return f"create it again ({command})" if to_do else f"delete it and create it again: {command}"


def _patched(caller: Party, what: str, name: str, value: str | None) -> str:
    """Return the command that changes a label or annotation of a workload's template."""
    if caller.kind not in TEMPLATED:
        return ""
    quoted = "null" if value is None else f'"{value}"'
    body = f'{{"spec":{{"template":{{"metadata":{{"{what}":{{"{name}":{quoted}}}}}}}}}}}'
    done = "give it" if what == "labels" else "let its sidecar have the call"
    verb = f"{done} a sidecar" if what == "labels" else done
    return f"{verb}: kubectl patch {caller.reference} --type=merge -p '{body}'"


def _capture(finding: Finding, key: Key, pod: Object | None) -> str:
    annotation, _, what = finding.detail.partition(" ")
    name = TRAFFIC + annotation
    if annotation.startswith("include"):
        return f"add {what} to its annotation {name}, or remove the annotation"
    values = [one.strip() for one in annotations(pod).get(name, "").split(",")] if pod else []
    left = ",".join(one for one in values if one != what) or None
    return _patched(key.caller, "annotations", name, left) or (
        f"create it again without {what} in its annotation {name}"
    )


def _rule(finding: Finding, _key: Key, _pod: Object | None) -> str:
    namespace, _, name = finding.object.removeprefix("DestinationRule ").partition("/")
    rule = f"destinationrule {name} -n {namespace}"
    if finding.detail == Level.RULE.name:
        change = {"op": "replace", "path": "/spec/trafficPolicy/tls", "value": MUTUAL}
        patch = json.dumps([change], separators=(",", ":"))
        return f"let the rule say ISTIO_MUTUAL: kubectl patch {rule} --type=json -p '{patch}'"
    if finding.detail == WILDCARD:
        return f"add a rule for this host alone, or remove tls from this one: kubectl edit {rule}"
    return f"remove tls from {Level[finding.detail].value} of the rule: kubectl edit {rule}"


def _policy(finding: Finding, _key: Key, _pod: Object | None) -> str:
    namespace, _, name = finding.object.removeprefix("PeerAuthentication ").partition("/")
    if not name:
        return ""
    return (
        f"let the policy accept mutual TLS: kubectl edit peerauthentication {name} -n {namespace}"
    )


def _by_name(_finding: Finding, key: Key, _pod: Object | None) -> str:
    return f"call {key.server.name}'s Service by its name instead of a pod's address"


def _exception(key: Key) -> str:
    return (
        f"run it as a workload (mutua run), or keep port {key.port} PERMISSIVE"
        " with a PeerAuthentication that selects the server"
    )


_WRITERS: Final[Mapping[Reason, Callable[[Finding, Key, Object | None], str]]] = {
    Reason.NOT_A_POD: lambda _finding, key, _pod: _exception(key),
    Reason.NO_SIDECAR: _inject,
    Reason.EXCLUDED_PORT: _capture,
    Reason.EXCLUDED_ADDRESS: _capture,
    Reason.DESTINATION_RULE: _rule,
    Reason.MODE_DISABLED: _policy,
    Reason.AUTO_MTLS_OFF: lambda *_: (
        "set enableAutoMtls: true: kubectl edit configmap istio -n istio-system"
    ),
    Reason.NOT_ALL_SIDECARS: lambda _finding, key, _pod: (
        f"give every endpoint of the Service a sidecar, not only {key.server.name}"
    ),
    Reason.NOT_EXPORTED: lambda *_: "export the Service to the caller's namespace",
    Reason.POD_ADDRESS: _by_name,
}
