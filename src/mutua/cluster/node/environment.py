"""What is in a container's environment?  Pure; the sources are looked up by the caller's function.

Source: Kubernetes EnvVar and EnvVarSource; expansion of `$(NAME)` as in `third_party/forked/
golang/expansion`: unknown names stay as written, `$$` escapes.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from mutua.api.object import CONFIG_MAPS, SECRETS, Object, Resource
from mutua.cluster.node.content import decoded, field_text
from mutua.foundation.errors import Rejected, Unavailable

Lookup = Callable[[Resource, str], Object | None]
"""Returns the ConfigMap or Secret of that name in the pod's namespace, or None."""

VARIABLE_NAME: Final = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")
_REFERENCE: Final = re.compile(r"\$(\$|\(([^()]*)\))")

SUFFIXES: Final[Mapping[str, Fraction]] = {
    "": Fraction(1), "m": Fraction(1, 10**3),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
}  # fmt: skip
"""Multipliers of Kubernetes quantities."""


class SourceMissing(Unavailable):
    """A ConfigMap, Secret or key that a container needs does not exist (yet)."""

    code = "node.source_missing"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace every `$(NAME)` that is known; `$$` means `$`."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return variables.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def container_environment(
    container: Mapping[str, Any], pod: Object, lookup: Lookup, facts: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that the container's spec asks for, in order.

    Args:
        container: Its spec.
        pod: The pod.
        lookup: Where ConfigMaps and Secrets are.
        facts: What the node knows before the status says so: status.podIP, status.hostIP.

    Raises:
        SourceMissing: Something it refers to does not exist.
        Rejected: It refers to a field that is not supported.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        variables |= _all_of(source, lookup)
    for entry in container.get("env") or []:
        if (source := entry.get("valueFrom")) is not None:
            value = _value_from(source, container, pod, lookup, facts)
            if value is not None:
                variables[entry["name"]] = value
        else:
            variables[entry["name"]] = expand(str(entry.get("value") or ""), variables)
    return variables


def _all_of(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for resource, field in ((CONFIG_MAPS, "configMapRef"), (SECRETS, "secretRef")):
        if (reference := source.get(field)) is not None:
            obj = _find(resource, reference, lookup)
            data = {} if obj is None else decoded(resource, obj)
            return {
                prefix + name: value.decode(errors="replace")
                for name, value in data.items()
                if VARIABLE_NAME.fullmatch(prefix + name)
            }
    return {}


def _find(resource: Resource, reference: Mapping[str, Any], lookup: Lookup) -> Object | None:
    obj = lookup(resource, reference["name"])
    if obj is None and not reference.get("optional"):
        raise SourceMissing(f'{resource.plural.removesuffix("s")} "{reference["name"]}" not found')
    return obj


def _value_from(
    source: Mapping[str, Any],
    container: Mapping[str, Any],
    pod: Object,
    lookup: Lookup,
    facts: Mapping[str, str],
) -> str | None:
    for resource, field in ((CONFIG_MAPS, "configMapKeyRef"), (SECRETS, "secretKeyRef")):
        if (reference := source.get(field)) is not None:
            return _key_of(resource, reference, lookup)
    if (reference := source.get("fieldRef")) is not None:
        return field_text(pod, reference["fieldPath"], facts)
    if (reference := source.get("resourceFieldRef")) is not None:
        return resource_text(reference, [container])
    raise Rejected(f"unsupported valueFrom: {', '.join(source)}")


def _key_of(resource: Resource, reference: Mapping[str, Any], lookup: Lookup) -> str | None:
    obj = _find(resource, reference, lookup)
    data = {} if obj is None else decoded(resource, obj)
    value = data.get(reference["key"])
    if value is None and not reference.get("optional"):
        kind = "Secret" if resource == SECRETS else "ConfigMap"
        raise SourceMissing(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
    return None if value is None else value.decode(errors="replace")


def resource_text(reference: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> str:
    """Return a resourceFieldRef's value: a request or limit in units of its divisor, rounded up.

    A missing limit is 0, because the node sets none.

    Raises:
        Rejected: It names a container that the pod does not have, or is malformed.
    """
    named = reference.get("containerName")
    found = [c for c in containers if not named or c["name"] == named]
    if not found:
        raise Rejected(f"resourceFieldRef names no container of the pod: {named}")
    kind, _, name = str(reference["resource"]).partition(".")
    quantity = ((found[0].get("resources") or {}).get(kind) or {}).get(name, "0")
    divisor = parse_quantity(str(reference.get("divisor") or "1")) or Fraction(1)
    return str(math.ceil(parse_quantity(str(quantity)) / divisor))


def parse_quantity(text: str) -> Fraction:
    """Read a Kubernetes quantity such as 100m, 128Mi or 1.5.

    Raises:
        Rejected: It is not one.
    """
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None or found[2] not in SUFFIXES:
        raise Rejected(f"not a quantity: {text!r}")
    try:
        return Fraction(found[1]) * SUFFIXES[found[2]]
    except ValueError:
        raise Rejected(f"not a quantity: {text!r}") from None
