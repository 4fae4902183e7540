# ruff: noqa: E501 - messages are written out
"""What users are told before they run into it: Warnings at apply, analyze; and kube-inject."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mutua.cli.main import cli
from mutua.testing.running_mesh import RunningMesh

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 8000, targetPort: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec:
      containers:
      - {name: app, image: curlimages/curl, ports: [{containerPort: 80}]}
"""

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""

MISUSED = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: ports
  namespace: shop
spec:
  selector:
    matchLabels: {app: web}
  portLevelMtls:
    8000: {mode: DISABLE}
"""

PLAINTEXT = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy: {tls: {mode: DISABLE}}
"""


NEAR = """
apiVersion: v1
kind: Service
metadata: {name: near, namespace: shop}
spec:
  selector: {app: near}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: near, namespace: shop, labels: {app: near}}
spec:
  containers:
  - name: app
    image: curlimages/curl
    command: ["python3", "-m", "http.server", "8080", "--bind", "127.0.0.1"]
    startupProbe:
      exec: {command: ["curl", "-s", "http://127.0.0.1:8080"]}
      periodSeconds: 1
      timeoutSeconds: 10
      failureThreshold: 60
"""

CALLERS = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec:
  rules:
  - from:
    - source: {namespaces: [shop, shpo]}
