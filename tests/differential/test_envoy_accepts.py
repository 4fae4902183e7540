"""A real Envoy takes everything that rules and entries can make of a configuration."""

from pathlib import Path
from typing import Any

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
)
from mutua.model.build import build_snapshot
from mutua.testing.mesh import destination_rule, endpoint_slice, pod, service, service_entry
from mutua.xds.compile import compile_proxy
from mutua.xds.resource import CLUSTER

PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "grpc", "port": 81, "targetPort": 8081},
    {"name": "tcp", "port": 82, "targetPort": 8082},
    {"name": "any", "port": 83, "targetPort": 8083},
    {"name": "https", "port": 84, "targetPort": 8084},
]
ENTRY_PORTS = [
    {"number": 80, "name": "http", "protocol": "HTTP"},
    {"number": 443, "name": "tls", "protocol": "TLS"},
    {"number": 9000, "name": "tcp", "protocol": "TCP"},
    {"number": 9001, "name": "any", "protocol": "auto"},
]
PLACES = {
    "a": {"addresses": ["240.240.0.1"]},
    "b": {"addresses": ["10.8.1.0/24"]},
    "c": {},
    "d": {},
}


LIMITED = {
    "loadBalancer": {"simple": "ROUND_ROBIN"},
    "connectionPool": {
        "tcp": {
            "maxConnections": 71,
            "connectTimeout": "1ms",
            "tcpKeepalive": {"probes": 127, "time": "32767s", "interval": "1s"},
            "maxConnectionDuration": "1ms",
            "idleTimeout": "87600h",
        },
        "http": {
            "http1MaxPendingRequests": 72,
            "http2MaxRequests": 73,
            "maxRequestsPerConnection": 2147483647,
            "maxRetries": 74,
            "idleTimeout": "1ms",
            "maxConcurrentStreams": 2147483647,
        },
    },
}
"""Every limit, some of them as far as admission lets them go."""


def policies(credentials: Any) -> dict[str, Any]:
    files = {
        "clientCertificate": str(credentials.chain),
        "privateKey": str(credentials.key),
        "caCertificates": str(credentials.roots),
    }
    verified = {"caCertificates": str(credentials.roots)}
    pool = {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}
    return {
        "disable": {"tls": {"mode": "DISABLE"}},
        "istio": {
            "tls": {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["x", "spiffe://a/b"]},
            **pool,
        },
        "simple": {"tls": {"mode": "SIMPLE", **verified}, **pool},
        "named": {"tls": {"mode": "SIMPLE", "sni": "x", "subjectAltNames": ["y"], **verified}},
        "mutual": {"tls": {"mode": "MUTUAL", **files}},
        "trusting": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}},
        "through": {"loadBalancer": {"simple": "PASSTHROUGH"}},
        "limited": LIMITED,
        "ejecting": {
            "loadBalancer": {"simple": "RANDOM"},
            "outlierDetection": {
                "consecutive5xxErrors": 3,
                "consecutiveGatewayErrors": 0,
                "splitExternalLocalOriginErrors": True,
                "consecutiveLocalOriginFailures": 5,
                "interval": "1ms",
                "baseEjectionTime": "1h",
                "maxEjectionPercent": 100,
                "minHealthPercent": 100,
            },
        },
    }


@pytest.mark.parametrize("resolution", ["STATIC", "NONE", "DNS", "DNS_ROUND_ROBIN"])
def test_everything(resolution: str, issuer: Any, run_envoy: Any, tmp_path: Path) -> None:
    credentials = issuer.issue("web")
    pods, services, slices, rules = [pod("shop", "client", "127.0.0.1")], [], [], []
    for number, (name, policy) in enumerate(policies(credentials).items()):
        backend = pod("shop", name, f"127.1.0.{number}")
        owner = service(
            "shop", name, *PORTS, address="None" if number % 2 else f"10.96.0.{number + 2}"
        )
        subset = {"name": "v1", "labels": {"app": name}, "trafficPolicy": policy}
        pods.append(backend)
        services.append(owner)
        slices.append(endpoint_slice(owner, [backend]))
        rules.append(destination_rule("shop", name, policy, name=name, subsets=[subset]))
    one = {"endpoints": [{"address": "127.0.0.9", "serviceAccount": "x"}]}
    entries = [
        service_entry(
            "shop",
            f"{name}.example",
            *(ENTRY_PORTS if "/" not in str(where) or resolution in {"STATIC", "NONE"} else []),
            name=name,
            resolution=resolution,
            location="MESH_INTERNAL" if name in "ab" else "MESH_EXTERNAL",
            **where,
            **({} if resolution == "NONE" else one),
        )
        for name, where in PLACES.items()
    ]
    nobody = {"name": "nobody", "labels": {"version": "none"}}
    rules.append(destination_rule("shop", "*.example", name="empty", subsets=[nobody]))
    objects = {
        PODS: pods,
        SERVICES: services,
        ENDPOINT_SLICES: slices,
        DESTINATION_RULES: rules,
        SERVICE_ENTRIES: entries,
    }

    compiled = compile_proxy(build_snapshot(objects), "shop-client")
    envoy = run_envoy(tmp_path, compiled, credentials.secrets())

    listed = envoy.get("/clusters")
    assert all(f"{name}::" in listed for name in compiled[CLUSTER])
    for port, subset in ((80, ""), (81, "v1"), (82, ""), (83, "v1")):
        prefix = f"outbound|{port}|{subset}|limited.shop.svc.cluster.local::default_priority::max_"
        for limit in ("connections::71", "pending_requests::72", "requests::73", "retries::74"):
            assert f"{prefix}{limit}\n" in listed
