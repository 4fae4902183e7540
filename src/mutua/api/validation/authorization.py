"""AuthorizationPolicy: everything Istio refuses at admission (istio-semantics, section 5.7)."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.security import match_labels, selector_errors, selector_warnings
from mutua.api.verdict import FieldError, Verdict, forbidden, invalid, required

NOT_ENFORCED: Final = "AuthorizationPolicy is stored and validated, but not enforced yet"

DRY_RUN: Final = "istio.io/dry-run"
MAX_PORT: Final = 65535

TARGETS: Final = frozenset(
    {
        ("", "Service"),
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    }
)
"""(group, kind) that targetRefs may name."""

_IDENTITY_FIELDS: Final = (
    "namespaces",
    "serviceAccounts",
    "trustDomains",
    "principals",
    "requestPrincipals",
)
"""Of a source: unknown before CUSTOM runs, so it may not ask for them."""

_IDENTITY_KEYS: Final = (
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.",
)


def check_authorization_policy(obj: Object) -> Verdict:
    """Judge an AuthorizationPolicy."""
    spec = obj.get("spec") or {}
    action = spec.get("action") or "ALLOW"
    errors = [
        *_target_errors(spec),
        *selector_errors("spec.selector.matchLabels", match_labels(spec.get("selector"))),
        *_action_errors(spec, action),
        *_dry_run_errors(obj, action),
    ]
    for index, rule in enumerate(spec.get("rules") or ()):
        errors += _rule_errors(f"spec.rules[{index}]", rule, action)
    warnings = [NOT_ENFORCED, *selector_warnings("spec.selector", spec.get("selector"))]
    return Verdict(errors=errors, warnings=[] if errors else warnings)


def _target_errors(spec: Object) -> Iterator[FieldError]:
    given = [name for name in ("selector", "targetRef", "targetRefs") if spec.get(name)]
    for name in given[1:]:
        yield forbidden(f"spec.{name}", "only one of selector, targetRef and targetRefs may be set")
    targets = [("spec.targetRef", spec["targetRef"])] if spec.get("targetRef") else []
    targets += [
        (f"spec.targetRefs[{index}]", target)
        for index, target in enumerate(spec.get("targetRefs") or ())
    ]
    for path, target in targets:
        if not target.get("name"):
            yield required(f"{path}.name")
        if target.get("namespace"):
            yield forbidden(f"{path}.namespace", "cross namespace referencing is not supported")
        named = (target.get("group") or "", target["kind"])
        if named not in TARGETS:
            yield invalid(path, "/".join(named), "not a kind that a policy can target")


def _action_errors(spec: Object, action: str) -> Iterator[FieldError]:
    provider = spec.get("provider")
    if action == "CUSTOM":
        if not (provider or {}).get("name"):
            yield required("spec.provider.name", "CUSTOM needs a provider")
    elif provider is not None:
        yield forbidden("spec.provider", f"must not be set with action {action}")
    if action in {"CUSTOM", "DENY"} and not spec.get("rules"):
        yield required("spec.rules", f"{action} without rules would never match")


def _dry_run_errors(obj: Object, action: str) -> Iterator[FieldError]:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if DRY_RUN not in annotations:
        return
    path = f"metadata.annotations[{DRY_RUN}]"
    if annotations[DRY_RUN].lower() not in {"true", "false", "1", "0", "t", "f"}:
        yield invalid(path, annotations[DRY_RUN], "must be a boolean")
    elif action in {"CUSTOM", "AUDIT"}:
        yield forbidden(path, f"not supported with action {action}")


def _rule_errors(path: str, rule: Object, action: str) -> Iterator[FieldError]:
    for section, part, check in (
        ("from", "source", _source_errors),
        ("to", "operation", _operation_errors),
    ):
        entries = rule.get(section)
        if entries == []:
            yield invalid(f"{path}.{section}", entries, "must not be empty")
        for index, entry in enumerate(entries or ()):
            where = f"{path}.{section}[{index}].{part}"
            if not entry.get(part):
                yield required(where, "must not be empty")
                continue
            yield from _list_errors(where, entry[part])
            yield from check(where, entry[part])
            if action == "CUSTOM":
                yield from _custom_errors(where, entry[part])
    for index, condition in enumerate(rule.get("when") or ()):
        yield from _condition_errors(f"{path}.when[{index}]", condition, action)


def _list_errors(path: str, section: Object) -> Iterator[FieldError]:
    for name, values in section.items():
        if values == []:
            yield invalid(f"{path}.{name}", values, "must not be empty")
        for index, value in enumerate(values or ()):
            if value == "":
                yield invalid(f"{path}.{name}[{index}]", value, "must not be empty")


def _custom_errors(path: str, section: Object) -> Iterator[FieldError]:
    for name in section:
        if _positive(name) in _IDENTITY_FIELDS:
            yield forbidden(f"{path}.{name}", "not available to CUSTOM")


def _positive(name: str) -> str:
    """Return `hosts` for `notHosts`."""
    return name[3].lower() + name[4:] if name.startswith("not") else name


def _values(section: Object, path: str, field: str) -> Iterator[tuple[str, str]]:
    for name, values in section.items():
        if _positive(name) == field:
            yield from (
                (f"{path}.{name}[{index}]", value) for index, value in enumerate(values or ())
            )


def _source_errors(path: str, source: Object) -> Iterator[FieldError]:
    present = {_positive(name) for name, values in source.items() if values}
    if "serviceAccounts" in present and present & {"namespaces", "principals"}:
        detail = "cannot be set together with namespaces or principals"
        yield forbidden(f"{path}.serviceAccounts", detail)
    for where, value in _values(source, path, "serviceAccounts"):
        parts = value.split("/")
        if "*" in value or len(parts) > 2 or not all(parts):
            yield invalid(
                where, value, "must be 'account' or 'namespace/account', without wildcards"
            )
    for where, value in _values(source, path, "trustDomains"):
        yield from _trust_domain_errors(where, value)
    for field in ("ipBlocks", "remoteIpBlocks"):
        for where, value in _values(source, path, field):
            yield from _address_errors(where, value)


def _trust_domain_errors(path: str, value: str) -> Iterator[FieldError]:
    if "/" in value:
        yield invalid(path, value, "must not contain '/'")
    if value.count("*") > 1 or "*" in value[1:-1]:
        yield invalid(path, value, "may have one wildcard, at the start or at the end")


def _address_errors(path: str, value: str) -> Iterator[FieldError]:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        yield invalid(path, value, "must be an IP address or a CIDR block")


def _port_errors(path: str, value: str) -> Iterator[FieldError]:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > MAX_PORT:
        yield invalid(path, value, f"must be a port number between 0 and {MAX_PORT}")


def _operation_errors(path: str, operation: Object) -> Iterator[FieldError]:
    for where, value in _values(operation, path, "ports"):
        yield from _port_errors(where, value)
    for where, value in _values(operation, path, "paths"):
        if "{*}" in value or "{**}" in value:
            yield from _template_errors(where, value)


_PCHARS: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;:@=-]|%[0-9A-Fa-f]{2})*")
"""Literal segment of a path template (RFC 3986 pchar without `*`)."""


def _template_errors(path: str, value: str) -> Iterator[FieldError]:
    segments = value.split("/")
    if not value.startswith("/"):
        yield invalid(path, value, "a path template must start with '/'")
    for segment in segments:
        if segment not in {"{*}", "{**}"} and not _PCHARS.fullmatch(segment):
            yield invalid(path, value, f"invalid or unsupported path template segment {segment!r}")
    operators = [segment for segment in segments if segment in {"{*}", "{**}"}]
    if "{**}" in operators[:-1]:
        yield invalid(path, value, "{**} must be the last operator")


_CONDITION_KEYS: Final[Mapping[str, Callable[[str, str], Iterator[FieldError]] | None]] = {
    "source.ip": _address_errors,
    "remote.ip": _address_errors,
    "destination.ip": _address_errors,
    "destination.port": _port_errors,
    "source.trustDomain": _trust_domain_errors,
    "source.namespace": None,
    "source.principal": None,
    "source.serviceAccount": None,
    "connection.sni": None,
    "request.auth.principal": None,
    "request.auth.audiences": None,
    "request.auth.presenter": None,
}
"""Attributes of `when`, and how their values are checked."""

_SUBSCRIPTED: Final = re.compile(
    r"request\.headers\[[^\[\]]+\]|request\.auth\.claims(\[[^\[\]]+\])+|experimental\.envoy\.filters\.[^\[]+\[.+\]"
)


def _condition_errors(path: str, condition: Object, action: str) -> Iterator[FieldError]:
    key = condition["key"]
    if key not in _CONDITION_KEYS and not _SUBSCRIPTED.fullmatch(key):
        yield invalid(f"{path}.key", key, "unknown attribute")
    if action == "CUSTOM" and key.startswith(_IDENTITY_KEYS):
        yield forbidden(f"{path}.key", "not available to CUSTOM")
    if not condition.get("values") and not condition.get("notValues"):
        yield required(path, "at least one of values, notValues must be set")
    lists: dict[str, Any] = {name: condition.get(name) for name in ("values", "notValues")}
    yield from _list_errors(path, {name: values for name, values in lists.items() if values})
    check = _CONDITION_KEYS.get(key)
    for name, values in lists.items():
        for index, value in enumerate(values or ()):
            if check is not None and value:
                yield from check(f"{path}.{name}[{index}]", value)
