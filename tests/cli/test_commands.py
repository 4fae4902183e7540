"""The everyday commands on a running mesh, as transcripts: command, exit status, stdout, stderr."""

import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import mutua
from mutua.testing.running_mesh import RunningMesh, eventually


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """The issue's own example, started in a directory of the caller's."""
    served = tmp_path_factory.mktemp("served")
    (served / "index.html").write_text("from the caller's directory\n")
    argv = [
        "run",
        "--namespace",
        "shop",
        "--name",
        "web",
        "--port",
        "8000",
        "--",
        "python3",
        "-m",
        "http.server",
        "8000",
    ]
    done = in_directory(mesh, served, *argv)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "namespace/shop created\n"
        "serviceaccount/web created\n"
        "deployment.apps/web created\n"
        "service/web created\n"
    )
    assert done.stderr == (
        "in the mesh it is http://web.shop:8000\nits output: kubectl logs -n shop deploy/web\n"
    )
    mesh.mutua("run", "-n", "shop", "--name", "client", "--", "sleep", "infinity")
    for name in ("web", "client"):
        mesh.mutua("kubectl", "rollout", "status", f"deploy/{name}", "-n", "shop", "--timeout=60s")
    yield mesh
    mesh.mutua("kubectl", "delete", "namespace", "shop")


def in_directory(
    mesh: RunningMesh, folder: Path, *argv: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mutua", *argv],
        env={**mesh.environ, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def call_web(mesh: RunningMesh) -> subprocess.CompletedProcess[str]:
    words = [
        "kubectl",
        "exec",
        "-n",
        "shop",
        "deploy/client",
        "--",
        "curl",
        "-sS",
        "http://web:8000/",
    ]
    return mesh.mutua(*words, check=False)


def test_a_program_becomes_a_workload_that_the_mesh_reaches(shop: RunningMesh) -> None:
    eventually(lambda: call_web(shop).stdout == "from the caller's directory\n", "web answers")


def test_it_is_reached_over_mutual_tls_only(shop: RunningMesh) -> None:
    shop.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        "metadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n"
    )
    wait = "kubectl wait --for=condition=InForce pa/default -n shop --timeout=60s"
    assert "condition met" in shop.mutua(*wait.split()).stdout
    plain = "run -n shop --name plain --no-sidecar -- sleep infinity"
    shop.mutua(*plain.split())
    shop.mutua(*["kubectl", "rollout", "status", "deploy/plain", "-n", "shop", "--timeout=60s"])

    assert call_web(shop).stdout == "from the caller's directory\n"
    ask = "kubectl exec -n shop deploy/plain -- curl -sS http://web:8000/"
    refused = shop.mutua(*ask.split(), check=False)
    assert refused.returncode in {52, 56}
    assert refused.stdout == ""
    assert refused.stderr.endswith(f"command terminated with exit code {refused.returncode}\n")
    shop.mutua(*["kubectl", "delete", "pa/default", "deploy/plain", "-n", "shop"])


def test_running_it_again_changes_nothing(shop: RunningMesh) -> None:
    words = "run -n shop --name client -- sleep infinity"

    assert shop.mutua(*words.split()).stdout == (
        "namespace/shop unchanged\n"
        "serviceaccount/client unchanged\n"
        "deployment.apps/client unchanged\n"
    )


def _sorted_tail(text: str) -> str:
    """Return the first line, and the others in the order of Python rather than of the locale."""
    first, *others = text.splitlines(keepends=True) or [""]
    return first + "".join(sorted(others))


def test_a_directory_below_tmp_is_the_callers_while_the_rest_of_tmp_is_private(
    shop: RunningMesh,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder, "note").write_text("seen\n")
        script = "cat note; echo written > answer; ls /tmp; sleep infinity"
        words = ("run", "-n", "shop", "--name", "below", "--", "sh", "-c", script)
        assert in_directory(shop, Path(folder), *words).returncode == 0
        shop.mutua(*["kubectl", "rollout", "status", "deploy/below", "-n", "shop", "--timeout=60s"])

        logs = ["kubectl", "logs", "-n", "shop", "deploy/below"]
        # Besides the directory, /tmp shows nothing but mutua itself, where that is installed there.
        homes = [Path(place) for place in (sys.prefix, sys.base_prefix, mutua.__file__)]
        below = {home.parts[2] for home in homes if home.parts[1] == "tmp"}
        listing = "".join(f"{name}\n" for name in sorted(below | {Path(folder).name}))
        eventually(
            lambda: _sorted_tail(shop.mutua(*logs).stdout) == "seen\n" + listing, "it sees it"
        )
        assert Path(folder, "answer").read_text() == "written\n"
        shop.mutua(*["kubectl", "delete", "deploy/below", "-n", "shop"])


@pytest.mark.parametrize("place", ["/tmp", "/proc/self", "the mesh's own"])
def test_a_directory_that_a_container_cannot_see_is_refused(mesh: RunningMesh, place: str) -> None:
    folder = mesh.layout.logs if place == "the mesh's own" else Path(place)

    done = in_directory(mesh, folder, "run", "-n", "shop", "--name", "x", "--", "sleep", "1")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("mutua: error: programs of the mesh ")
    assert "mutua: hint: start it in " in done.stderr


def test_a_manifest_cannot_ask_for_the_meshs_own_directory(shop: RunningMesh) -> None:
    link = Path(tempfile.mkdtemp(dir="/tmp")) / "link"
    link.symlink_to(shop.layout.pki)
    container = {"name": "a", "image": "host", "command": ["ls"], "workingDir": str(link)}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "thief", "namespace": "shop"},
        "spec": {"containers": [container]},
    }
    shop.apply(json.dumps(pod))

    def reasons() -> list[str]:
        statuses = shop.get("pod", "thief", "-n", "shop")["status"].get("containerStatuses", [])
        waiting = [one["state"].get("waiting", {}) for one in statuses if one["name"] == "a"]
        return [one.get("message", "") for one in waiting if one.get("message")]

    said = eventually(reasons, "it is refused")
    assert "belongs to a mesh" in said[0] or "working directory" in said[0]
    shop.mutua(*["kubectl", "delete", "pod", "thief", "-n", "shop"])
    shutil.rmtree(link.parent)


