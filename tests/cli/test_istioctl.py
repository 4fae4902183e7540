"""`mutua istioctl` on a running mesh: the tutorial's lines, and what else operators type."""

import base64
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from mutua import __version__
from mutua.cli.client import connect
from mutua.cli.istioctl.admin import Admin
from mutua.foundation.errors import Unavailable
from mutua.testing.running_mesh import RunningMesh, eventually

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: mtls-test}
spec: {mtls: {mode: STRICT}}
"""


@pytest.fixture(scope="module")
def mesh(
    tmp_path_factory: pytest.TempPathFactory, start_services: Callable[[RunningMesh], None]
) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="istioctl")
    try:
        running.up()
        start_services(running)
        for client in ("curl-client", "httpbin"):
            line = f"pc endpoint deploy/{client}.mtls-test --port 80 --status healthy"
            eventually(partial(istioctl_shows, running, line, "HEALTHY"), f"{client} knows httpbin")
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


def istioctl(mesh: RunningMesh, line: str) -> str:
    """Run a command line of the tutorial and return what it prints."""
    return mesh.mutua("istioctl", *shlex.split(line)).stdout


def istioctl_shows(mesh: RunningMesh, line: str, wanted: str) -> bool:
    return wanted in istioctl(mesh, line)


def table(text: str) -> list[list[str]]:
    """Return the cells below the header; none of them contains a blank."""
    return [line.split() for line in text.splitlines()[1:]]


def openssl(pem: bytes) -> str:
    done = subprocess.run(
        ["openssl", "x509", "-text", "-noout"], input=pem, capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.fixture
def strict(mesh: RunningMesh) -> Iterator[None]:
    mesh.apply(STRICT)
    yield
    mesh.kubectl("delete", "peerauthentication", "default", "-n", "mtls-test")


@pytest.mark.parametrize(
    "line",
    [
        "authn tls-check deploy/httpbin -n mtls-test",
        "authn tls-check deploy/curl-client.mtls-test deploy/httpbin.mtls-test",
        "authn tls-check deploy/curl-client -n mtls-test",
        "authn tls-check deploy/curl-client.mtls-test httpbin.mtls-test.svc.cluster.local",
        "-n mtls-test authn tls-check deploy/curl-client svc/httpbin",
    ],
)
def test_tls_check_shows_the_mode_of_the_server(mesh: RunningMesh, line: str) -> None:
    rows = [row for row in table(istioctl(mesh, line)) if not row[0].startswith("istiod.")]
    assert rows == [
        ["httpbin.mtls-test.svc.cluster.local:8000", "AUTO", "PERMISSIVE", "ISTIO_MUTUAL", "-", "-"]
    ]


@pytest.mark.usefixtures("strict")
def test_tls_check_follows_the_policy_and_names_it(mesh: RunningMesh) -> None:
    meshed = istioctl(mesh, "authn tls-check deploy/curl-client.mtls-test deploy/httpbin.mtls-test")
    plain = istioctl(mesh, "authn tls-check plain-pod.mtls-test httpbin")

    assert table(meshed)[0][1:5] == ["AUTO", "STRICT", "ISTIO_MUTUAL", "mtls-test/default"]
    assert table(plain)[0][1:5] == ["CONFLICT", "STRICT", "DISABLE", "mtls-test/default"]


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "line",
    [
        "x describe pod deploy/httpbin -n mtls-test",
        "experimental describe service httpbin.mtls-test",
    ],
)
def test_describe_names_the_effective_mode_and_its_policy(mesh: RunningMesh, line: str) -> None:
    said = istioctl(mesh, line)

    assert "Workload mTLS mode: STRICT" in said
    assert "default.mtls-test" in said
    assert "Port: http 8000/HTTP targets pod port 80" in said


def test_the_tutorials_pipeline_reads_the_certificate(mesh: RunningMesh) -> None:
    dump = json.loads(istioctl(mesh, "proxy-config secret deploy/httpbin -n mtls-test -o json"))

    held = dump["dynamicActiveSecrets"][0]["secret"]["tlsCertificate"]
    pem = base64.b64decode(held["certificateChain"]["inlineBytes"])
    assert "URI:spiffe://cluster.local/ns/mtls-test/sa/httpbin" in openssl(pem)
    assert base64.b64decode(held["privateKey"]["inlineBytes"]) == b"[redacted]"


def test_secrets_are_listed_with_their_validity(mesh: RunningMesh) -> None:
    lines = istioctl(mesh, "pc s deploy/httpbin.mtls-test").splitlines()

    assert lines[0].split("  ")[0] == "RESOURCE NAME"
    assert [(line.split()[0], "true" in line) for line in lines[1:]] == [
        ("default", True),
        ("ROOTCA", True),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cluster {} --direction inbound", "80       -          inbound"),
        ("cluster {} --fqdn httpbin.mtls-test.svc.cluster.local", "outbound"),
        ("listener {} --port 15006", "Addr: *:80"),
        ("listener {} --verbose=false", "HTTP+TCP"),
        ("route {} --name 8000", "httpbin.mtls-test.svc.cluster.local:8000"),
        ("endpoint {} --port 80", "HEALTHY"),
        ("bootstrap {} -o short", f"Istio Version: {__version__}"),
        ("bootstrap {} -o short", "Location: "),
        ("ecds {}", "ECDS NAME"),
        ("envoy-stats {}", "cluster_manager.cds.update_success: "),
        ("es {} -o prom", "# TYPE envoy_cluster_manager_cds_update_success counter"),
        ("es {} --type clusters", "inbound|80||::"),
        ("es {} --type clusters -o json", '"cluster_statuses"'),
        ("all {}", "secret/ROOTCA"),
        ("all {} --port 80 --direction inbound --with-headers=false", "cluster/ "),
    ],
)
def test_every_part_of_a_proxys_configuration_is_shown(mesh, line: str, expected: str) -> None:
    assert expected in istioctl(mesh, "proxy-config " + line.format("deploy/httpbin.mtls-test"))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("cluster {}", "transportSocketMatches"),
        ("listener {}", "filterChainMatch"),
        ("route {}", "virtualHosts"),
        ("endpoint {}", "hostStatuses"),
        ("bootstrap {}", "dynamicResources"),
        ("all {}", "dynamicActiveClusters"),
    ],
)
def test_json_has_the_names_that_scripts_expect(mesh, line: str, field: str) -> None:
    said = istioctl(mesh, f"pc {line.format('deploy/httpbin.mtls-test')} -o json")

    assert json.loads(said)
    assert f'"{field}"' in said


def test_a_saved_dump_reads_like_the_running_proxy(mesh: RunningMesh, tmp_path: Path) -> None:
    saved = tmp_path / "dump.json"
    saved.write_text(istioctl(mesh, "pc all deploy/httpbin.mtls-test -o json"))

    for part in ("cluster", "endpoint"):
        assert istioctl(mesh, f"pc {part} -f {saved}") == istioctl(
            mesh, f"pc {part} deploy/httpbin.mtls-test"
        )
    assert "endpoint/" in istioctl(mesh, f"pc all -f {saved}")


def test_everything_is_filtered_by_the_options_of_its_parts(mesh: RunningMesh) -> None:
    said = istioctl(
        mesh,
        "pc all deploy/httpbin.mtls-test --fqdn httpbin.mtls-test.svc.cluster.local --port 8000 "
        "--name 8000 --type http --address 10.0.0.0 --status healthy --cluster none "
        "--verbose=false",
    )

    kinds = [line.partition("/")[0] for line in said.splitlines() if "/" in line]
    assert kinds == ["cluster", "route", "secret", "secret"]


def test_log_levels_are_changed_in_the_proxy_itself(mesh: RunningMesh) -> None:
    def levels() -> str:
        ask = [sys.executable, "-c", (
            "import urllib.request as r;"
            "print(r.urlopen(r.Request('http://127.0.0.1:15000/logging', method='POST'))"
            ".read().decode())"
        )]  # fmt: skip
        where = ["-n", "mtls-test", "deploy/httpbin", "-c", "istio-proxy"]
        return mesh.kubectl("exec", *where, "--", *ask).stdout

    assert "  http: warning" in levels()
    said = istioctl(mesh, "proxy-config log deploy/httpbin -n mtls-test --level debug")
    assert ".mtls-test:\nactive loggers:" in said
    assert "  http: debug" in said
    assert "  http: debug" in levels()

    istioctl(mesh, "pc log deploy/httpbin -n mtls-test --level http:error")
    assert "  http: error" in levels()
    assert "  rbac: debug" in levels()

    istioctl(mesh, "pc log -l app=httpbin -n mtls-test --reset")
    assert "  http: warning" in levels()


def test_every_proxy_is_listed_with_what_it_was_sent(mesh: RunningMesh) -> None:
    rows = table(istioctl(mesh, "proxy-status"))

    assert [row[0].split("-")[0] for row in rows] == ["curl", "httpbin"]
    assert all(row[3:] == [__version__, "4", "(CDS,LDS,EDS,RDS)"] for row in rows)
    assert "SYNCED" in istioctl(mesh, "ps deploy/httpbin.mtls-test -v 1")


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_are_told_how_far_each_proxy_is(mesh: RunningMesh, output: str, read) -> None:
    every = read(istioctl(mesh, f"proxy-status -o {output}"))
    (one,) = read(istioctl(mesh, f"ps deploy/httpbin.mtls-test -o {output}"))

    assert [config["node"]["id"].split("-")[0] for config in every] == ["curl", "httpbin"]
    assert one["node"]["metadata"]["ISTIO_VERSION"] == __version__
    kinds = ("Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration")

    def is_synced() -> bool:
        (now,) = read(istioctl(mesh, f"ps deploy/httpbin.mtls-test -o {output}"))
        states = {
            config["typeUrl"].rpartition(".")[2]: config["configStatus"]
            for config in now["genericXdsConfigs"]
        }
        return states == dict.fromkeys(kinds, "SYNCED")

    eventually(is_synced, "it has confirmed everything")


def test_a_proxy_holds_what_the_control_plane_makes_for_it(mesh: RunningMesh, tmp_path) -> None:
    saved = tmp_path / "dump.json"
    saved.write_text(istioctl(mesh, "pc all deploy/httpbin.mtls-test -o json"))

    loaded = r"Routes Match \(RDS last loaded at \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC\)\n"
    same = re.compile(r"Clusters Match\nListeners Match\n" + loaded)
    eventually(
        lambda: same.fullmatch(istioctl(mesh, "proxy-status deploy/httpbin.mtls-test")),
        "the proxy holds what is made for it",
    )
    mesh.apply(STRICT)
    mesh.kubectl(
        "wait", "pa/default", "-n", "mtls-test", "--for=condition=InForce", "--timeout=60s"
    )
    later = istioctl(mesh, f"ps deploy/httpbin.mtls-test -f {saved}")
    mesh.kubectl("delete", "peerauthentication", "default", "-n", "mtls-test")

    assert "Listeners Don't Match\n--- Istiod virtualInbound\n+++ Envoy virtualInbound\n" in later
    changes = [line for line in later.splitlines() if line.startswith(("+ ", "- "))]
    assert any("rawBuffer" in line or "raw_buffer" in line for line in changes), later
    assert len(changes) < 2000


def test_two_proxies_trust_the_same_roots(mesh: RunningMesh) -> None:
    said = istioctl(mesh, "pc rc deploy/httpbin.mtls-test deploy/curl-client.mtls-test")

    assert "hold the same roots: mutual TLS between them can work" in said


def test_versions_of_all_three(mesh: RunningMesh) -> None:
    assert istioctl(mesh, "version").splitlines() == [
        f"client version: {__version__}",
        f"control plane version: {__version__}",
        f"data plane version: {__version__} (2 proxies)",
    ]
    found = json.loads(istioctl(mesh, "version -o json"))
    assert found["clientVersion"]["version"] == __version__
    assert len(found["dataPlaneVersion"]) == 2
    assert istioctl(mesh, "version --remote=false --short") == f"client version: {__version__}\n"


def test_the_shell_has_an_istioctl(mesh: RunningMesh) -> None:
    done = mesh.mutua("shell", "istioctl", "authn", "tls-check", "deploy/httpbin.mtls-test")

    assert "PERMISSIVE" in done.stdout


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("pc secret nope.mtls-test", 'pods "nope" not found'),
        ("pc secret deploy/nope -n mtls-test", 'deployments.apps "nope" not found'),
        ("authn tls-check deploy/httpbin -n nowhere", "in namespace 'nowhere'"),
        ("authn tls-check deploy/httpbin.mtls-test nothing", "no Service is called 'nothing'"),
        ("pc listener plain-pod.mtls-test", "has no sidecar"),
        ("ps plain-pod.mtls-test", "has no sidecar"),
        ("pc rc deploy/httpbin.mtls-test plain-pod.mtls-test", "has no sidecar"),
        ("pc log deploy/httpbin.mtls-test --proxy-admin-port 15999", "does not answer"),
        ("ps deploy/httpbin.mtls-test --proxy-admin-port 15999", "does not answer"),
        ("x describe svc nope", 'services "nope" not found'),
        ("pc log deploy/httpbin.mtls-test --level loud", "unrecognized logging level: loud"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_exit_status_1(mesh, line, complaint) -> None:
    done = mesh.mutua("istioctl", *shlex.split(line), check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


def test_a_mesh_that_does_not_run_is_one_line_and_the_clients_version_is_still_known(
    tmp_path: Path,
) -> None:
    stopped = RunningMesh(tmp_path, name="stopped")

    done = stopped.mutua("istioctl", "proxy-status", check=False)
    version = stopped.mutua("istioctl", "version")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "mutua up" in done.stderr
    assert version.stdout == f"client version: {__version__}\n"


def test_a_proxy_that_is_being_replaced_is_listed_and_does_not_fail_the_list(mesh) -> None:
    mesh.kubectl("rollout", "restart", "deploy/curl-client", "-n", "mtls-test")

    while_changing = mesh.mutua("istioctl", "ps").stdout
    mesh.kubectl("rollout", "status", "deploy/curl-client", "-n", "mtls-test", "--timeout=60s")

    assert "httpbin" in while_changing
    eventually(lambda: istioctl(mesh, "ps").count("4 (CDS,LDS,EDS,RDS)") == 2, "two proxies")


def test_a_pod_that_is_gone_since_it_was_listed_is_an_answer_not_a_failure(mesh) -> None:
    listed = {"metadata": {"name": "was-here", "namespace": "mtls-test"}}

    with connect(mesh.layout, "mtls-test") as client:
        (found,) = Admin(client).ask_each([listed], "GET /ready")

    assert isinstance(found, Unavailable)
    assert str(found) == "pod was-here.mtls-test: it is no longer there"
