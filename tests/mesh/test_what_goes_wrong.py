"""What a user sees when a pod cannot run: in `get pods`, in `describe`, and how long it lasts."""

from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

# fmt: off
BROKEN: dict[str, tuple[str, str, str]] = {
    "missing": (
        "containers: [{name: a, image: x, command: [/no/such/program]}]",
        "CreateContainerError",
        "program '/no/such/program' not found; install it on this machine"),
    "not-executable": (
        "containers: [{name: a, image: x, command: [/etc/passwd]}]",
        "CreateContainerError", "program '/etc/passwd' is not executable"),
    "no-directory": (
        "containers: [{name: a, image: x, workingDir: /no/such, command: [sleep, '9']}]",
        "CreateContainerError",
        "working directory '/no/such': no such file or directory; correct workingDir"),
    "crash": (
        "containers: [{name: a, image: x, command: [sh, -c, echo farewell; exit 3]}]",
        "CrashLoopBackOff", "farewell"),
    "port-taken": (
        ("containers: [{name: a, image: x, command: [sh, -c, "
         "python3 -m http.server 8000 & until curl -so /dev/null localhost:8000; do sleep 1; done; "
         "exec python3 -m http.server 8000]}]"),
        "CrashLoopBackOff", "Address already in use"),
    "unknown-image": (
        "containers: [{name: a, image: 'registry.example.com/shop/web:v1'}]",
        "ErrImagePull",
        'add "registry.example.com/shop/web: <command>" to ConfigMap mutua-images'),
    "no-config": (
        ("containers: [{name: a, image: x, command: [sleep, '9'], env: [{name: A, valueFrom:"
         " {configMapKeyRef: {name: absent, key: k}}}]}]"),
        "CreateContainerConfigError", 'configmap "absent" not found'),
    "no-volume": (
        ("containers: [{name: a, image: x, command: [sleep, '9']}],"
         " volumes: [{name: v, secret: {secretName: absent}}]"),
        "ContainerCreating", 'secret "absent" not found'),
}
# fmt: on


@pytest.fixture(scope="module")
def broken(mesh: RunningMesh) -> RunningMesh:
    """Every broken pod at once: they wait for their back-offs together."""
    for name, (spec, _, _) in BROKEN.items():
        mesh.apply(
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"
            f"spec: {{terminationGracePeriodSeconds: 1, {spec}}}\n"
        )
    return mesh


def status(mesh: RunningMesh, name: str) -> str:
    """Return the STATUS column."""
    return mesh.kubectl("get", "pod", name, "--no-headers").stdout.split()[2]


@pytest.mark.parametrize("name", BROKEN)
def test_a_pod_that_cannot_run_says_why_and_what_to_do(broken: RunningMesh, name: str) -> None:
    _, reason, words = BROKEN[name]

    eventually(lambda: status(broken, name) == reason, f"{name} shows {reason}")
    described = eventually(
        lambda: words in (text := broken.kubectl("describe", "pod", name).stdout) and text,
        f"describe says {words}",
    )
    assert "Events:" in described


def test_an_image_added_to_the_catalogue_runs_without_a_restart(broken: RunningMesh) -> None:
    broken.apply(
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: mutua-images, namespace: istio-system}\n"
        "data: {shop: 'registry.example.com/shop/web: sleep infinity'}\n"
    )

    broken.kubectl("wait", "--for=condition=Ready", "pod/unknown-image", "--timeout=60s")


def test_a_crash_is_counted_and_its_output_kept(broken: RunningMesh) -> None:
    def ended() -> Any:
        (container,) = broken.get("pod", "crash")["status"]["containerStatuses"]
        return container["lastState"].get("terminated") and container

    container = eventually(ended, "a second attempt")
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert container["restartCount"] >= 1
    assert broken.kubectl("logs", "crash", "-p").stdout == "farewell\n"


def test_a_broken_pod_leaves_when_it_is_told_to(broken: RunningMesh) -> None:
    broken.kubectl("delete", "pod", *BROKEN, "--timeout=60s")
    assert broken.get("pods")["items"] == []
