"""Whoever is kicked is refused, and everything that it has open is closed; nobody else notices."""

import json
from collections.abc import Iterator

import pytest

from mutua.testing.lasting import (
    KINDS,
    PROGRAMS,
    Lasting,
    client,
    open_now,
    read_log,
    server,
)
from mutua.testing.running_mesh import RunningMesh, eventually

BAD = "spiffe://cluster.local/ns/shop/sa/bad"
WEB = "spiffe://cluster.local/ns/shop/sa/web"
CHAIN = "/etc/certs/cert-chain.pem"


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> RunningMesh:
    mesh.apply(PROGRAMS + server("web") + client("bad", "web") + client("good", "web"))
    for name in ("web", "bad", "good"):
        mesh.kubectl("rollout", "status", f"deploy/{name}", "-n", "shop", "--timeout=60s")
    return mesh


@pytest.fixture(autouse=True)
def everybody_connected(shop: RunningMesh) -> Iterator[None]:
    for name in ("bad", "good"):
        wait_connected(shop, name)
    yield
    shop.kubectl("delete", "revocations", "--all", "-n", "istio-system")


def connections(mesh: RunningMesh, name: str) -> list[Lasting]:
    return read_log(log_of(mesh, name))


def log_of(mesh: RunningMesh, name: str) -> str:
    argv = ("logs", f"deploy/{name}", "-n", "shop", "-c", "c")
    return mesh.kubectl(*argv, check=False).stdout  # none while its container is being made


def is_connected(mesh: RunningMesh, name: str) -> bool:
    return {one.kind for one in open_now(connections(mesh, name))} == set(KINDS)


def wait_connected(mesh: RunningMesh, name: str) -> None:
    eventually(lambda: is_connected(mesh, name), f"{name} has a connection of every kind")


def wait_cut_off(mesh: RunningMesh, name: str) -> None:
    eventually(lambda: not open_now(connections(mesh, name)), f"{name} has no connections")


def stays_cut_off(mesh: RunningMesh, name: str) -> None:
    before = len(connections(mesh, name))
    attempts = log_of(mesh, name).count("ended")
    eventually(lambda: log_of(mesh, name).count("ended") > attempts + 8, f"{name} has tried again")
    assert len(connections(mesh, name)) == before, "a new connection was let through"


def pod_of(mesh: RunningMesh, name: str) -> str:
    """Return the name of an application's pod; between two there may be none for a moment."""
    argv = ("pods", "-n", "shop", "-l", f"app={name}")
    pods = eventually(lambda: mesh.get(*argv)["items"], f"a pod of {name}")
    return str(pods[0]["metadata"]["name"])


def test_a_kicked_client_is_cut_off_and_a_bystander_notices_nothing(shop: RunningMesh) -> None:
    before = connections(shop, "good")

    said = shop.mutua("kick", BAD, "--reason", "stolen key")

    assert "refused by 3 of 3 proxies" in said.stdout
    wait_cut_off(shop, "bad")
    stays_cut_off(shop, "bad")
    listed = json.loads(shop.mutua("kick", "--list", "-o", "json").stdout)
    assert [(one["spec"]["spiffeID"], one["spec"]["reason"]) for one in listed] == [
        (BAD, "stolen key")
    ]
    assert listed[0]["status"]["connectionsClosed"] >= 3  # HTTP/2 shares one
    assert connections(shop, "good") == before, "the bystander lost a connection"

    shop.mutua("kick", "--undo", BAD)

    wait_connected(shop, "bad")
    assert connections(shop, "good") == before, "the bystander lost a connection"


def test_a_kicked_server_is_cut_off(shop: RunningMesh) -> None:
    shop.mutua("kick", WEB)

    wait_cut_off(shop, "good")
    wait_cut_off(shop, "bad")
    stays_cut_off(shop, "good")

    shop.kubectl("delete", "revocations", "--all", "-n", "istio-system")

    wait_connected(shop, "good")


def test_a_kicked_pod_is_cut_off_and_its_successor_is_not(shop: RunningMesh) -> None:
    pod = pod_of(shop, "bad")
    shop.mutua("kick", f"{pod}.shop")
    wait_cut_off(shop, "bad")
    stays_cut_off(shop, "bad")

    shop.kubectl("delete", "pod", pod, "-n", "shop")

    eventually(lambda: pod_of(shop, "bad") != pod, "a successor")
    wait_connected(shop, "bad")
    shop.mutua("kick", "--undo", shop_revocation(shop))


