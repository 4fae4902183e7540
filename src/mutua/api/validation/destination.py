"""DestinationRule: what Istio refuses at admission, TLS first (istio-semantics, section 6.2)."""

import re
from collections.abc import Iterator
from typing import Final

from mutua.api.object import Object
from mutua.api.security import match_labels, selector_errors
from mutua.api.validation.export_to import export_errors
from mutua.api.validation.names import MAX_SUBDOMAIN, label_errors
from mutua.api.validation.traffic import traffic_errors, traffic_warnings
from mutua.api.verdict import FieldError, Verdict, duplicate, forbidden, invalid, required

MAX_PORT: Final = 65535
_CONFIG_MAP: Final = "configmap://"
_FILES: Final = ("clientCertificate", "privateKey", "caCertificates", "caCrl")
_HOST: Final = re.compile(
    r"(?i:[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)(?:\.(?i:[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?))*\.?"
)


def check_destination_rule(obj: Object) -> Verdict:
    """Judge a DestinationRule."""
    spec = obj.get("spec") or {}
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    if not spec.get("host"):
        return Verdict(errors=[required("spec.host")])
    errors = [
        *_host_errors(spec["host"]),
        *_policy_errors("spec.trafficPolicy", spec.get("trafficPolicy"), namespace),
        *_subset_errors(spec, namespace),
        *_export_errors(spec, namespace),
        *_selector_errors(spec),
    ]
    return Verdict(errors=errors, warnings=[] if errors else list(_warnings(spec)))


def _warnings(spec: Object) -> Iterator[str]:
    """Yield what the rule says without effect."""
    policies = [("spec.trafficPolicy", spec.get("trafficPolicy") or {})]
    for index, subset in enumerate(spec.get("subsets") or ()):
        path = f"spec.subsets[{index}].trafficPolicy"
        policies.append((path, subset.get("trafficPolicy") or {}))
    selects = bool(match_labels(spec.get("workloadSelector")))
    for path, policy in policies:
        yield from _without_effect(path, policy, selects=selects)
        for index, entry in enumerate(policy.get("portLevelSettings") or ()):
            where = f"{path}.portLevelSettings[{index}]"
            yield from _without_effect(where, entry, selects=selects)


def _without_effect(path: str, policy: Object, *, selects: bool) -> Iterator[str]:
    yield from traffic_warnings(path, policy)
    credential = (policy.get("tls") or {}).get("credentialName") or ""
    if credential.startswith(_CONFIG_MAP):
        yield f"{path}.tls.credentialName: ConfigMaps are not read here; name a Secret"
    elif credential and not selects:
        yield (
            f"{path}.tls.credentialName: sidecars are given a Secret only by a rule with a "
            "workloadSelector; add one, or name files with clientCertificate, privateKey and "
            "caCertificates"
        )


def _host_errors(host: str) -> Iterator[FieldError]:
    name = host.removeprefix("*.")
    if host != "*" and (len(host) > MAX_SUBDOMAIN or not _HOST.fullmatch(name)):
        detail = "must be a DNS name, '*', or '*.' followed by one"
        yield invalid("spec.host", host, detail)


def _policy_errors(path: str, policy: Object | None, namespace: str) -> Iterator[FieldError]:
    if policy is None:
        return
    if not any(value is not None and value != [] for value in policy.values()):
        yield required(path, "must set at least one field")
    yield from _tls_errors(f"{path}.tls", policy.get("tls"), namespace)
    yield from traffic_errors(path, policy)
    for index, entry in enumerate(policy.get("portLevelSettings") or ()):
        where = f"{path}.portLevelSettings[{index}]"
        number = (entry.get("port") or {}).get("number")
        if not number:
            yield required(f"{where}.port.number")
        elif number > MAX_PORT:
            yield invalid(f"{where}.port.number", number, f"must be between 1 and {MAX_PORT}")
        if not any(value is not None for name, value in entry.items() if name != "port"):
            yield required(where, "must set at least one policy besides port")
        yield from _tls_errors(f"{where}.tls", entry.get("tls"), namespace)
        yield from traffic_errors(where, entry)


def _tls_errors(path: str, tls: Object | None, namespace: str) -> Iterator[FieldError]:
    if tls is None:
        return
    mode, credential = tls.get("mode") or "DISABLE", tls.get("credentialName") or ""
    if mode == "MUTUAL" and not credential:
        for name in ("clientCertificate", "privateKey"):
            if not tls.get(name):
                yield required(f"{path}.{name}", "MUTUAL needs it, or credentialName")
    if mode in {"SIMPLE", "MUTUAL"} and credential:
        for name in _FILES:
            if tls.get(name):
                yield forbidden(f"{path}.{name}", "cannot be combined with credentialName")
    yield from _skip_errors(path, tls, mode)
    if credential.startswith(_CONFIG_MAP):
        owner = credential.removeprefix(_CONFIG_MAP).rpartition("/")[0]
        if owner and owner != namespace:
            detail = "must be in the namespace of the DestinationRule"
            yield invalid(f"{path}.credentialName", credential, detail)


def _skip_errors(path: str, tls: Object, mode: str) -> Iterator[FieldError]:
    """Yield the contradictions of not verifying the server while saying how to verify it."""
    if not tls.get("insecureSkipVerify") or mode not in {"SIMPLE", "MUTUAL"}:
        return
    names = ["caCertificates", "subjectAltNames"]
    if mode == "SIMPLE":
        names.append("credentialName")
    for name in names:
        if tls.get(name):
            yield forbidden(f"{path}.{name}", "cannot be combined with insecureSkipVerify")


def _subset_errors(spec: Object, namespace: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, subset in enumerate(spec.get("subsets") or ()):
        path = f"spec.subsets[{index}]"
        if subset["name"] in seen:
            yield duplicate(f"{path}.name", subset["name"])
        seen.add(subset["name"])
        yield from label_errors(f"{path}.labels", subset.get("labels"))
        yield from _policy_errors(f"{path}.trafficPolicy", subset.get("trafficPolicy"), namespace)


def _export_errors(spec: Object, namespace: str) -> Iterator[FieldError]:
    targets = spec.get("exportTo") or []
    yield from export_errors("spec.exportTo", targets, namespace)
    beyond = [target for target in targets if target not in {".", namespace}]
    if beyond and match_labels(spec.get("workloadSelector")):
        detail = "a rule with a workloadSelector applies in its own namespace only"
        yield invalid("spec.exportTo", targets, detail)


def _selector_errors(spec: Object) -> Iterator[FieldError]:
    labels = match_labels(spec.get("workloadSelector"))
    yield from selector_errors("spec.workloadSelector.matchLabels", labels)
