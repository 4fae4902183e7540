"""`mutua kubectl` says what kubectl says: the same commands, once with each, on equal clusters."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

EXAMPLES = Path(__file__).parents[2] / "examples" / "mtls-tutorial"

CONFIG_MAPS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {app: one}}
data: {k: v, multi: "x\\ny\\n", truth: "true"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
"""

STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 0
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: a, image: x, command: [sleep, infinity]}]}
"""

FILES = {
    "db.yaml": STATEFUL_SET,
    "service-name.yaml": STATEFUL_SET.replace("spec:\n", "spec:\n  serviceName: db\n", 1),
    "on-delete.yaml": STATEFUL_SET.replace(
        "replicas: 0", "updateStrategy: {type: OnDelete}"
    ).replace("name: db}\n", "name: idle}\n"),
    "two.yaml": CONFIG_MAPS,
    "changed.yaml": CONFIG_MAPS.replace("k: v", "k: w"),
    "enum.yaml": (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        "metadata: {name: bad}\nspec: {mtls: {mode: STRIKT}}\n"
    ),
    "field.yaml": (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        "metadata: {name: bad}\nspec: {mtlss: {mode: STRICT}}\n"
    ),
    "policy.yaml": (
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
        "metadata: {name: warn}\nspec: {}\n"
    ),
    "strict.yaml": (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        "metadata: {name: strict}\nspec: {mtls: {mode: STRICT}}\n"
    ),
    "nowhere.yaml": ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}\n"),
    "empty.yaml": "",
}

SCRIPT = """\
get pods
get pods -A -l app=none
get pods/nope
get deploy nope
get gadgets
get cm nope -o yaml
apply -f missing.yaml
apply -f empty.yaml
apply -f enum.yaml
apply -f field.yaml
apply -f nowhere.yaml
apply -f policy.yaml
apply -f strict.yaml
apply -f two.yaml
apply -f two.yaml
apply -f changed.yaml
get cm a b nope -o name
get cm -l app=one -o name
get cm,pa -o name
get pa
get pa,ap -A
get cm/a -o jsonless
label cm a x=1
label cm a x=1
label cm a x=2
label cm a x=2 --overwrite
label cm a b y=1
label cm a x-
label cm a x-
label cm nope x=1
exec nope -- true
delete cm
delete cm a nope
delete cm --all
delete -f policy.yaml
delete pa strict
rollout restart deploy/nope
rollout restart cm/a
apply -f db.yaml
apply -f service-name.yaml
get sts -o wide
rollout restart sts/db
rollout status sts/db --timeout=60s
scale statefulset db nope --replicas=0
apply -f on-delete.yaml
rollout status sts/idle
wait --for=condition=Available deploy/nope --timeout=1s
wait --for=condition=Ready pod --all --timeout=1s
"""

OF_ALL_PODS = SCRIPT.splitlines()[-1]
"""What it says depends on what has become of the pods."""

UNLIKE = {
    "get cm/a -o jsonless",  # names the outputs that there are
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(mesh: RunningMesh, folder: Path, *argv: str) -> tuple[int, str, str]:
    done = subprocess.run(
        argv,
        env=dict(mesh.environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, _timeless(done.stdout), done.stderr


def _timeless(text: str) -> str:
    """Return what a command says without what depends on when it was asked."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("Waiting for ")]
    # Nine seconds are narrower than ten, and the column with them.
    ageless = re.sub(r"\b\d+[sm](\d+s)?\b *", "Ns ", "".join(lines))
    return re.sub(r"\bAGE +", "AGE ", ageless)


def test_every_answer_is_kubectls(mesh: RunningMesh, folder: Path) -> None:
    ours_first = [sys.executable, "-m", "mutua", "kubectl"]
    for namespace in ("theirs", "ours"):
        mesh.kubectl("create", "namespace", namespace)
    differences = []
    for line in SCRIPT.splitlines():
        words = line.split()
        verb = 2 if words[0] == "rollout" else 1
        if line == OF_ALL_PODS:
            for namespace in ("theirs", "ours"):
                eventually(partial(_is_ready, mesh, namespace), f"the pod in {namespace} is ready")
        theirs = run(mesh, folder, "kubectl", *words[:verb], "-n", "theirs", *words[verb:])
        ours = run(mesh, folder, *ours_first, *words[:verb], "-n", "ours", *words[verb:])
        shown = tuple(
            part.replace("theirs", "ours") if isinstance(part, str) else part for part in theirs
        )
        if line in UNLIKE:
            assert ours[0] == theirs[0] == 1
        elif ours != shown and not _differs_by_the_other(line, ours, shown):
            differences.append((line, shown, ours))
    for namespace in ("theirs", "ours"):
        mesh.kubectl("delete", "namespace", namespace)

    assert differences == []