def shop_revocation(mesh: RunningMesh) -> str:
    (one,) = mesh.get("revocations", "-n", "istio-system")["items"]
    return str(one["metadata"]["name"])


def test_a_kicked_certificate_ends_its_connections_and_its_pod_gets_another(
    shop: RunningMesh,
) -> None:
    pod = pod_of(shop, "bad")
    serial = served_serial(shop, pod)
    # Between two calls over HTTP/2 the proxies may meet anew without anybody noticing.
    before = [one for one in open_now(connections(shop, "bad")) if one.kind != "h2"]

    shop.mutua("kick", serial)

    eventually(
        lambda: not set(before) & set(open_now(connections(shop, "bad"))),
        "what was open is closed",
    )
    wait_connected(shop, "bad")
    assert served_serial(shop, pod) != serial
    shop.mutua("kick", "--undo", serial)


def served_serial(mesh: RunningMesh, pod: str) -> str:
    argv = ("openssl", "x509", "-noout", "-serial", "-in", CHAIN)
    said = mesh.kubectl("exec", pod, "-n", "shop", "-c", "istio-proxy", "--", *argv).stdout
    return said.strip().partition("=")[2]


def test_a_kick_survives_the_daemon_and_a_new_pod(shop: RunningMesh) -> None:
    shop.mutua("kick", BAD)
    wait_cut_off(shop, "bad")

    shop.kill_daemon()
    shop.up()
    stays_cut_off(shop, "bad")
    pod = pod_of(shop, "bad")
    shop.kubectl("delete", "pod", pod, "-n", "shop")
    eventually(lambda: pod_of(shop, "bad") != pod, "a successor")

    eventually(
        lambda: "revoked by id-shop-bad" in shop.daemon_log(),
        "the successor asked for a certificate",
    )
    assert not connections(shop, "bad")

    shop.mutua("kick", "--undo", BAD)
    wait_connected(shop, "bad")


@pytest.mark.parametrize("what", ["root", "intermediate"])
def test_a_rotation_lets_nobody_back_in_and_disturbs_nobody(shop: RunningMesh, what: str) -> None:
    shop.mutua("kick", BAD)
    wait_cut_off(shop, "bad")
    before = connections(shop, "good")

    shop.mutua("ca", "rotate", what)

    stays_cut_off(shop, "bad")
    assert connections(shop, "good") == before, "the bystander lost a connection"

    shop.mutua("kick", "--undo", BAD)

    wait_connected(shop, "bad")
    assert connections(shop, "good") == before, "the bystander lost a connection"


# The last one: servers' listeners are replaced in it, and end what is open 45 seconds later.
def test_a_kick_survives_a_change_of_the_trust_domain(shop: RunningMesh) -> None:
    shop.mutua("kick", BAD)
    wait_cut_off(shop, "bad")
    try:
        trust_domain(shop, "td2", "cluster.local")
        eventually(lambda: "//td2/" in identity_of(shop, "good"), "the new trust domain")

        stays_cut_off(shop, "bad")
        shop.kubectl("delete", "pod", pod_of(shop, "bad"), "-n", "shop", "--wait=true")
        eventually(
            lambda: "spiffe://td2/ns/shop/sa/bad gets no certificate" in shop.daemon_log(),
            "the successor asked for a certificate",
        )
        assert not connections(shop, "bad")

        shop.mutua("kick", "--undo", BAD.replace("cluster.local", "td2"))
        wait_connected(shop, "bad")
    finally:
        trust_domain(shop, "cluster.local", "td2")
    eventually(lambda: "//cluster.local/" in identity_of(shop, "good"), "the old trust domain")


def trust_domain(mesh: RunningMesh, name: str, alias: str) -> None:
    text = f"trustDomain: {name}\ntrustDomainAliases: [{alias}]\n"
    patch = json.dumps({"data": {"mesh": text}})
    mesh.kubectl("patch", "cm", "istio", "-n", "istio-system", "--type=merge", "-p", patch)


def identity_of(mesh: RunningMesh, name: str) -> str:
    argv = ("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", CHAIN)
    pod = pod_of(mesh, name)
    return mesh.kubectl("exec", pod, "-n", "shop", "-c", "istio-proxy", "--", *argv).stdout
