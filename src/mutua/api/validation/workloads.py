"""Deployments and ReplicaSets: a selector that must find the pods of its own template."""

import re
from collections.abc import Iterator
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.selectors import BadSelector, read_label_selector
from mutua.api.validation.names import annotation_errors, label_errors
from mutua.api.validation.pods import pod_spec_errors, pod_warnings
from mutua.api.verdict import FieldError, Verdict, forbidden, invalid, required, unsupported

_PERCENT: Final = re.compile(r"[0-9]{1,3}%")


def check_deployment(obj: Object, old: Object | None) -> Verdict:
    """Judge a Deployment."""
    spec = obj["spec"]
    verdict = check_template_owner("deployment", spec, (old or {}).get("spec"))
    verdict.errors.extend(_strategy_errors(spec.get("strategy") or {}))
    return verdict


def check_replica_set(obj: Object, old: Object | None) -> Verdict:
    """Judge a ReplicaSet."""
    return check_template_owner("replica set", obj["spec"], (old or {}).get("spec"))


def check_template_owner(owner: str, spec: Object, old: Object | None) -> Verdict:
    """Judge what every kind with a selector and a pod template has in common.

    Args:
        owner: The kind, in the words of its author.
        spec: Its spec.
        old: The spec it replaces, None when it is new.
    """
    template = spec.get("template") or {}
    errors = [
        *_selector_errors(owner, spec["selector"], template),
        *_template_errors(template),
    ]
    if old is not None and old.get("selector") != spec["selector"]:
        errors.append(invalid("spec.selector", spec["selector"], "field is immutable"))
    if not template.get("spec"):
        return Verdict(errors=errors)
    path = "spec.template."
    return Verdict(
        errors=[*errors, *pod_spec_errors(f"{path}spec", template["spec"])],
        warnings=list(pod_warnings(path, template)),
    )


def _selector_errors(owner: str, selector: Object, template: Object) -> Iterator[FieldError]:
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {owner}")
        return
    yield from label_errors("spec.selector.matchLabels", selector.get("matchLabels"))
    labels = (template.get("metadata") or {}).get("labels") or {}
    try:
        matches = read_label_selector(selector).matches(labels)
    except BadSelector as error:
        yield invalid("spec.selector", selector, str(error))
        return
    if not matches:
        detail = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels, detail)


def _template_errors(template: Object) -> Iterator[FieldError]:
    metadata = template.get("metadata") or {}
    yield from label_errors("spec.template.metadata.labels", metadata.get("labels"))
    yield from annotation_errors("spec.template.metadata.annotations", metadata.get("annotations"))
    spec = template.get("spec")
    if not spec:
        yield required("spec.template.spec")
    elif spec.get("restartPolicy") not in {None, "Always"}:
        yield unsupported("spec.template.spec.restartPolicy", spec["restartPolicy"], ("Always",))


def _strategy_errors(strategy: Object) -> Iterator[FieldError]:
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return
    path = "spec.strategy.rollingUpdate"
    if strategy.get("type") == "Recreate":
        yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    for name in ("maxUnavailable", "maxSurge"):
        if (value := rolling.get(name)) is not None and not _is_amount(value):
            detail = "must be a non-negative number or a percentage (e.g. '25%')"
            yield invalid(f"{path}.{name}", value, detail)
    if all(rolling.get(name) in {0, "0%"} for name in ("maxUnavailable", "maxSurge")):
        yield invalid(f"{path}.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0")


def _is_amount(value: Any) -> bool:
    return value >= 0 if isinstance(value, int) else bool(_PERCENT.fullmatch(value))
