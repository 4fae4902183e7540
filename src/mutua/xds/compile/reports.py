"""Who still arrives without mutual TLS?  The logs in which a server's proxy says so.

Only what proves no identity is logged, so mutual TLS costs nothing.  Entries go to the control
plane, over the pod's own socket, as Envoy's gRPC access log:

    what arrives                       log            one entry per
    plaintext HTTP                     PLAINTEXT      request, at its start
    plaintext TCP                      PLAINTEXT      connection, once the application has it
    TLS that is not the mesh's         FOREIGN_TLS    connection, once the application has it
    what STRICT refuses                REFUSED        connection, at once

What stays open is reported again every `PERIOD`: a connection of last week is a caller, too.

Source: envoy/extensions/access_loggers/grpc/v3/als.proto; HcmAccessLogOptions; TcpAccessLogOptions.
"""

from typing import Any, Final

from mutua.xds.proto import CelExpressionFilter, HttpGrpcAccessLog, TcpGrpcAccessLog, pack

XDS_CLUSTER: Final = "xds-grpc"
"""Static cluster of the bootstrap: the control plane, by the pod's own socket."""

PLAINTEXT: Final = "plaintext"
FOREIGN_TLS: Final = "foreign-tls"
REFUSED: Final = "refused"

PERIOD: Final = {"seconds": 15}

TOGETHER: Final = 64 * 1024
"""Bytes of entries that are sent together, if a second brings so many: some 200 of them."""

AT_ONCE: Final = 0
"""Bytes an entry may wait for: a refusal is somebody's outage."""

HANDSHAKE_FAILED: Final = (
    "has(connection.tls_version) && (!connection.mtls || "
    "connection.transport_failure_reason.contains('CERTIFICATE_VERIFY_FAILED'))"
)
"""CEL: our own TLS was offered, and no certificate of the mesh came back."""


def http_settings() -> dict[str, Any]:
    """Return the fields of an HTTP connection manager that has no mutual TLS in front of it."""
    config = HttpGrpcAccessLog(common_config=_common(PLAINTEXT))
    return {
        "access_log": [
            {
                "name": "envoy.access_loggers.http_grpc",
                "filter": {"log_type_filter": {"types": ["DownstreamStart", "DownstreamPeriodic"]}},
                "typed_config": pack(config),
            }
        ],
        "access_log_options": {
            "flush_access_log_on_new_request": True,
            "access_log_flush_interval": PERIOD,
        },
    }


def tcp_settings(log: str) -> dict[str, Any]:
    """Return the fields of a TCP proxy that has no mutual TLS in front of it.

    Args:
        log: `PLAINTEXT` or `FOREIGN_TLS`.
    """
    chosen = {"log_type_filter": {"types": ["TcpUpstreamConnected", "TcpPeriodic"]}}
    return {
        "access_log": [_tcp(log, chosen)],
        "access_log_options": {
            "flush_access_log_on_connected": True,
            "access_log_flush_interval": PERIOD,
        },
    }


def refusals() -> list[dict[str, Any]]:
    """Return the listener's own log: connections that no chain takes, or that prove nobody."""
    handshake = CelExpressionFilter(expression=HANDSHAKE_FAILED)
    chosen = {
        "or_filter": {
            "filters": [
                {"response_flag_filter": {"flags": ["NR"]}},
                {
                    "extension_filter": {
                        "name": "envoy.access_loggers.extension_filters.cel",
                        "typed_config": pack(handshake),
                    }
                },
            ]
        }
    }
    return [_tcp(REFUSED, chosen, together=AT_ONCE)]


def _tcp(log: str, chosen: dict[str, Any], together: int = TOGETHER) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.tcp_grpc",
        "filter": chosen,
        "typed_config": pack(TcpGrpcAccessLog(common_config=_common(log, together))),
    }


def _common(log: str, together: int = TOGETHER) -> dict[str, Any]:
    return {
        "log_name": log,
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": XDS_CLUSTER}},
        "buffer_size_bytes": {"value": together},
    }
