"""What a rule says about certificates in files of a proxy that has no such file."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh

NAMESPACE = "shop"


def rule(**tls: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "bank", "namespace": NAMESPACE},
            "spec": {"host": "bank.example.com", "trafficPolicy": {"tls": tls}},
        }
    )


MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: c, image: curl}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: shop}
spec:
  hosts: [bank.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: http, protocol: HTTP}]
  endpoints: [{address: 10.1.2.3}]
"""


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> Iterator[RunningMesh]:
    mesh.apply(MANIFEST)
    mesh.kubectl("wait", "pod/client", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    yield mesh
    mesh.kubectl("delete", "namespace", NAMESPACE)


CHAIN, KEY, ROOTS = (f"/etc/certs/{name}.pem" for name in ("cert-chain", "key", "root-cert"))
ABSENT = "/etc/client/absent"


@pytest.mark.parametrize(
    "files",
    [
        {"mode": "MUTUAL", "clientCertificate": ABSENT, "privateKey": KEY},
        {"mode": "MUTUAL", "clientCertificate": CHAIN, "privateKey": ABSENT},
        {
            "mode": "MUTUAL",
            "clientCertificate": CHAIN,
            "privateKey": KEY,
            "caCertificates": ABSENT,
        },
        {"mode": "SIMPLE", "caCertificates": ROOTS, "caCrl": ABSENT},
    ],
    ids=["certificate", "key", "roots", "revocation list"],
)
def test_a_file_that_the_proxy_does_not_have_is_named_everywhere(
    shop: RunningMesh, files: dict[str, str]
) -> None:
    shop.apply(rule(**files))
    try:
        waited = shop.kubectl(
            "wait", "dr/bank", "-n", NAMESPACE, "--timeout=30s",
            "--for=jsonpath={.status.conditions[?(@.type=='Accepted')].reason}=RejectedByProxy",
        )  # fmt: skip
        assert "condition met" in waited.stdout
        text = shop.kubectl("get", "dr", "bank", "-n", NAMESPACE, "-o", "yaml").stdout
        assert "client.shop refused outbound|443||bank.example.com" in text
        for where, said in {
            "status": text[text.index("status:") :],
            "analyze": shop.mutua("analyze", "-n", NAMESPACE).stdout,
            "events": shop.kubectl("get", "events", "-n", NAMESPACE).stdout,
            "log": shop.kubectl("logs", "-n", "istio-system", "deploy/istiod").stdout,
        }.items():
            assert ABSENT in said, where
    finally:
        shop.kubectl("delete", "dr", "bank", "-n", NAMESPACE)
        shop.kubectl("delete", "events", "--all", "-n", NAMESPACE)
