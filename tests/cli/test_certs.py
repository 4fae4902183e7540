"""Certificates looked at with everyday tools on a running mesh, line by line as typed."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mutua.controlplane.coherence.coherence import SAMPLED
from mutua.testing.running_mesh import RunningMesh, eventually


@pytest.fixture(scope="module")
def mesh(
    tmp_path_factory: pytest.TempPathFactory, start_services: Callable[[RunningMesh], None]
) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="certs")
    try:
        running.up()
        start_services(running)
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


@pytest.fixture(scope="module")
def certificates(mesh: RunningMesh) -> list[Any]:
    """Those of the tutorial's namespace, once every proxy has confirmed its roots."""

    def confirmed() -> Any:
        found = mesh.get("workloadcertificates", "-n", "mtls-test")["items"]
        pods = [one for one in mesh.get("pods", "-n", "mtls-test")["items"] if is_meshed(one)]
        held = [one for one in found if one["status"].get("rootsConfirmed")]
        return held if len(held) >= len(pods) > 0 else None

    found: list[Any] = eventually(confirmed, "every proxy confirms its roots")
    return found


def is_meshed(pod: Any) -> bool:
    return any(one["name"] == "istio-proxy" for one in pod["spec"]["containers"])


def shell(mesh: RunningMesh, line: str) -> str:
    """Run a line in the shell that `mutua shell` opens, and return what it prints."""
    return mesh.mutua("shell", "bash", "-c", f"set -o pipefail\n{line}").stdout


def served(mesh: RunningMesh) -> Any:
    line = "proxy-config secret deploy/httpbin -n mtls-test -o json"
    return json.loads(mesh.mutua("istioctl", *shlex.split(line)).stdout)


def test_every_meshed_pod_has_an_object_that_says_what_its_proxy_serves(
    mesh: RunningMesh, certificates: list[Any]
) -> None:
    pods = {one["metadata"]["uid"]: one for one in mesh.get("pods", "-n", "mtls-test")["items"]}
    owners = {one["metadata"]["ownerReferences"][0]["uid"]: one for one in certificates}
    of_httpbin = next(one for one in certificates if one["status"]["spiffeID"].endswith("/httpbin"))

    assert set(owners) == {uid for uid, pod in pods.items() if is_meshed(pod)}
    text = mesh.mutua("istioctl", "proxy-config", "secret", "deploy/httpbin", "-n", "mtls-test")
    assert of_httpbin["status"]["serialNumber"] in text.stdout
    assert "PRIVATE KEY" not in json.dumps(certificates)
    printed = mesh.kubectl("get", "workloadcertificates", "-n", "mtls-test").stdout.splitlines()
    assert printed[0].split()[:4] == ["NAME", "READY", "IDENTITY", "SERIAL"]
    assert all(" True " in line for line in printed[1:])


def test_nobody_else_writes_these_objects(mesh: RunningMesh, certificates: list[Any]) -> None:
    name = certificates[0]["metadata"]["name"]
    for verb in (["delete"], ["label", "--overwrite"]):
        more = ["a=b"] if verb[0] == "label" else []
        done = mesh.kubectl(*verb, "wcert", name, "-n", "mtls-test", *more, check=False)
        assert done.returncode != 0
        assert "the server does not allow this method" in done.stderr


def test_an_object_goes_with_its_pod(mesh: RunningMesh, certificates: list[Any]) -> None:
    before = {one["metadata"]["name"] for one in certificates}
    mesh.kubectl("rollout", "restart", "deployment/curl-client", "-n", "mtls-test")
    mesh.kubectl("rollout", "status", "deployment/curl-client", "-n", "mtls-test")

    def followed() -> bool:
        found = mesh.get("workloadcertificates", "-n", "mtls-test")["items"]
        pods = [one for one in mesh.get("pods", "-n", "mtls-test")["items"] if is_meshed(one)]
        names = {one["metadata"]["name"] for one in found}
        return names == {one["metadata"]["name"] for one in pods} != before

    eventually(followed, "the objects are those of the pods")


