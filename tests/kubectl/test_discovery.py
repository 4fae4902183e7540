"""What kubectl learns about the server: kinds, versions, health, identity."""

import stat
from typing import Any

Cluster = Any  # the fixture's class lives in conftest, which tests cannot import


def test_version_and_health(cluster: Cluster) -> None:
    assert "Server Version: v1.32" in cluster.kubectl("version")
    for path in ("/healthz", "/livez", "/readyz"):
        assert cluster.kubectl("get", "--raw", path) == "ok"
    assert "mutua_apiserver_requests_total" in cluster.kubectl("get", "--raw", "/metrics")


def test_api_resources_and_versions(cluster: Cluster) -> None:
    resources = cluster.kubectl("api-resources", "-o", "wide")

    for words in (
        ["peerauthentications", "pa", "security.istio.io/v1", "true", "PeerAuthentication"],
        ["deployments", "deploy", "apps/v1", "true", "Deployment"],
        ["statefulsets", "sts", "apps/v1", "true", "StatefulSet"],
        ["namespaces", "ns", "v1", "false", "Namespace"],
    ):
        assert any(line.split()[: len(words)] == words for line in resources.splitlines()), words
    versions = cluster.kubectl("api-versions").split()
    assert {"v1", "apps/v1", "security.istio.io/v1", "security.istio.io/v1beta1"} <= {*versions}


def test_categories(cluster: Cluster) -> None:
    assert "No resources found" in cluster.kubectl("get", "istio-io", "-A")


def test_an_unknown_kind_is_named(cluster: Cluster) -> None:
    manifest = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x}\n"

    complaint = cluster.kubectl("apply", "-f", "-", stdin=manifest, fails=True)

    assert 'no matches for kind "Thing" in version "example.com/v1"' in complaint
    gone = cluster.kubectl("get", "things", fails=True)
    assert 'the server doesn\'t have a resource type "things"' in gone


def test_the_owner_is_the_administrator(cluster: Cluster) -> None:
    assert cluster.kubectl("auth", "can-i", "delete", "pods").strip() == "yes"
    assert "kubernetes-admin" in cluster.kubectl("auth", "whoami")
    assert "*.*" in cluster.kubectl("auth", "can-i", "--list")


def test_the_kubeconfig_is_private(cluster: Cluster) -> None:
    assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600


def test_nobody_gets_in_without_a_certificate(cluster: Cluster) -> None:
    address = f"https://127.0.0.1:{cluster.port}"
    anonymous = ["--kubeconfig=/dev/null", "--server", address, "--insecure-skip-tls-verify"]

    complaint = cluster.kubectl("get", "pods", "--token=nonsense", *anonymous, fails=True)

    assert "You must be logged in to the server" in complaint


def test_a_service_account_may_do_nothing_yet(cluster: Cluster) -> None:
    cluster.kubectl("create", "serviceaccount", "robot")
    token = cluster.kubectl("create", "token", "robot").strip()
    address = f"https://127.0.0.1:{cluster.port}"
    robot = ["--kubeconfig=/dev/null", "--server", address, "--insecure-skip-tls-verify"]

    complaint = cluster.kubectl("get", "pods", f"--token={token}", *robot, fails=True)

    assert "Error from server (Forbidden)" in complaint
    assert 'User "system:serviceaccount:default:robot" cannot list' in complaint


def test_the_definitions_of_istio_kinds_are_established(cluster: Cluster) -> None:
    name = "crd/peerauthentications.security.istio.io"

    assert "condition met" in cluster.kubectl(
        "wait", "--for=condition=Established", name, "--timeout=60s"
    )
    assert cluster.kubectl("get", "crd", "-o", "name").count("istio.io") == 4


def test_explain(cluster: Cluster) -> None:
    assert "mode" in cluster.kubectl("explain", "peerauthentication.spec.mtls")
    assert "serviceAccount" in cluster.kubectl("explain", "se.spec.endpoints")
