"""`x describe`: what is said about a pod and a Service."""

from mutua import __version__
from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
)
from mutua.cli.istioctl.describe import describe_pod, describe_service
from mutua.model.build import build_snapshot
from mutua.testing.mesh import (
    destination_rule,
    endpoint_slice,
    peer_authentication,
    pod,
    service,
)

CONTAINERS = [
    {"name": "app", "ports": [{"name": "web", "containerPort": 80}]},
    {
        "name": "istio-proxy",
        "image": f"mutua/proxyv2:{__version__}",
        "ports": [{"containerPort": 15090}],
    },
]
WEB = pod("shop", "web", "10.244.0.2", labels={"version": "v1"}, containers=CONTAINERS)
PORTS = ({"name": "http", "port": 8000, "targetPort": 80}, {"port": 9000, "targetPort": "web"})


def _objects(*policies, pods=(WEB,), rules=()):
    web = service("shop", "web", *PORTS)
    return {
        PODS: pods,
        SERVICES: [web],
        ENDPOINT_SLICES: [endpoint_slice(web, list(pods))],
        PEER_AUTHENTICATIONS: policies,
        DESTINATION_RULES: rules,
    }


def _snapshot(*policies, **more):
    return build_snapshot(_objects(*policies, **more))


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
    plain["status"]["initContainerStatuses"] = [
        {"name": "wait", "ready": False}, {"name": "done", "ready": True}
    ]  # fmt: skip

    lines = describe_pod(plain, _snapshot(pods=(plain,)), "default")

    assert lines[:6] == [
        "Pod: web.shop",
        "WARNING: web.shop is not part of mesh; no Istio sidecar",
        "WARNING: container app runs as user 1337, which is reserved for the sidecar",
        "WARNING: Pod web.shop Init Container wait NOT READY",
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


def test_the_rules_that_clients_follow_with_their_subsets_and_ports() -> None:
    entry = {"port": {"number": 8000}, "tls": {"mode": "DISABLE"}}
    policy = {"tls": {"mode": "ISTIO_MUTUAL"}, "portLevelSettings": [entry]}
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    snapshot = _snapshot(
        rules=[
            destination_rule("shop", "web", policy, subsets=subsets),
            destination_rule("store", "*.shop.svc.cluster.local", {"tls": {"mode": "DISABLE"}}),
        ]
    )

    lines = describe_pod(WEB, snapshot, "shop")

    start = lines.index('8000: DestinationRule: rule for "web.shop.svc.cluster.local"')
    assert lines[start : start + 15] == [
        '8000: DestinationRule: rule for "web.shop.svc.cluster.local"',
        "   Matching subsets: v1",
        "      (Non-matching subsets v2)",
        "   Traffic Policy TLS Mode: ISTIO_MUTUAL",
        "   Port Level Settings:",
        "      8000:",
        "         TLS Mode: DISABLE",
        '8000: DestinationRule: rule.store for "*.shop.svc.cluster.local" (for clients in store)',
        "   Traffic Policy TLS Mode: DISABLE",
        '9000: DestinationRule: rule for "web.shop.svc.cluster.local"',
        "   Matching subsets: v1",
        "      (Non-matching subsets v2)",
        "   Traffic Policy TLS Mode: ISTIO_MUTUAL",
        '9000: DestinationRule: rule.store for "*.shop.svc.cluster.local" (for clients in store)',
        "   Traffic Policy TLS Mode: DISABLE",
    ]


def test_one_port_needs_no_prefix() -> None:
    objects = _objects(rules=[destination_rule("shop", "web")])
    objects[SERVICES] = [service("shop", "web", PORTS[0])]

    lines = describe_pod(WEB, build_snapshot(objects), "shop")

    assert 'DestinationRule: rule for "web.shop.svc.cluster.local"' in lines


def test_a_rule_that_fits_the_pod_badly_says_so() -> None:
    subsets = [{"name": "v2", "labels": {"version": "v2"}}]

    lines = describe_pod(
        WEB, _snapshot(rules=[destination_rule("shop", "web", subsets=subsets)]), "shop"
    )

    assert "   WARNING: POD FITS NO SUBSET OF THE RULE (v2)" in lines
    assert "   No Traffic Policy" in lines


def test_what_analysis_says_about_pod_service_rule_and_policy_comes_last() -> None:
    objects = _objects(
        peer_authentication(
            "shop",
            "STRICT",
            selector={"matchLabels": {"app": "web"}},
            portLevelMtls={"8000": {"mode": "DISABLE"}},
        ),
        peer_authentication("shop", "STRICT", name="else", selector={"matchLabels": {"a": "b"}}),
        rules=[destination_rule("shop", "web", {"tls": {"mode": "DISABLE"}})],
    )
    snapshot, messages = build_snapshot(objects), analyze(Mesh(objects))

    of_pod = describe_pod(WEB, snapshot, "shop", messages)
    of_service = describe_service(snapshot.services[0], snapshot, "shop", messages)

    found = [line.partition(":")[0] for line in of_pod if "[" in line]
    assert found == [
        "ERROR [IST0113] DestinationRule rule",
        "WARNING [IST0116] Pod web",
        "WARNING [MUT0101] PeerAuthentication default",
    ]
    assert [line for line in of_service if "IST0113" in line or "MUT0101" in line] == [
        line for line in of_pod if "IST0113" in line or "MUT0101" in line
    ]
    assert "else" not in "".join(of_pod)
