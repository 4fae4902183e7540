"""The configuration a sidecar's Envoy starts with: enough to reach the control plane.

Everything about the mesh comes later through ADS.  Static, and therefore not the compiler's:

    admin        127.0.0.1:15000                     /stats /config_dump /certs /ready
    15021        GET /healthz/ready  → admin /ready  readiness, reachable from outside the pod
    15090        GET /stats/prometheus → the same    metrics, reachable from outside the pod
    xds-grpc     unix socket                         ADS: clusters and listeners, delta
    sds-grpc     unix socket                         certificates, through the agent
    prometheus_stats   127.0.0.1:15000               what the two listeners proxy to

Envoy's /ready says LIVE only once it has been given clusters and listeners, because they are
fetched without a timeout.  Nothing else of the admin interface is reachable through 15021 or
15090: both match one exact path.

The compiler refers to secrets by `ConfigSource(api_config_source=delta gRPC to SDS_CLUSTER)`, and
to endpoints, routes and extensions by `ConfigSource(ads={})`.

Source: istio-semantics 8.1, 11.1, 11.2; Istio tools/packaging/common/envoy_bootstrap.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mutua.xds.proto import NAMES, type_url

XDS_CLUSTER: Final = "xds-grpc"
SDS_CLUSTER: Final = "sds-grpc"
ADMIN_CLUSTER: Final = "prometheus_stats"

ADMIN_PORT: Final = 15000
READY_PORT: Final = 15021
PROMETHEUS_PORT: Final = 15090

XDS_SOCKET: Final = "/etc/istio/proxy/XDS"
SDS_SOCKET: Final = "/var/run/secrets/workload-spiffe-uds/socket"

TEMPLATE_HASHES: Final = frozenset({"pod-template-hash", "controller-revision-hash"})
"""Labels that say which template a pod was made from: no property of the workload."""

RECONNECT_FIRST: Final = "0.050s"
RECONNECT_CEILING: Final = "1s"
"""Backoff towards the control plane.  Envoy's default ceiling, 30 s, suits a remote server that
many proxies share; this one is on the same machine, and coming back is what we wait for."""

FLUSH_INTERVAL: Final = "5s"
"""How often Envoy merges the workers' statistics (Envoy's default)."""

STATS: Final[Mapping[str, tuple[str, ...]]] = {
    "prefix": (
        "cluster_manager", "control_plane", "listener_manager", "server", "runtime",
        f"cluster.{XDS_CLUSTER}", f"cluster.{SDS_CLUSTER}", "sds.", "main_thread",
    ),
    "contains": (".ssl.", "tls_inspector", "rbac", "istio"),
    "suffix": (
        "downstream_cx_total", "downstream_cx_active", "downstream_rq_total", "downstream_rq_2xx",
        "downstream_rq_4xx", "downstream_rq_5xx", "upstream_cx_total", "upstream_cx_active",
        "upstream_cx_connect_fail", "upstream_rq_total", "upstream_rq_2xx", "upstream_rq_4xx",
        "upstream_rq_5xx", "no_filter_chain_match", "lds.update_rejected", "lds.update_success",
        "cds.update_rejected", "cds.update_success", "ssl_context_update_by_sds",
    ),
}  # fmt: skip
"""Statistics kept, the others cost memory per cluster and are never looked at.  A superset of
Istio's default inclusion, plus what `curl localhost:15000/stats | grep ssl` is expected to show."""


CLUSTER_NAME: Final = {
    "tag_name": "cluster_name",
    "regex": r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)",
}
"""Envoy's own rule ends a cluster's name at its first dot, and the rest of a host's name would
become the name of a metric.  Source: Istio tools/packaging/common/envoy_bootstrap.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """Who a sidecar is.

    Attributes:
        pod: The pod's name.
        namespace: Its namespace.
        address: Its IP address.
        service_account: Its service account.
        workload: Name of the Deployment or StatefulSet it came from, or the pod's own.
        owner: That object's path in the API, "" when nobody knows.
        labels: The pod's labels.
        annotations: The pod's annotations.
        containers: Names of the application's containers.
        node: Name of the node.
        domain: DNS domain of the cluster.
        mesh_id: Istio's MESH_ID: the trust domain.
        version: mutua's version.
        xds_socket: Path of the ADS socket as the sidecar sees it.
        sds_socket: Path of the SDS socket as the sidecar sees it.
    """

    pod: str
    namespace: str
    address: str
    service_account: str
    workload: str = ""
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[str, ...] = ()
    node: str = ""
    domain: str = "cluster.local"
    mesh_id: str = "cluster.local"
    version: str = ""
    xds_socket: str = XDS_SOCKET
    sds_socket: str = SDS_SOCKET

    @property
    def node_id(self) -> str:
        """Istio's node id: four parts, `~` between them (istio-semantics 11.1)."""
        return (
            f"sidecar~{self.address}~{self.pod}.{self.namespace}~{self.namespace}.svc.{self.domain}"
        )


