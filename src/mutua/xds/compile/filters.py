"""The network filters that both directions share: HTTP connection manager, TCP proxy, inspectors.

Kept lean on purpose: no tracing, no filter that does not act.  Every filter here costs every
request of the mesh.  Specification: istio-semantics section 2.6.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mutua.api.mesh_config import PathNormalization
from mutua.model.settings import MeshSettings
from mutua.xds.compile.access_log import access_logs
from mutua.xds.proto import (
    HttpConnectionManager,
    HttpInspector,
    OriginalDst,
    Router,
    TcpProxy,
    TlsInspector,
    pack,
)

ADS: Final = {"ads": {}, "initial_fetch_timeout": {}, "resource_api_version": "V3"}
"""The stream on which the configuration itself arrived; wait for it as long as it takes."""

NEVER: Final[dict[str, Any]] = {}
"""A duration of zero, which Envoy reads as "no timeout"."""

TLS_INSPECTOR_BUFFER: Final = 512
"""Bytes the TLS inspector reads at first; it grows when a ClientHello is longer."""


NORMALIZATIONS: Final[Mapping[PathNormalization, dict[str, Any]]] = {
    PathNormalization.NONE: {"normalize_path": {"value": False}},
    PathNormalization.BASE: {"normalize_path": {"value": True}},
    PathNormalization.MERGE_SLASHES: {"normalize_path": {"value": True}, "merge_slashes": True},
    PathNormalization.DECODE_AND_MERGE_SLASHES: {
        "normalize_path": {"value": True},
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}
"""What is done to a request's path before anybody looks at it (section 2.6)."""


def http_connection_manager(stat_prefix: str, mesh: MeshSettings, **fields: Any) -> dict[str, Any]:
    """Return an HTTP connection manager.

    Args:
        stat_prefix: Prefix of its statistics.
        mesh: Settings of the mesh.
        fields: Of HttpConnectionManager; `http_filters` go in front of the router, `access_log`
            behind the mesh's own.
    """
    http_filters = [*fields.pop("http_filters", ()), _router()]
    manager = HttpConnectionManager(
        stat_prefix=stat_prefix,
        http_filters=http_filters,
        use_remote_address={"value": False},
        preserve_external_request_id=True,
        stream_idle_timeout=NEVER,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=_logs(mesh, fields, ended="DownstreamEnd"),
        **NORMALIZATIONS[mesh.path_normalization],
        **fields,
    )
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": pack(manager)}


def rds(route_name: str) -> dict[str, Any]:
    """Return where a connection manager finds its routes."""
    return {"config_source": ADS, "route_config_name": route_name}


def tcp_proxy(cluster: str, mesh: MeshSettings, **fields: Any) -> dict[str, Any]:
    """Return a filter that copies bytes to a cluster; `fields` are more of TcpProxy."""
    logs = _logs(mesh, fields, ended="TcpConnectionEnd")
    proxy = TcpProxy(stat_prefix=cluster, cluster=cluster, access_log=logs, **fields)
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": pack(proxy)}


def original_dst() -> dict[str, Any]:
    """Return the listener filter that recovers where a captured connection was going."""
    return {"name": "envoy.filters.listener.original_dst", "typed_config": pack(OriginalDst())}


def duration(seconds: float) -> dict[str, Any]:
    """Return a duration in protobuf's form."""
    whole, fraction = divmod(seconds, 1)
    return {"seconds": int(whole), "nanos": round(fraction * 1e9)}


def tls_inspector(*, disabled: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the listener filter that recognises TLS and reads the offered ALPN."""
    inspector = TlsInspector(initial_read_buffer_size={"value": TLS_INSPECTOR_BUFFER})
    return _listener_filter("envoy.filters.listener.tls_inspector", inspector, disabled)


def http_inspector(*, disabled: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the listener filter that recognises plaintext HTTP."""
    return _listener_filter("envoy.filters.listener.http_inspector", HttpInspector(), disabled)


def on_ports(ports: Iterable[int]) -> dict[str, Any] | None:
    """Return the predicate for connections to any of `ports`, None when there are none."""
    rules: Sequence[dict[str, Any]] = [
        {"destination_port_range": {"start": port, "end": port + 1}} for port in sorted(set(ports))
    ]
    if not rules:
        return None
    return rules[0] if len(rules) == 1 else {"or_match": {"rules": rules}}


def except_on_ports(ports: Iterable[int]) -> dict[str, Any]:
    """Return the predicate for connections to none of `ports`."""
    listed = on_ports(ports)
    return {"any_match": True} if listed is None else {"not_match": listed}


def _logs(mesh: MeshSettings, fields: dict[str, Any], *, ended: str) -> list[dict[str, Any]]:
    """Return the mesh's access log and a filter's own; the mesh's stays one line at the end."""
    of_mesh = access_logs(mesh.access_log)
    if "access_log_options" in fields:
        of_mesh = [one | {"filter": {"log_type_filter": {"types": [ended]}}} for one in of_mesh]
    return [*of_mesh, *fields.pop("access_log", ())]


def _listener_filter(name: str, config: Any, disabled: Mapping[str, Any] | None) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "typed_config": pack(config)}
    if disabled is not None:
        made["filter_disabled"] = disabled
    return made


def _router() -> dict[str, Any]:
    return {"name": "envoy.filters.http.router", "typed_config": pack(Router())}