"""


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> Iterator[RunningMesh]:
    mesh.apply(SHOP)
    mesh.kubectl("wait", "deploy/web", "-n", "shop", "--for=condition=Available", "--timeout=60s")
    yield mesh
    mesh.kubectl("delete", "namespace", "shop")


@pytest.fixture(autouse=True)
def _clean(shop: RunningMesh) -> Iterator[None]:
    yield
    shop.kubectl("delete", "pa,dr", "--all", "-n", "shop")


def warnings(mesh: RunningMesh, manifest: str) -> list[str]:
    """Apply a manifest and return what kubectl warns of."""
    done = mesh.kubectl("apply", "-f", "-", stdin=manifest)
    return [line.removeprefix("Warning: ") for line in done.stderr.splitlines()]


def run(mesh: RunningMesh, line: str, stdin: str | None = None) -> tuple[int, str, str]:
    """Run a mutua command in this process: a new one would cost more than what it does."""
    done = CliRunner().invoke(cli, shlex.split(line), input=stdin, env=mesh.environ)
    return done.exit_code, done.stdout, done.stderr


def selecting(name: str, labels: str) -> str:
    selector = f"selector: {{matchLabels: {labels}}}"
    return STRICT.replace("name: default", f"name: {name}").replace("{mtls", f"{{{selector}, mtls")


def test_a_service_port_in_a_policy_is_named_with_the_right_one(shop: RunningMesh) -> None:
    assert warnings(shop, MISUSED) == [
        (
            "[MUT0101] spec.portLevelMtls[8000]: 8000 is a Service port; the workload listens on 80: "
            "this entry changes nothing; write 80 (Service web)"
        )
    ]
    assert shop.get("pa", "ports", "-n", "shop")["spec"]["portLevelMtls"]


def test_a_selector_that_nearly_fits_is_told_what_is_missing(shop: RunningMesh) -> None:
    (warning,) = warnings(shop, selecting("near", "{app: web, version: v2}"))

    assert warning.startswith("[IST0127] spec.selector.matchLabels: no pod of namespace shop has")
    assert warning.endswith("; 1 of 2 labels match deploy/web: its version is 'v1'")


def test_a_policy_behind_an_older_one_is_told_which(shop: RunningMesh) -> None:
    assert warnings(shop, selecting("a", "{app: web}")) == []

    (warning,) = warnings(shop, selecting("b", "{app: web}"))

    assert "[IST0167] spec.selector: the older policy a is the only one that counts" in warning


def test_a_rule_that_contradicts_a_policy_is_named_whichever_comes_second(shop) -> None:
    assert warnings(shop, STRICT) == []
    (about_the_rule,) = warnings(shop, PLAINTEXT)
    shop.kubectl("delete", "pa", "--all", "-n", "shop")
    (about_the_policy,) = warnings(shop, STRICT)

    said = (
        "clients send plaintext to web.shop:8000, but PeerAuthentication shop/default says STRICT: "
        "the server's proxy closes the connection"
    )
    assert about_the_rule == f"[IST0113] spec.trafficPolicy.tls: {said}"
    assert about_the_policy == f"[IST0113] DestinationRule shop/web: {said}"


def test_a_server_that_speaks_first_is_named_before_anybody_waits_for_it(shop) -> None:
    service = SHOP.split("---")[1].replace("name: http, port: 8000", "name: nats, port: 4222")

    (warning,) = warnings(shop, service.replace("web", "broker"))

    assert warning.startswith("[MUT0109] spec.ports: port 4222: NATS servers speak first, and")
    shop.kubectl("delete", "service", "broker", "-n", "shop")


def test_a_namespace_is_told_which_pods_wait_for_their_sidecars(shop: RunningMesh) -> None:
    shop.apply(SHOP.split("---")[2].replace("shop", "default").replace("web", "bare"))
    shop.kubectl("wait", "deploy/bare", "--for=condition=Available", "--timeout=60s")

    said = shop.kubectl("label", "namespace", "default", "istio-injection=enabled").stderr
    code, out, _ = run(shop, "istioctl analyze")

    assert "[IST0103] deploy/bare gets its sidecar when it is created again: kubectl roll" in said
    assert code == 0
    assert "Warning [IST0103] (Pod default/bare-" in out
    shop.kubectl("label", "namespace", "default", "istio-injection-")
    shop.kubectl("delete", "deploy", "bare")


def test_analyze_without_findings_is_one_line(shop: RunningMesh) -> None:
    done = shop.mutua("analyze", "-n", "shop")

    assert done.stdout == ""
    assert done.stderr == "\u2714 No validation issues found when analyzing namespace: shop.\n"


def test_analyze_names_what_is_wrong_and_exits_with_79(shop: RunningMesh) -> None:
    shop.apply(STRICT + "---" + PLAINTEXT + "---" + MISUSED)

    code, out, err = run(shop, "istioctl analyze -n shop")
    everywhere = run(shop, "analyze -A --color=false")
    as_json = json.loads(run(shop, "analyze -n shop -o json")[1])

    assert code == 79
    assert [line.partition(")")[0] for line in out.splitlines()] == [
        "Error [IST0113] (DestinationRule shop/web",
        "Warning [MUT0101] (PeerAuthentication shop/ports",
    ]
    assert err == "Error: Analyzers found issues when analyzing namespace: shop.\n"
    assert everywhere[0] == 79
    assert "Info [IST0102] (Namespace default)" in everywhere[1]
    assert [(one["code"], one["level"], one["origin"]) for one in as_json] == [
        ("IST0113", "Error", "DestinationRule shop/web"),
        ("MUT0101", "Warning", "PeerAuthentication shop/ports"),
    ]


def test_a_server_that_its_sidecar_does_not_reach_is_named(shop: RunningMesh) -> None:
    shop.apply(NEAR)
    shop.kubectl("wait", "pod/near", "-n", "shop", "--for=condition=Ready", "--timeout=60s")

    code, out, _ = run(shop, "istioctl analyze -n shop")

    shop.kubectl("delete", "pod/near", "service/near", "-n", "shop")
    assert code == 79
    assert out == (
        "Error [IST0143] (Pod shop/near) port 8080 of Service near is listened on at 127.0.0.1 "
        "only, where the sidecar does not reach it: listen on 0.0.0.0\n"
    )


def test_a_policy_about_a_namespace_that_is_not_there_is_named(shop: RunningMesh) -> None:
    shop.apply(CALLERS)

    code, out, _ = run(shop, "istioctl analyze -n shop")

    shop.kubectl("delete", "authorizationpolicy", "callers", "-n", "shop")
    assert code == 79
    assert "(AuthorizationPolicy shop/callers) no namespace is called 'shpo'" in out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--failure-threshold Warning", 79),
        ("--output-threshold Error", 0),
        ("-S 'MUT0101=PeerAuthentication ports.shop' --failure-threshold Info", 0),
    ],
)
def test_thresholds_and_suppression_decide_about_the_exit_status(shop, options, code) -> None:
    shop.apply(MISUSED)

    assert run(shop, f"analyze -n shop {options}")[0] == code


def test_a_file_is_judged_in_the_mesh_it_would_be_applied_to(shop, tmp_path: Path) -> None:
    shop.apply(STRICT)
    file = tmp_path / "rule.yaml"
    file.write_text(PLAINTEXT.replace(", namespace: shop", ""))
    policy = tmp_path / "policy.yaml"
    policy.write_text(MISUSED)

    code, out, _ = run(shop, f"analyze {file} -n shop")
    alone = run(shop, f"analyze --use-kube=false {policy}")[1]
    both = run(shop, f"analyze {policy}")

    assert code == 79
    assert out.startswith(f"Error [IST0113] (DestinationRule shop/web {file}:7) clients send")
    assert out.count("\n") == 1
    assert alone.startswith("Warning [IST0127] (PeerAuthentication shop/ports")
    assert both[:2] == (
        0,
        (
            f"Warning [MUT0101] (PeerAuthentication shop/ports {policy}:11) 8000 is a Service port; "
            "the workload listens on 80: this entry changes nothing; write 80 (Service web)\n"
        ),
    )
    assert shop.get("dr", "-A")["items"] == []


def test_describe_repeats_it_where_one_looks_for_a_reason(shop: RunningMesh) -> None:
    shop.apply(STRICT + "---" + PLAINTEXT)

    lines = run(shop, "x describe pod deploy/web -n shop")[1].splitlines()

    start = lines.index('DestinationRule: web for "web.shop.svc.cluster.local"')
    assert lines[start + 1] == "   Traffic Policy TLS Mode: DISABLE"
    assert lines[-1].startswith("ERROR [IST0113] DestinationRule web: clients send plaintext to")


def test_tls_check_and_proxy_config_name_the_rule(shop: RunningMesh) -> None:
    shop.apply(STRICT + "---" + PLAINTEXT)
    for name in ("pa/default", "dr/web"):
        shop.kubectl("wait", name, "-n", "shop", "--for=condition=InForce", "--timeout=60s")

    check = run(shop, "authn tls-check deploy/web.shop web.shop")[1].splitlines()[1].split()
    clusters = run(shop, "pc cluster deploy/web.shop --fqdn web.shop --direction outbound")[1]

    assert check == [
        "web.shop.svc.cluster.local:8000", "CONFLICT", "STRICT", "DISABLE", "shop/default",
        "shop/web",
    ]  # fmt: skip
    assert clusters.splitlines()[1].split()[-1] == "web.shop"


def test_manual_injection_gives_a_pod_its_sidecar(shop: RunningMesh, tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text(SHOP.split("---")[2].replace("shop", "default").replace("web", "manual"))
    out = tmp_path / "out.yaml"

    assert run(shop, f"kube-inject -f {file} -o {out}") == (0, "", "")
    piped = run(shop, "istioctl kube-inject -f -", stdin=file.read_text())[1]
    shop.kubectl("apply", "-f", str(out))
    shop.kubectl("wait", "deploy/manual", "--for=condition=Available", "--timeout=60s")

    assert piped == out.read_text()
    (pod,) = shop.get("pods", "-l", "app=manual")["items"]
    assert [one["name"] for one in pod["spec"]["containers"]] == ["app", "istio-proxy"]
    shop.kubectl("delete", "deploy", "manual")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("analyze -n nowhere", 'namespaces "nowhere" not found'),
        ("analyze /nowhere.yaml", 'the path "/nowhere.yaml" does not exist'),
        ("analyze -S nonsense", "is not CODE=KIND NAME.NAMESPACE"),
        ("kube-inject -f /nowhere.yaml", 'the path "/nowhere.yaml" does not exist'),
        ("kube-inject", "Missing option '-f'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_status_1(shop, line, complaint) -> None:
    code, out, err = run(shop, line)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert complaint in err