def test_certs_lists_every_identity_and_the_ca(mesh: RunningMesh, certificates: list[Any]) -> None:
    shown = mesh.mutua("certs").stdout
    document = json.loads(mesh.mutua("certs", "-n", "mtls-test", "-o", "json").stdout)

    assert "spiffe://cluster.local/ns/mtls-test/sa/httpbin" in shown
    assert "RENEWS IN" in shown
    assert "NOT BEFORE" in mesh.mutua("certs", "-A", "-o", "wide").stdout
    assert len(document["certificates"]) == len(certificates)
    roots = {one["fingerprint"] for one in document["authorities"] if one["role"] == "root"}
    assert all(set(one["roots"]) == roots for one in document["certificates"])


def test_what_ends_soon_is_an_exit_status_of_its_own(
    mesh: RunningMesh, certificates: list[Any]
) -> None:
    soon = mesh.mutua("certs", "-n", "mtls-test", "--within", "10m", check=False)
    ends = mesh.mutua("certs", "-n", "mtls-test", "--within", "1d1h", check=False)
    wrong = mesh.mutua("certs", "--within", "soon", check=False)

    assert (soon.returncode, soon.stdout) == (0, "")
    assert "nothing ends within 10m" in soon.stderr
    assert ends.returncode == 3
    assert len(ends.stdout.splitlines()) == 1 + len(certificates)
    assert wrong.returncode == 1


@pytest.mark.parametrize("target", ["deploy/httpbin.mtls-test", "httpbin"])
def test_show_tells_what_a_proxy_serves(mesh: RunningMesh, target: str) -> None:
    if target == "httpbin":
        pods = mesh.get("pods", "-n", "mtls-test", "-l", "app=httpbin")["items"]
        target = f"{pods[0]['metadata']['name']}.mtls-test"
    shown = mesh.mutua("certs", "show", target).stdout

    assert "presents:" in shown
    assert "trusts:" in shown
    assert "spiffe://cluster.local/ns/mtls-test/sa/httpbin" in shown
    assert "by the next certificate" in shown


def test_show_reads_files_and_pipes_and_hides_keys(mesh: RunningMesh) -> None:
    line = "exec -n mtls-test deploy/httpbin -c istio-proxy -- cat /etc/certs/{}"
    chain = mesh.kubectl(*shlex.split(line.format("cert-chain.pem"))).stdout
    key = mesh.kubectl(*shlex.split(line.format("key.pem"))).stdout
    (mesh.folder / "both.pem").write_text(chain + key)

    piped = mesh.mutua("certs", "show", "-", stdin=chain).stdout
    both = mesh.mutua("certs", "show", "both.pem").stdout
    only_key = mesh.mutua("certs", "show", "-", stdin=key, check=False)

    assert both.startswith(piped)
    assert "1 private key, not shown" in both
    secret = key.splitlines()[1]
    assert secret not in both + only_key.stdout + only_key.stderr
    assert only_key.returncode == 1
    assert "there is no file nowhere.pem" in mesh.mutua(
        "certs", "show", "nowhere.pem", check=False
    ).stderr  # fmt: skip


ROTATION = r"""istioctl proxy-config secret deploy/httpbin -n mtls-test -o json | \
  jq -r '.dynamicActiveSecrets[0].secret.tlsCertificate.certificateChain.inlineBytes' | \
  base64 -d | openssl x509 -text -noout"""

EXEC = "kubectl exec -n mtls-test deploy/httpbin -c istio-proxy -- \\\n  "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("istioctl proxy-config secret deploy/httpbin -n mtls-test -o json", '"inlineBytes"'),
        (
            f"{EXEC}cat /etc/certs/cert-chain.pem | openssl x509 -text -noout",
            "URI:spiffe://cluster.local/ns/mtls-test/sa/httpbin",
        ),
        (f"{EXEC}ls -la /etc/certs/", "root-cert.pem"),
        (
            f"{EXEC}cat /etc/certs/cert-chain.pem | openssl x509 -text -noout | grep Issuer",
            "Issuer: O = cluster.local",
        ),
        (
            ROTATION,
            "URI:spiffe://cluster.local/ns/mtls-test/sa/httpbin",
        ),
        (
            f"{EXEC}curl localhost:15000/config_dump | jq '.configs[].dynamic_listeners'",
            "virtualInbound",
        ),
        ("istioctl proxy-config secret deploy/httpbin -n mtls-test", "ROOTCA"),
        (f"{EXEC}curl localhost:15000/stats | grep ssl", "ssl"),
        (f"{EXEC}openssl verify -CAfile /etc/certs/root-cert.pem /etc/certs/cert-chain.pem", "OK"),
    ],
)
def test_the_tutorials_lines_work_as_written(mesh: RunningMesh, line: str, expected: str) -> None:
    if "jq " in line and shutil.which("jq") is None:
        pytest.skip("this machine has no jq, and so its users have none")
    said = shell(mesh, line)

    assert expected.replace(" = ", "=") in said.replace(" = ", "=")
    assert "PRIVATE KEY" not in said