def test_a_missing_program_is_named_before_anything_is_made(mesh: RunningMesh) -> None:
    done = mesh.mutua("run", "-n", "nowhere", "--", "no-such-program", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mutua: error: program 'no-such-program' not found\n"
        "mutua: hint: install it, or give its path\n"
    )
    assert "nowhere" not in mesh.mutua("kubectl", "get", "ns").stdout


def test_a_namespace_outside_the_mesh_stays_outside_and_the_user_is_told(
    mesh: RunningMesh,
) -> None:
    done = mesh.mutua("run", "-n", "default", "--name", "idle", "--", "sleep", "infinity")

    assert "namespace/default unchanged\n" in done.stdout
    assert done.stderr.startswith(
        "note: no sidecar, since namespace default is not part of the mesh; "
        "kubectl label namespace default istio-injection=enabled\n"
    )
    mesh.mutua(*["kubectl", "delete", "deploy/idle", "sa/idle"])


def test_status_shows_the_mode_of_every_port(shop: RunningMesh) -> None:
    table = shop.mutua("status", "-n", "shop")
    document = json.loads(shop.mutua("status", "-n", "shop", "-o", "json").stdout)

    assert re.fullmatch(r"mesh 'cli' is up, API at https://127\.0\.0\.1:\d+\n\n", table.stderr)
    header, *rows = table.stdout.splitlines()
    assert header.split("   ")[0] == "NAMESPACE"
    assert any(re.fullmatch(r"shop +web-\S+ +8000 +yes +PERMISSIVE +default +-", r) for r in rows)
    assert document["mesh"]["pid"] == shop.daemon_pid()
    web = next(port for port in document["ports"] if port["pod"].startswith("web-"))
    assert (web["port"], web["mode"], web["sidecar"]) == ("8000", "PERMISSIVE", "yes")


