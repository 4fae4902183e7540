"""The bootstrap is Istio's where others look at it, and opens nothing else."""

from mutua.xds.bootstrap import SDS_CLUSTER, XDS_CLUSTER, Sidecar, bootstrap
from mutua.xds.proto import NAMES, from_json

SIDECAR = Sidecar(
    pod="web-5f7-x2",
    namespace="shop",
    address="10.244.0.7",
    service_account="web",
    workload="web",
    owner="kubernetes://apis/apps/v1/namespaces/shop/deployments/web",
    labels={"app": "web", "pod-template-hash": "5f7", "controller-revision-hash": "web-5f7"},
    containers=("app",),
)


def test_the_node_is_istios() -> None:
    node = bootstrap(SIDECAR)["node"]

    assert node["id"] == "sidecar~10.244.0.7~web-5f7-x2.shop~shop.svc.cluster.local"
    assert node["cluster"] == "web.shop"
    assert node["metadata"]["SERVICE_ACCOUNT"] == "web"
    assert node["metadata"]["LABELS"] == {"app": "web"}
    assert node["metadata"]["WORKLOAD_NAME"] == "web"
    assert node["metadata"]["OWNER"] == SIDECAR.owner


def test_every_field_exists_in_envoys_schema() -> None:
    message = from_json(NAMES["Bootstrap"], bootstrap(SIDECAR))

    assert [one.name for one in message.static_resources.clusters] == [
        "prometheus_stats",
        XDS_CLUSTER,
        SDS_CLUSTER,
    ]


def test_configuration_is_waited_for_and_never_skipped() -> None:
    dynamic = bootstrap(SIDECAR)["dynamic_resources"]

    assert dynamic["cds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["lds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"


def test_admin_is_on_loopback_only() -> None:
    address = bootstrap(SIDECAR)["admin"]["address"]["socket_address"]

    assert address == {"address": "127.0.0.1", "port_value": 15000}