def _is_ready(mesh: RunningMesh, namespace: str) -> bool:
    ready = "jsonpath={.status.readyReplicas}"
    return mesh.kubectl("get", "sts/idle", "-n", namespace, "-o", ready).stdout == "1"


def _differs_by_the_other(line: str, ours: tuple[object, ...], theirs: tuple[object, ...]) -> bool:
    """`-A` shows both namespaces; a hint of ours may follow kubectl's words on their line."""
    hinted = str(ours[2]).rstrip("\n").startswith(str(theirs[2]).rstrip("\n") + "; ")
    return "-A" in line or (ours[:2] == theirs[:2] and hinted)


@pytest.fixture(scope="module")
def pods(mesh: RunningMesh) -> Iterator[RunningMesh]:
    mesh.mutua("run", "-n", "pods", "--name", "idle", "--", "sh", "-c", "echo hello; sleep 1000")
    mesh.mutua(*["kubectl", "-n", "pods", "rollout", "status", "deploy/idle", "--timeout=60s"])
    yield mesh
    mesh.mutua("kubectl", "delete", "ns", "pods")


def kubectl(mesh: RunningMesh, *argv: str, stdin: str = "") -> tuple[int, str, str]:
    done = mesh.mutua("kubectl", "-n", "pods", *argv, check=False, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def test_exec_passes_streams_and_the_exit_status(pods: RunningMesh) -> None:
    program = ("--", "sh", "-c", "cat; echo bad >&2; exit 3")

    assert kubectl(pods, "exec", "-i", "deploy/idle", *program, stdin="good\n") == (
        3, "good\n", "bad\ncommand terminated with exit code 3\n",
    )  # fmt: skip
    assert kubectl(pods, "exec", "deploy/idle", "--", "cat", stdin="not passed on") == (0, "", "")
    _, said, _ = kubectl(pods, "exec", "deploy/idle", "-c", "istio-proxy", "--", "pwd")
    assert said == "/\n"


def test_exec_names_a_missing_container_and_refuses_a_terminal(pods: RunningMesh) -> None:
    status, _, said = kubectl(pods, "exec", "deploy/idle", "-c", "nope", "--", "true")
    assert status == 1
    assert re.fullmatch(
        r"Error from server \(BadRequest\): container nope is not valid for pod idle-\S+\n", said
    )
    refused = kubectl(pods, "exec", "-it", "deploy/idle", "--", "sh")
    assert refused == (1, "", "error: no terminals yet (-t); leave -t out\n")


def test_logs_are_the_containers_own(pods: RunningMesh) -> None:
    eventually(lambda: kubectl(pods, "logs", "deploy/idle")[1], "the program has said something")

    assert kubectl(pods, "logs", "deploy/idle") == (0, "hello\n", "")
    assert kubectl(pods, "logs", "deploy/idle", "--tail=0") == (0, "", "")
    _, stamped, _ = kubectl(pods, "logs", "deploy/idle", "--timestamps")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z hello\n", stamped)


def test_a_restart_replaces_the_pods_and_status_follows_it(pods: RunningMesh) -> None:
    before = kubectl(pods, "get", "pods", "-o", "name")[1]

    assert kubectl(pods, "rollout", "restart", "deploy/idle") == (
        0, "deployment.apps/idle restarted\n", "",
    )  # fmt: skip
    status, said, _ = kubectl(pods, "rollout", "status", "deploy/idle", "--timeout=60s")

    assert status == 0
    assert said.endswith('deployment "idle" successfully rolled out\n')
    assert kubectl(pods, "get", "pods", "-o", "name")[1] != before


def test_tables_and_documents_are_kubectls(pods: RunningMesh) -> None:
    for words in ("get deploy,svc,sa -o wide", "get deploy/idle -o yaml", "get sa -o json"):
        eventually(partial(_are_alike, pods, words), f"{words} says the same in both")


def _are_alike(pods: RunningMesh, words: str) -> bool:
    """Compare what both say of objects whose status may change in between."""
    ours = kubectl(pods, *words.split())[1]
    theirs = pods.kubectl("-n", "pods", *words.split()).stdout
    return _timeless(ours) == _timeless(theirs)


def test_usage_errors_end_with_1_like_kubectls(pods: RunningMesh) -> None:
    status, out, said = kubectl(pods, "frobnicate")

    assert (status, out) == (1, "")
    assert said.startswith("error: No such command 'frobnicate'.\n")
