"""Short Python names for the messages mutua writes.

`from mutua.xds.proto import HttpConnectionManager` is `message(NAMES["HttpConnectionManager"])`,
made on first use.  Nested messages are attributes of their class, as in generated code
(`Cluster.TransportSocketMatch`), and so are the values of nested enums (`Cluster.STATIC`).
"""

from typing import Any, Final

from mutua.xds.proto.pool import message

_FILTERS: Final = "envoy.extensions.filters"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"

# fmt: off
NAMES: Final = {
    # google.protobuf: from our pool, unlike google.protobuf.any_pb2
    "Any": "google.protobuf.Any",
    "BoolValue": "google.protobuf.BoolValue",
    "BytesValue": "google.protobuf.BytesValue",
    "DoubleValue": "google.protobuf.DoubleValue",
    "Duration": "google.protobuf.Duration",
    "Empty": "google.protobuf.Empty",
    "Int64Value": "google.protobuf.Int64Value",
    "ListValue": "google.protobuf.ListValue",
    "StringValue": "google.protobuf.StringValue",
    "Struct": "google.protobuf.Struct",
    "Timestamp": "google.protobuf.Timestamp",
    "UInt32Value": "google.protobuf.UInt32Value",
    "UInt64Value": "google.protobuf.UInt64Value",
    "Value": "google.protobuf.Value",
    "Status": "google.rpc.Status",
    # discovery
    "DeltaDiscoveryRequest": "envoy.service.discovery.v3.DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse": "envoy.service.discovery.v3.DeltaDiscoveryResponse",
    "DiscoveryRequest": "envoy.service.discovery.v3.DiscoveryRequest",
    "DiscoveryResponse": "envoy.service.discovery.v3.DiscoveryResponse",
    "Resource": "envoy.service.discovery.v3.Resource",
    # core
    "Address": "envoy.config.core.v3.Address",
    "AdsConfigSource": "envoy.config.core.v3.AggregatedConfigSource",
    "AggregatedConfigSource": "envoy.config.core.v3.AggregatedConfigSource",
    "ApiConfigSource": "envoy.config.core.v3.ApiConfigSource",
    "BindConfig": "envoy.config.core.v3.BindConfig",
    "CidrRange": "envoy.config.core.v3.CidrRange",
    "ConfigSource": "envoy.config.core.v3.ConfigSource",
    "ControlPlane": "envoy.config.core.v3.ControlPlane",
    "DataSource": "envoy.config.core.v3.DataSource",
    "EnvoyInternalAddress": "envoy.config.core.v3.EnvoyInternalAddress",
    "ExtensionConfigSource": "envoy.config.core.v3.ExtensionConfigSource",
    "ExtraSourceAddress": "envoy.config.core.v3.ExtraSourceAddress",
    "GrpcService": "envoy.config.core.v3.GrpcService",
    "HeaderValue": "envoy.config.core.v3.HeaderValue",
    "HeaderValueOption": "envoy.config.core.v3.HeaderValueOption",
    "Http1ProtocolOptions": "envoy.config.core.v3.Http1ProtocolOptions",
    "Http2ProtocolOptions": "envoy.config.core.v3.Http2ProtocolOptions",
    "HttpProtocolOptions": "envoy.config.core.v3.HttpProtocolOptions",
    "KeepaliveSettings": "envoy.config.core.v3.KeepaliveSettings",
    "Locality": "envoy.config.core.v3.Locality",
    "Metadata": "envoy.config.core.v3.Metadata",
    "Node": "envoy.config.core.v3.Node",
    "Pipe": "envoy.config.core.v3.Pipe",
    "ProxyProtocolConfig": "envoy.config.core.v3.ProxyProtocolConfig",
    "RuntimeFractionalPercent": "envoy.config.core.v3.RuntimeFractionalPercent",
    "SelfConfigSource": "envoy.config.core.v3.SelfConfigSource",
    "SocketAddress": "envoy.config.core.v3.SocketAddress",
    "SocketOption": "envoy.config.core.v3.SocketOption",
    "SubstitutionFormatString": "envoy.config.core.v3.SubstitutionFormatString",
    "TcpKeepalive": "envoy.config.core.v3.TcpKeepalive",
    "TransportSocket": "envoy.config.core.v3.TransportSocket",
    "TypedExtensionConfig": "envoy.config.core.v3.TypedExtensionConfig",
    "FractionalPercent": "envoy.type.v3.FractionalPercent",
    "Int64Range": "envoy.type.v3.Int64Range",
    "Percent": "envoy.type.v3.Percent",
    # bootstrap
    "Admin": "envoy.config.bootstrap.v3.Admin",
    "Bootstrap": "envoy.config.bootstrap.v3.Bootstrap",
    "LayeredRuntime": "envoy.config.bootstrap.v3.LayeredRuntime",
    "OverloadManager": "envoy.config.overload.v3.OverloadManager",
    "StatsConfig": "envoy.config.metrics.v3.StatsConfig",
    "StatsMatcher": "envoy.config.metrics.v3.StatsMatcher",
    "TagSpecifier": "envoy.config.metrics.v3.TagSpecifier",
    "DownstreamConnectionsConfig":
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    "FixedHeapConfig": "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
    "InternalListenerBootstrap":
        "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
    # cluster and endpoints
    "CircuitBreakers": "envoy.config.cluster.v3.CircuitBreakers",
    "Cluster": "envoy.config.cluster.v3.Cluster",
    "ClusterLoadAssignment": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "Endpoint": "envoy.config.endpoint.v3.Endpoint",
    "LbEndpoint": "envoy.config.endpoint.v3.LbEndpoint",
    "LocalityLbEndpoints": "envoy.config.endpoint.v3.LocalityLbEndpoints",
    "OutlierDetection": "envoy.config.cluster.v3.OutlierDetection",
    "TrackClusterStats": "envoy.config.cluster.v3.TrackClusterStats",
    "UpstreamConnectionOptions": "envoy.config.cluster.v3.UpstreamConnectionOptions",
    "UpstreamHttpProtocolOptions": "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "UpstreamTcpProtocolOptions": "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions",
    # listener
    "Filter": "envoy.config.listener.v3.Filter",
    "FilterChain": "envoy.config.listener.v3.FilterChain",
    "FilterChainMatch": "envoy.config.listener.v3.FilterChainMatch",
    "Listener": "envoy.config.listener.v3.Listener",
    "ListenerFilter": "envoy.config.listener.v3.ListenerFilter",
    "ListenerFilterChainMatchPredicate": "envoy.config.listener.v3.ListenerFilterChainMatchPredicate",  # noqa: E501
    "Matcher": "xds.type.matcher.v3.Matcher",
    "HttpInspector": f"{_FILTERS}.listener.http_inspector.v3.HttpInspector",
    "OriginalDst": f"{_FILTERS}.listener.original_dst.v3.OriginalDst",
    "OriginalSrc": f"{_FILTERS}.listener.original_src.v3.OriginalSrc",
    "ProxyProtocol": f"{_FILTERS}.listener.proxy_protocol.v3.ProxyProtocol",
    "TlsInspector": f"{_FILTERS}.listener.tls_inspector.v3.TlsInspector",
    # network filters
    "ConnectionLimit": f"{_FILTERS}.network.connection_limit.v3.ConnectionLimit",
    "DirectResponse": f"{_FILTERS}.network.direct_response.v3.Config",
    "HttpConnectionManager": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
    "HttpFilter": f"{_FILTERS}.network.http_connection_manager.v3.HttpFilter",
    "NetworkExtAuthz": f"{_FILTERS}.network.ext_authz.v3.ExtAuthz",
    "NetworkRBAC": f"{_FILTERS}.network.rbac.v3.RBAC",
    "NetworkSetFilterState": f"{_FILTERS}.network.set_filter_state.v3.Config",
    "Rds": f"{_FILTERS}.network.http_connection_manager.v3.Rds",
    "SniCluster": f"{_FILTERS}.network.sni_cluster.v3.SniCluster",
    "TcpProxy": f"{_FILTERS}.network.tcp_proxy.v3.TcpProxy",
    # HTTP filters
    "Cors": f"{_FILTERS}.http.cors.v3.Cors",
    "GrpcStats": f"{_FILTERS}.http.grpc_stats.v3.FilterConfig",
    "HTTPFault": f"{_FILTERS}.http.fault.v3.HTTPFault",
    "HeaderMutation": f"{_FILTERS}.http.header_mutation.v3.HeaderMutation",
    "HealthCheckFilter": f"{_FILTERS}.http.health_check.v3.HealthCheck",
    "HttpExtAuthz": f"{_FILTERS}.http.ext_authz.v3.ExtAuthz",
    "HttpRBAC": f"{_FILTERS}.http.rbac.v3.RBAC",
    "HttpRBACPerRoute": f"{_FILTERS}.http.rbac.v3.RBACPerRoute",
    "HttpSetFilterState": f"{_FILTERS}.http.set_filter_state.v3.Config",
    "JwtAuthentication": f"{_FILTERS}.http.jwt_authn.v3.JwtAuthentication",
    "LocalRateLimit": f"{_FILTERS}.http.local_ratelimit.v3.LocalRateLimit",
    "Router": f"{_FILTERS}.http.router.v3.Router",
    "FilterStateValue": f"{_FILTERS}.common.set_filter_state.v3.FilterStateValue",
    # routes
    "HeaderMatcher": "envoy.config.route.v3.HeaderMatcher",
    "PreviousHostsPredicate": "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",  # noqa: E501
    "RetryPolicy": "envoy.config.route.v3.RetryPolicy",
    "Route": "envoy.config.route.v3.Route",
    "RouteAction": "envoy.config.route.v3.RouteAction",
    "RouteConfiguration": "envoy.config.route.v3.RouteConfiguration",
    "RouteMatch": "envoy.config.route.v3.RouteMatch",
    "VirtualHost": "envoy.config.route.v3.VirtualHost",
    "WeightedCluster": "envoy.config.route.v3.WeightedCluster",
    "DirectResponseAction": "envoy.config.route.v3.DirectResponseAction",
    "Decorator": "envoy.config.route.v3.Decorator",
    # authorization and matching
    "Permission": "envoy.config.rbac.v3.Permission",
    "Policy": "envoy.config.rbac.v3.Policy",
    "Principal": "envoy.config.rbac.v3.Principal",
    "RBACRules": "envoy.config.rbac.v3.RBAC",
    "FilterStateMatcher": "envoy.type.matcher.v3.FilterStateMatcher",
    "ListStringMatcher": "envoy.type.matcher.v3.ListStringMatcher",
    "MetadataMatcher": "envoy.type.matcher.v3.MetadataMatcher",
    "PathMatcher": "envoy.type.matcher.v3.PathMatcher",
    "RegexMatcher": "envoy.type.matcher.v3.RegexMatcher",
    "StringMatcher": "envoy.type.matcher.v3.StringMatcher",
    "ValueMatcher": "envoy.type.matcher.v3.ValueMatcher",
    # TLS and secrets
    "CertificateValidationContext": f"{_TLS}.CertificateValidationContext",
    "CommonTlsContext": f"{_TLS}.CommonTlsContext",
    "DownstreamTlsContext": f"{_TLS}.DownstreamTlsContext",
    "RawBuffer": "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "SPIFFECertValidatorConfig": f"{_TLS}.SPIFFECertValidatorConfig",
    "SdsSecretConfig": f"{_TLS}.SdsSecretConfig",
    "Secret": f"{_TLS}.Secret",
    "SubjectAltNameMatcher": f"{_TLS}.SubjectAltNameMatcher",
    "TlsCertificate": f"{_TLS}.TlsCertificate",
    "TlsParameters": f"{_TLS}.TlsParameters",
    "UpstreamTlsContext": f"{_TLS}.UpstreamTlsContext",
    # access logs
    "AccessLog": "envoy.config.accesslog.v3.AccessLog",
    "AccessLogFilter": "envoy.config.accesslog.v3.AccessLogFilter",
    "FileAccessLog": "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "StatsAccessLog": "envoy.extensions.access_loggers.stats.v3.Config",
    "StdoutAccessLog": "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "CelExpressionFilter": "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
    "HttpGrpcAccessLog": "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
    "TcpGrpcAccessLog": "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
    "StreamAccessLogsMessage": "envoy.service.accesslog.v3.StreamAccessLogsMessage",
    # admin
    "ConfigDump": "envoy.admin.v3.ConfigDump",
}
"""Short name → full protobuf name."""
# fmt: on


def named(name: str) -> Any:
    """Return the message class with this short name; the package's module-level `__getattr__`.

    Raises:
        AttributeError: The catalogue has no such name.
    """
    try:
        return message(NAMES[name])
    except KeyError:
        raise AttributeError(f"no message named {name!r} in mutua.xds.proto") from None