@pytest.mark.parametrize(
    "words",
    [
        "status -n shpo",
        "certs -n shpo",
        "strict plan -n shpo",
        "strict plan --workload deploy/web -n shpo",
        "strict apply --yes -n shpo",
        "strict apply --yes --workload deploy/web.shpo",
        "proxy-status -n shpo",
        "pc log -l app=web -n shpo",
        "analyze -n shpo",
    ],
)
def test_a_namespace_with_a_typing_error_is_no_success(shop: RunningMesh, words: str) -> None:
    done = shop.mutua(*words.split(), check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert 'namespaces "shpo" not found' in done.stderr
    assert "did you mean: shop?" in done.stderr
    assert shop.kubectl("get", "pa", "-A", "-o", "name").stdout == ""


@pytest.mark.parametrize("words", ["strict plan", "strict apply --yes"])
def test_a_workload_with_a_typing_error_is_no_success(shop: RunningMesh, words: str) -> None:
    done = shop.mutua(*words.split(), "--workload", "deploy/wbe.shop", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "no workload 'deploy/wbe' with a sidecar in namespace 'shop'" in done.stderr


@pytest.mark.parametrize("words", ["status", "status -o json", "kubectl get pods", "env", "shell"])
def test_a_mesh_that_was_never_started_is_one_line_and_what_to_do(
    words: str, tmp_path: Path
) -> None:
    done = RunningMesh(tmp_path, name="none").mutua(*words.split(), check=False)

    assert (done.returncode, done.stdout) == (1, "")
    if words.startswith("kubectl"):
        assert done.stderr == "error: the mesh 'none' has not been started; run: mutua up\n"
    else:
        assert done.stderr == (
            "mutua: error: the mesh 'none' has not been started\nmutua: hint: run: mutua up\n"
        )


def test_env_points_a_shell_at_the_mesh(mesh: RunningMesh) -> None:
    script = 'eval "$("$1" -m mutua env)" && kubectl get namespace default -o name'
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable],
        env={**mesh.environ, "KUBECONFIG": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "namespace/default\n"


def without_kubectl(mesh: RunningMesh, folder: Path) -> dict[str, str]:
    """An environment whose PATH has the usual programs, kubectl excepted."""
    for place in mesh.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name != "kubectl" and not os.path.lexists(folder / program.name):
                (folder / program.name).symlink_to(program)
    return {**mesh.environ, "PATH": str(folder)}


def test_a_shell_has_the_machines_kubectl_and_mutuas_where_there_is_none(
    mesh: RunningMesh, tmp_path: Path
) -> None:
    real = mesh.mutua("shell", "--", "sh", "-c", "command -v kubectl; kubectl get ns -o name")
    assert real.stdout.startswith(f"{shutil.which('kubectl')}\n")

    argv = [sys.executable, "-m", "mutua", "shell", "--", "sh", "-c"]
    done = subprocess.run(
        [*argv, "command -v kubectl; kubectl get ns -o name"],
        env=without_kubectl(mesh, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    own, *names = done.stdout.splitlines()
    assert own == str(mesh.layout.state / "bin" / "kubectl")
    assert names == real.stdout.splitlines()[1:]


def test_a_shell_returns_its_programs_status_and_names_a_missing_one(mesh: RunningMesh) -> None:
    assert mesh.mutua("shell", "--", "sh", "-c", "exit 7", check=False).returncode == 7

    missing = mesh.mutua("shell", "--", "no-such-program", check=False)
    assert missing.returncode == 127
    assert missing.stderr == "mutua: error: no such program: no-such-program\n"


def test_an_interactive_shell_speaks_to_the_mesh(mesh: RunningMesh) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        argv = [sys.executable, "-m", "mutua", "shell"]
        os.execve(sys.executable, argv, {**mesh.environ, "SHELL": "/bin/sh", "PS1": "$ "})
    os.write(terminal, b"kubectl get ns/default -o name; exit 3\n")
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:  # EIO: the other side has closed
        pass
    os.close(terminal)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert b"kubectl and istioctl speak to the mesh 'cli' here; leave with `exit`" in said
    assert b"namespace/default\r\n" in said


@pytest.mark.parametrize(
    ("output", "pattern"),
    [
        ("text", r"mutua       \S+\nkubernetes  v1\.\d+\.\d+\nenvoy       \S+\n"),
        ("json", r'\{\n  "mutua": "\S+",\n  "kubernetes": "\S+",\n  "envoy": "\S+",\n'),
        ("yaml", r"mutua: \S+\nkubernetes: \S+\nenvoy: \S+\n"),
    ],
)
def test_version_prints_what_works_together_and_then_what_istioctl_says(
    output: str, pattern: str, mesh: RunningMesh
) -> None:
    istioctl = ["istioctl", "version", *(["-o", output] if output != "text" else [])]

    def agree() -> bool:
        said = mesh.mutua("version", "-o", output).stdout
        theirs = mesh.mutua("shell", *istioctl).stdout
        parts = re.match(pattern, said)
        assert parts
        assert theirs
        if output == "text":
            return said[parts.end() :] == theirs
        both = yaml.safe_load(said), yaml.safe_load(theirs)
        return both[0] | both[1] == both[0]

    eventually(agree, "both say the same, once no pod of another test ends between the two")


def test_the_installed_versions_need_no_mesh(tmp_path: Path) -> None:
    done = RunningMesh(tmp_path, name="none").mutua("version")

    assert done.stdout.splitlines()[-1] == f"client version: {mutua.__version__}"
    assert "has not been started; only what is installed is shown" in done.stderr


COMMANDS = ["up", "down", "status", "run", "env", "shell", "kubectl", "bench", "version"]


@pytest.mark.parametrize("words", ["", *COMMANDS, "kubectl get", "kubectl rollout restart"])
def test_every_command_explains_itself(words: str, mesh: RunningMesh) -> None:
    done = mesh.mutua(*words.split(), "--help")

    assert done.stdout.startswith(f"Usage: mutua {words}".rstrip())
    assert "\\b" not in done.stdout
    assert "\x08" not in done.stdout


def test_a_reader_that_goes_away_is_no_error(mesh: RunningMesh) -> None:
    script = '"$1" -m mutua kubectl get cm -A -o yaml | head -n 1'
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable],
        env=dict(mesh.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("apiVersion: v1\n", "")


def test_what_only_prints_is_quick(mesh: RunningMesh) -> None:
    def used() -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    took = []
    for _ in range(5):
        before = used()
        mesh.mutua("env")
        took.append(used() - before)

    # Processor time, as the machine may be busy: 0.1 s; the libraries of `up` cost a second.
    assert min(took) < 0.4
