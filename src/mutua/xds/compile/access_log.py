"""Access logs: one line per request, or per connection where no HTTP is read.

Off unless the MeshConfig says where to: every line costs every request.  Listeners log connections
that none of their filter chains takes (flag NR), which is how a refused plaintext connection
shows.  Fields and their order are Istio's (istio-semantics section 9.3).
"""

import json
from typing import Any, Final

from mutua.api.mesh_config import AccessLog
from mutua.xds.proto import NAMES, from_json, pack

LINE: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""With encoding TEXT and no format of the user's."""

OBJECT: Final = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
"""With encoding JSON and no format of the user's."""

UNMATCHED: Final = {"response_flag_filter": {"flags": ["NR"]}}
"""Of a listener's own log: connections without a filter chain, not all it accepts."""


def access_logs(log: AccessLog) -> list[dict[str, Any]]:
    """Return the logs of an HTTP connection manager or a TCP proxy."""
    if not log.file:
        return []
    config = {"path": log.file, "log_format": _format(log)}
    packed = pack(from_json(NAMES["FileAccessLog"], config))
    return [{"name": "envoy.access_loggers.file", "typed_config": packed}]


def listener_logs(log: AccessLog) -> list[dict[str, Any]]:
    """Return the logs of a listener."""
    return [one | {"filter": UNMATCHED} for one in access_logs(log)] if log.unmatched else []


def _format(log: AccessLog) -> dict[str, Any]:
    if log.encoding == "JSON":
        return {"json_format": json.loads(log.format) if log.format else OBJECT}
    line = log.format or LINE
    ended = line if line.endswith("\n") else f"{line}\n"
    return {"text_format_source": {"inline_string": ended}}
