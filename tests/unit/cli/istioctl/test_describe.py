"""`x describe`: what is said about a pod and a Service."""

from mutua.api.object import ENDPOINT_SLICES, PEER_AUTHENTICATIONS, PODS, SERVICES
from mutua.cli.istioctl.describe import describe_pod, describe_service
from mutua.model.build import build_snapshot
from mutua.testing.mesh import endpoint_slice, peer_authentication, pod, service

CONTAINERS = [
    {"name": "app", "ports": [{"name": "web", "containerPort": 80}]},
    {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
]
WEB = pod("shop", "web", "10.244.0.2", labels={"version": "v1"}, containers=CONTAINERS)
PORTS = ({"name": "http", "port": 8000, "targetPort": 80}, {"port": 9000, "targetPort": "web"})


def _snapshot(*policies, pods=(WEB,)):
    web = service("shop", "web", *PORTS)
    return build_snapshot(
        {
            PODS: pods,
            SERVICES: [web],
            ENDPOINT_SLICES: [endpoint_slice(web, list(pods))],
            PEER_AUTHENTICATIONS: policies,
        }
    )


def test_a_pod_with_the_policies_that_apply_to_it() -> None:
    snapshot = _snapshot(
        peer_authentication("istio-system", "STRICT"),
        peer_authentication("shop", "DISABLE", name="late", created="2026-02-02T00:00:00Z"),
        peer_authentication("shop", None, name="unset"),
        peer_authentication(
            "shop",
            None,
            name="ports",
            selector={"matchLabels": {"app": "web"}},
            portLevelMtls={"80": {"mode": "PERMISSIVE"}},
        ),
        peer_authentication("shop", "STRICT", name="x", selector={"matchLabels": {"app": "y"}}),
    )

    assert describe_pod(WEB, snapshot, "shop") == [
        "Pod: web",
        "   Pod Ports: 80 (app), 15090 (istio-proxy)",
        "--------------------",
        "Service: web",
        "   Port: http 8000/HTTP targets pod port 80",
        "   Port: 9000/auto-detect targets pod port 80",
        "--------------------",
        "Effective PeerAuthentication:",
        "   Workload mTLS mode: STRICT",
        "   Port Level mTLS mode:",
        "      80: PERMISSIVE",
        "Applied PeerAuthentication:",
        "   default.istio-system, unset.shop, ports.shop",
    ]


def test_a_pod_outside_the_mesh_is_called_that() -> None:
    plain = pod(
        "shop", "web", "10.244.0.2", meshed=False, containers=[{"name": "app"}],
        securityContext={"runAsUser": 1337},
    )  # fmt: skip
    plain["status"]["containerStatuses"] = [{"name": "app", "ready": False}]

    lines = describe_pod(plain, _snapshot(pods=(plain,)), "default")

    assert lines[:5] == [
        "Pod: web.shop",
        "WARNING: web.shop is not part of mesh; no Istio sidecar",
        "WARNING: container app runs as user 1337, which is reserved for the sidecar",
        "WARNING: Pod web.shop Container app NOT READY",
        "Suggestion: add 'version' label to pod for Istio telemetry.",
    ]
    assert "Effective PeerAuthentication:" not in lines


def test_a_service_without_pods_and_one_without_meshed_pods_are_noticed() -> None:
    empty = _snapshot(pods=())
    plain = _snapshot(pods=(pod("shop", "web", "10.244.0.2", meshed=False),))

    assert describe_service(empty.services[0], empty, "shop")[-1].startswith("WARNING: no pods")
    lines = describe_service(plain.services[0], plain, "shop")
    assert lines[-2].startswith("WARNING: none of the 1 pods")
    assert "istio-injection=enabled" in lines[-1]


def test_pods_of_a_service_that_differ_are_described_apart() -> None:
    other = pod("shop", "web-2", "10.244.0.3", labels={"app": "web", "tier": "x"})
    snapshot = _snapshot(
        peer_authentication("shop", "STRICT", selector={"matchLabels": {"tier": "x"}}),
        pods=(WEB, other),
    )

    lines = describe_service(snapshot.services[0], snapshot, "shop")

    assert "Pods: web" in lines
    assert "Pods: web-2" in lines