def bootstrap(sidecar: Sidecar) -> dict[str, Any]:
    """Return the bootstrap of a sidecar's Envoy as JSON."""
    return {
        "node": _node(sidecar),
        "admin": {"address": _loopback(ADMIN_PORT), "profile_path": "/dev/null"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": XDS_CLUSTER,
                    "retry_policy": {"retry_back_off": {
                        "base_interval": RECONNECT_FIRST, "max_interval": RECONNECT_CEILING,
                    }},
                }}],
            },
            "cds_config": _from_ads(),
            "lds_config": _from_ads(),
        },
        "static_resources": {
            "clusters": [
                _admin_cluster(),
                _grpc_cluster(XDS_CLUSTER, sidecar.xds_socket),
                _grpc_cluster(SDS_CLUSTER, sidecar.sds_socket),
            ],
            "listeners": [
                _forward("readiness", READY_PORT, path="/healthz/ready", to="/ready"),
                _forward("prometheus", PROMETHEUS_PORT, path="/stats/prometheus", to=""),
            ],
        },
        "stats_config": {
            "stats_tags": [CLUSTER_NAME],
            "stats_matcher": {"inclusion_list": {"patterns": [
                {kind: text} for kind, texts in STATS.items() for text in texts
            ]}},
        },
        "stats_flush_interval": FLUSH_INTERVAL,
        "layered_runtime": _runtime(),
        "overload_manager": _overload(),
    }  # fmt: skip


def _node(sidecar: Sidecar) -> dict[str, Any]:
    workload = sidecar.workload or sidecar.pod
    labels = {name: value for name, value in sidecar.labels.items() if name not in TEMPLATE_HASHES}
    return {
        "id": sidecar.node_id,
        "cluster": f"{workload}.{sidecar.namespace}",
        "metadata": {
            "NAME": sidecar.pod,
            "NAMESPACE": sidecar.namespace,
            "INSTANCE_IPS": sidecar.address,
            "SERVICE_ACCOUNT": sidecar.service_account,
            "WORKLOAD_NAME": workload,
            "OWNER": sidecar.owner,
            "LABELS": labels,
            "ANNOTATIONS": dict(sidecar.annotations),
            "APP_CONTAINERS": ",".join(sidecar.containers),
            "NODE_NAME": sidecar.node,
            "MESH_ID": sidecar.mesh_id,
            "CLUSTER_ID": "Kubernetes",
            "INTERCEPTION_MODE": "REDIRECT",
            "ENVOY_PROMETHEUS_PORT": PROMETHEUS_PORT,
            "ENVOY_STATUS_PORT": READY_PORT,
            "MUTUA_VERSION": sidecar.version,
        },
    }


def _from_ads() -> dict[str, Any]:
    """Without a timeout: an Envoy without configuration must not call itself ready."""
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _grpc_cluster(name: str, socket: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": _assignment(name, {"pipe": {"path": socket}}),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
                "UpstreamHttpProtocolOptions",
                explicit_http_config={"http2_protocol_options": {}},
            ),
        },
    }


def _admin_cluster() -> dict[str, Any]:
    return {
        "name": ADMIN_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": _assignment(ADMIN_CLUSTER, _loopback(ADMIN_PORT)),
    }


def _assignment(name: str, address: dict[str, Any]) -> dict[str, Any]:
    return {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    }


def _forward(name: str, port: int, *, path: str, to: str) -> dict[str, Any]:
    """Return a listener that forwards one exact path to the admin interface."""
    action: dict[str, Any] = {"cluster": ADMIN_CLUSTER}
    if to:
        action["prefix_rewrite"] = to
    manager = _typed(
        "HttpConnectionManager",
        stat_prefix=name,
        route_config={"virtual_hosts": [{
            "name": name,
            "domains": ["*"],
            "routes": [{"match": {"path": path}, "route": action}],
        }]},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": _typed("Router")}],
    )  # fmt: skip
    return {
        "name": name,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},  # noqa: S104
        # Probes and scrapes keep working while Envoy sheds load.
        "bypass_overload_manager": True,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
        }]}],
    }  # fmt: skip


def _runtime() -> dict[str, Any]:
    return {"layers": [
        {"name": "mesh", "static_layer": {
            "re2.max_program_size.error_level": 32768,
        }},
        {"name": "admin", "admin_layer": {}},
    ]}  # fmt: skip


MAX_DOWNSTREAM_CONNECTIONS: Final = 10_000
"""Connections one sidecar accepts; what a process with the usual 20,000 file descriptors can
proxy, each using two."""


def _overload() -> dict[str, Any]:
    return {"resource_monitors": [{
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": _typed(
            "DownstreamConnectionsConfig",
            max_active_downstream_connections=MAX_DOWNSTREAM_CONNECTIONS,
        ),
    }]}  # fmt: skip


def _loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _typed(short: str, **fields: Any) -> dict[str, Any]:
    return {"@type": type_url(NAMES[short]), **fields}
