"""What admission thinks of an object: field errors and warnings, worded as kubectl users know them.

A field error names the field, what is wrong with it and, where that helps, the value found.  The
wording is Kubernetes' (apimachinery `field.Error`), because people paste these lines into search
engines:

    spec.mtls.mode: Unsupported value: "STRIC": supported values: "DISABLE", "PERMISSIVE"
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from typing_extensions import override

from mutua.foundation.errors import Rejected

ABSENT: Final = object()
"""Stands for "this message does not quote a value"."""


class ErrorType(Enum):
    """What is wrong; the value is the text kubectl shows, `reason` the machine's name for it."""

    REQUIRED = "Required value"
    INVALID = "Invalid value"
    UNSUPPORTED = "Unsupported value"
    FORBIDDEN = "Forbidden"
    DUPLICATE = "Duplicate value"
    TOO_LONG = "Too long"
    TOO_MANY = "Too many"

    @property
    def reason(self) -> str:
        """`reason` of the cause in a Status (metav1.CauseType)."""
        return _REASONS[self]


_REASONS: Final = {
    ErrorType.REQUIRED: "FieldValueRequired",
    ErrorType.INVALID: "FieldValueInvalid",
    ErrorType.UNSUPPORTED: "FieldValueNotSupported",
    ErrorType.FORBIDDEN: "FieldValueForbidden",
    ErrorType.DUPLICATE: "FieldValueDuplicate",
    ErrorType.TOO_LONG: "FieldValueTooLong",
    ErrorType.TOO_MANY: "FieldValueTooMany",
}

MAX_QUOTED: Final = 256
"""Characters of a foreign value that a message repeats."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field.

    Attributes:
        path: Where, as `spec.rules[0].from`; map keys in brackets.
        type: What kind of wrong.
        value: The value found, or ABSENT when the message should not quote one.
        detail: One lower-case clause, or "".
    """

    path: str
    type: ErrorType
    value: Any = ABSENT
    detail: str = ""

    @property
    def message(self) -> str:
        """The error without its path, as in `details.causes[].message`."""
        parts = [self.type.value]
        if self.value is not ABSENT and self.type not in _VALUELESS:
            parts.append(_quoted(self.value))
        if self.detail:
            parts.append(self.detail)
        return ": ".join(parts)

    @override
    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


_VALUELESS: Final = frozenset(
    {
        ErrorType.REQUIRED,
        ErrorType.FORBIDDEN,
        ErrorType.TOO_LONG,
        ErrorType.TOO_MANY,
    }
)


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"


def required(path: str, detail: str = "") -> FieldError:
    """The field must be given."""
    return FieldError(path, ErrorType.REQUIRED, detail=detail)


def invalid(path: str, value: Any, detail: str) -> FieldError:
    """The value has a wrong form."""
    return FieldError(path, ErrorType.INVALID, value, detail)


def unsupported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is not one of an enumeration."""
    names = ", ".join(json.dumps(name) for name in supported)
    return FieldError(path, ErrorType.UNSUPPORTED, value, f"supported values: {names}")


def forbidden(path: str, detail: str) -> FieldError:
    """The field may not be used here."""
    return FieldError(path, ErrorType.FORBIDDEN, detail=detail)


def duplicate(path: str, value: Any) -> FieldError:
    """The value must be unique and is not."""
    return FieldError(path, ErrorType.DUPLICATE, value)


def too_many(path: str, count: int, limit: int) -> FieldError:
    """The list or map has too many elements."""
    detail = f"{count}: must have at most {limit} items"
    return FieldError(path, ErrorType.TOO_MANY, detail=detail)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything admission has to say about one object.

    Attributes:
        errors: Reasons to refuse it; empty when it is acceptable.
        warnings: Sentences for its author that do not prevent storing it.
    """

    errors: list[FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def raise_for_errors(self) -> None:
        """Refuse the object if anything is wrong with it.

        Raises:
            Invalid: There are errors.
        """
        if self.errors:
            raise Invalid(self.errors)


class Invalid(Rejected):
    """The object is well-formed JSON and still not acceptable (HTTP 422).

    Attributes:
        errors: At least one.
    """

    code = "api.invalid"

    def __init__(self, errors: Sequence[FieldError], *, hint: str = "") -> None:
        texts = [str(error) for error in errors]
        super().__init__(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]", hint=hint)
        self.errors = tuple(errors)