def test_the_secret_is_shown_in_every_format_and_never_with_its_key(mesh: RunningMesh) -> None:
    line = "proxy-config secret deploy/httpbin -n mtls-test -o "
    table = mesh.mutua("istioctl", *shlex.split(line + "short")).stdout.splitlines()
    yaml = mesh.mutua("istioctl", *shlex.split(line + "yaml")).stdout

    columns = [
        "RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE",
    ]  # fmt: skip
    assert [one.strip() for one in table[0].split("  ") if one.strip()] == columns
    assert [line.split()[0] for line in table[1:]] == ["default", "ROOTCA"]
    secret = served(mesh)["dynamicActiveSecrets"][0]["secret"]["tlsCertificate"]["privateKey"]
    assert secret == {"inlineBytes": "W3JlZGFjdGVkXQ=="}
    assert "W3JlZGFjdGVkXQ==" in yaml


def test_two_proxies_hold_the_same_roots(mesh: RunningMesh) -> None:
    line = "proxy-config rootca-compare deploy/httpbin.mtls-test deploy/curl-client.mtls-test"
    assert "same roots" in mesh.mutua("istioctl", *shlex.split(line)).stdout


def test_the_control_plane_meets_proxies_and_finds_itself_coherent(
    mesh: RunningMesh, certificates: list[Any]
) -> None:
    def met() -> Any:
        (found,) = mesh.get("certificateauthorities", "-n", "istio-system")["items"]
        conditions = {one["type"]: one for one in (found.get("status") or {}).get("conditions", ())}
        meshed = [one for one in mesh.get("pods", "-A")["items"] if is_meshed(one)]
        coherent = conditions.get("Coherent") or {"status": "Unknown", "message": ""}
        everybody = f"by {min(len(meshed), SAMPLED)} proxies"
        return coherent if everybody in coherent["message"] else None

    # It looks every half a minute, and does not count whom it could not reach in time.
    found = eventually(met, "the control plane has met the proxies", patience=150, every=1)

    assert (found["status"], found["reason"]) == ("True", "Accepted")
    assert (
        "plaintextcaller" not in mesh.kubectl("get", "plaintextcallers", "-A", "-o", "name").stdout
    )


@pytest.mark.usefixtures("certificates")
def test_a_rotation_is_seen_in_every_certificate_and_nothing_is_incoherent(
    mesh: RunningMesh,
) -> None:
    mesh.mutua("ca", "rotate", "root")
    mesh.mutua("ca", "rotate", "intermediate")
    (ca,) = mesh.get("certificateauthorities", "-n", "istio-system")["items"]
    root, signer = ca["status"]["roots"][0]["fingerprint"], ca["status"]["issuing"]["fingerprint"]

    def moved() -> bool:
        found = [one["status"] for one in mesh.get("wcert", "-A")["items"]]
        return all(one["roots"] == [root] and one["rootsConfirmed"] for one in found) and all(
            one["signer"]["fingerprint"] == signer for one in found
        )

    eventually(moved, "every certificate is of the new CA, every proxy holds the new root")

    def authorities() -> list[str]:
        document = json.loads(mesh.mutua("certs", "-o", "json").stdout)
        return [one["role"] for one in document["authorities"]]

    eventually(lambda: authorities() == ["signer", "root"], "the former CAs are gone")
    assert "3 (leaf)" in mesh.mutua("certs", "show", "deploy/httpbin.mtls-test").stdout
    events = mesh.kubectl("get", "events", "-A").stdout
    assert "TrustIncoherent" not in events
    assert "CertificateNotRenewed" not in events
