r"""Which objects a selector means: labels and fields.

Three notations, one value:

    text            app=web,tier in (a, b),!canary       kubectl -l, ?labelSelector=
    LabelSelector   {matchLabels: …, matchExpressions: …}  Deployments, policies
    map             {app: web}                           Services

Negative requirements (`!=`, `notin`) also match objects without the label.  Sources: Kubernetes
concepts "Labels and Selectors"; apimachinery `labels.Parse` for the grammar of the text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from mutua.foundation.errors import Rejected


class BadSelector(Rejected):
    """The text is not a selector."""

    code = "api.bad_selector"


class Operator(Enum):
    """How a requirement compares; the values are those of matchExpressions."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels meets the condition."""
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of its requirements must hold; without any, it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Tell whether an object with these labels is selected."""
        return all(requirement.matches(labels or {}) for requirement in self.requirements)


_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY: Final = rf"(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}"
_VALUE: Final = rf"(?:{_NAME})?"

_REQUIREMENT: Final = re.compile(
    rf"\s*(?:(?P<absent>!)\s*)?(?P<key>{_KEY})\s*"
    rf"(?:(?P<equality>==|=|!=)\s*(?P<value>{_VALUE})"
    r"|(?<=\s)(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?\s*(?:,|$)"
)


def parse_label_selector(text: str) -> LabelSelector:
    """Read a selector as kubectl sends it; empty text selects everything.

    Raises:
        BadSelector: The text does not follow the grammar.
    """
    requirements: list[Requirement] = []
    position = 0
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if found is None or (found["absent"] and (found["equality"] or found["set"])):
            raise BadSelector(f"unable to parse label selector {text!r} at {text[position:]!r}")
        requirements.append(_requirement(found))
        position = found.end()
    return LabelSelector(tuple(requirements))


def _requirement(found: re.Match[str]) -> Requirement:
    key = found["key"]
    if found["equality"]:
        operator = Operator.NOT_IN if found["equality"] == "!=" else Operator.IN
        return Requirement(key, operator, frozenset({found["value"]}))
    if found["set"]:
        values = frozenset(value.strip() for value in found["values"].split(","))
        if not all(re.fullmatch(_VALUE, value) for value in values):
            raise BadSelector(f"not a set of label values: ({found['values']})")
        return Requirement(key, Operator.IN if found["set"] == "in" else Operator.NOT_IN, values)
    return Requirement(key, Operator.DOES_NOT_EXIST if found["absent"] else Operator.EXISTS)


def read_label_selector(obj: Mapping[str, Any]) -> LabelSelector:
    """Read a LabelSelector object (matchLabels, matchExpressions).

    Raises:
        BadSelector: An operator is unknown, or has values it should not have, or lacks them.
    """
    requirements = list(equality_selector(obj.get("matchLabels") or {}).requirements)
    for expression in obj.get("matchExpressions") or []:
        try:
            operator = Operator(expression.get("operator"))
        except ValueError:
            raise BadSelector(f"not a selector operator: {expression.get('operator')!r}") from None
        values = frozenset(expression.get("values") or ())
        if bool(values) != (operator in {Operator.IN, Operator.NOT_IN}):
            raise BadSelector(f"wrong number of values for {operator.value}: {len(values)}")
        requirements.append(Requirement(expression.get("key", ""), operator, values))
    return LabelSelector(tuple(requirements))


def equality_selector(labels: Mapping[str, str]) -> LabelSelector:
    """Return the selector that asks for exactly these labels (others may be present)."""
    return LabelSelector(
        tuple(Requirement(key, Operator.IN, frozenset({value})) for key, value in labels.items())
    )


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One comparison: the field at `path` equals (or differs from) `value`."""

    path: str
    value: str
    equal: bool = True


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All of its comparisons must hold."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Tell whether an object is selected; a missing field counts as ""."""
        return all((_text_at(obj, r.path) == r.value) is r.equal for r in self.requirements)

    def exact(self, path: str) -> str | None:
        """Return the value the field at `path` must have, if the selector fixes it."""
        for requirement in self.requirements:
            if requirement.path == path and requirement.equal:
                return requirement.value
        return None


_FIELD: Final = re.compile(
    r"(?P<path>[A-Za-z][A-Za-z0-9_.]*)(?P<op>==|=|!=)(?P<value>(?:\\.|[^\\,=])*)(?:,|$)"
)


def parse_field_selector(text: str) -> FieldSelector:
    r"""Read `path=value,path!=value`; backslash escapes `,`, `=` and itself in values.

    Raises:
        BadSelector: The text does not follow the grammar.
    """
    requirements: list[FieldRequirement] = []
    position = 0
    while position < len(text):
        found = _FIELD.match(text, position)
        if found is None:
            raise BadSelector(f"unable to parse field selector {text!r} at {text[position:]!r}")
        value = re.sub(r"\\(.)", r"\1", found["value"])
        requirements.append(FieldRequirement(found["path"], value, found["op"] != "!="))
        position = found.end()
    return FieldSelector(tuple(requirements))


def _text_at(obj: Any, path: str) -> str:
    for segment in path.split("."):
        obj = obj.get(segment) if isinstance(obj, Mapping) else None
    if obj is None:
        return ""
    return str(obj).lower() if isinstance(obj, bool) else str(obj)
