"""What may be a name: of objects, labels, ports, variables, and in which words it is refused.

Source: apimachinery `util/validation` (RFC 1123, RFC 1035, IANA service names).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from mutua.api.verdict import ErrorType, FieldError, invalid

MAX_LABEL: Final = 63
"""Longest DNS label (RFC 1035, section 2.3.4), and longest label value."""

MAX_STATEFUL: Final = 52
"""Longest name of a StatefulSet: its pods carry `<name>-<hash of ten>` as a label's value."""

MAX_SUBDOMAIN: Final = 253
"""Longest DNS name as text (RFC 1035, section 2.3.4)."""

MAX_ANNOTATIONS: Final = 256 * 1024
"""Bytes of all annotations together (apimachinery `TotalAnnotationSizeLimitB`)."""

Check = Callable[[str], str]
"""Returns what is wrong with a text, "" when nothing is."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VARIABLE: Final = re.compile(r"[ -<>-~]+")
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")


def _rule(pattern: re.Pattern[str], limit: int, words: str) -> Check:
    def check(text: str) -> str:
        if len(text) > limit:
            return f"must be no more than {limit} characters"
        if pattern.fullmatch(text):
            return ""
        return f"{words}, regex used for validation is '{pattern.pattern}')"

    return check


dns_label: Final = _rule(
    _LABEL,
    MAX_LABEL,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc'",
)
stateful_name: Final = _rule(
    _LABEL,
    MAX_STATEFUL,
    "its pods' host names begin with it, so it must consist of lower case alphanumeric characters "
    "or '-', and must start and end with an alphanumeric character (e.g. 'my-name'",
)
dns_label_1035: Final = _rule(
    _LABEL_1035,
    MAX_LABEL,
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123'",
)
dns_subdomain: Final = _rule(
    _SUBDOMAIN,
    MAX_SUBDOMAIN,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com'",
)
label_value: Final = _rule(
    re.compile(rf"({_NAME.pattern})?"),
    MAX_LABEL,
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value'",
)
variable_name: Final = _rule(
    _VARIABLE,
    MAX_SUBDOMAIN * 4,
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '=' (e.g. 'MY_ENV'",
)
data_key: Final = _rule(
    _DATA_KEY,
    MAX_SUBDOMAIN,
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name'",
)
port_name: Final = _rule(
    _PORT_NAME,
    15,
    "must consist of lower case alphanumeric characters or '-', with at least one letter, and "
    "must start and end with an alphanumeric character (e.g. 'http'",
)


def qualified_name(text: str) -> str:
    """Tell what is wrong with a label or annotation key: `[prefix/]name`."""
    prefix, slash, name = text.rpartition("/")
    if slash and (fault := dns_subdomain(prefix)):
        return f"prefix part {fault}"
    if len(name) <= MAX_LABEL and _NAME.fullmatch(name):
        return ""
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
        "end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
        f"used for validation is '{_NAME.pattern}') and be no more than {MAX_LABEL} characters"
    )


def name_errors(path: str, text: str, check: Check) -> Iterator[FieldError]:
    """Yield the error of a name, if it has one."""
    if fault := check(text):
        yield invalid(path, text, fault)


def label_errors(path: str, labels: Mapping[str, str] | None) -> Iterator[FieldError]:
    """Yield what is wrong with labels."""
    for key, value in (labels or {}).items():
        yield from name_errors(path, key, qualified_name)
        yield from name_errors(path, value, label_value)


def annotation_errors(path: str, annotations: Mapping[str, str] | None) -> Iterator[FieldError]:
    """Yield what is wrong with annotations."""
    size = 0
    for key, value in (annotations or {}).items():
        yield from name_errors(path, key.lower(), qualified_name)
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATIONS:
        detail = f"may not be more than {MAX_ANNOTATIONS} bytes"
        yield FieldError(path, ErrorType.TOO_LONG, detail=detail)
