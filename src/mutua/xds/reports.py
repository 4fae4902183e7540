"""What a server's proxy says about those who arrive without mutual TLS, read from its access log.

The counterpart of `mutua.xds.compile.reports`.  An entry speaks about one request or connection;
whose proxy wrote it is known from the socket it came over, so nothing here says that.

Source: envoy/service/accesslog/v3/als.proto, envoy/data/accesslog/v3/accesslog.proto.
"""

from collections.abc import Iterator
from typing import Any, Final

from mutua.xds.compile.reports import FOREIGN_TLS, REFUSED
from mutua.xds.proto import StreamAccessLogsMessage, enum_value
from mutua.xds.sighting import Sighting, Speaks

_TYPE: Final = "envoy.data.accesslog.v3.AccessLogType"

LONGEST_HOST: Final = 253
"""Characters of a host's name that are kept (RFC 1035, section 2.3.4); a peer writes it."""


def decode_log(data: bytes, log: str) -> tuple[str, list[Sighting]]:
    """Read one message of a log's stream.

    Args:
        data: A StreamAccessLogsMessage.
        log: What the stream's earlier messages said it is, "" before the first.

    Returns:
        The log's name, which only the first message of a stream has, and its entries.

    Raises:
        google.protobuf.message.DecodeError: Not a StreamAccessLogsMessage.
    """
    message = StreamAccessLogsMessage.FromString(data)
    log = message.identifier.log_name or log
    return log, [*_entries(message, log)]


def _entries(message: Any, log: str) -> Iterator[Sighting]:
    periodic = {enum_value(_TYPE, name) for name in ("TcpPeriodic", "DownstreamPeriodic")}
    for entry in message.http_logs.log_entry:
        common = entry.common_properties
        host = entry.request.authority[:LONGEST_HOST]
        yield _sighting(common, Speaks.HTTP, periodic, host=host if host.isprintable() else "")
    for entry in message.tcp_logs.log_entry:
        common = entry.common_properties
        is_tls = log == FOREIGN_TLS or common.HasField("tls_properties")
        speaks = Speaks.TLS if is_tls else Speaks.TCP
        yield _sighting(common, speaks, periodic, refused=log == REFUSED)


def _sighting(common: Any, speaks: Speaks, periodic: set[int], **more: Any) -> Sighting:
    # Not downstream_remote_address: that one believes X-Forwarded-For.
    source = common.downstream_direct_remote_address.socket_address
    return Sighting(
        source=source.address,
        source_port=source.port_value,
        port=common.downstream_local_address.socket_address.port_value,
        speaks=speaks,
        ongoing=common.access_log_type in periodic,
        **more,
    )
