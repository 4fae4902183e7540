"""Another root, another intermediate, a CA of one's own, and back, under load in STRICT mode.

Real pods, real Envoys, constant traffic over HTTP/1.1, HTTP/2, gRPC and raw TCP, on connections of
every age: no request fails, no process is restarted, and every proxy ends up with the new CA.  The
daemon is killed in the middle, an Envoy is stopped, and the rotation goes on.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.testing.freezer import stopped
from mutua.testing.load.town import CALLS, PODS, RUN, STREAMS, build, envoy, processes, runs
from mutua.testing.running_mesh import RunningMesh, eventually

SCRIPT = Path(__file__).parents[2] / "examples/mtls-tutorial/create-custom-ca.sh"
FILES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
EXPECTED = {*STREAMS, *CALLS}

GOES_BY = 2.0
"""Seconds after which a stage that nothing holds up is over, on a busy machine."""


@pytest.fixture(scope="module")
def town(mesh: RunningMesh) -> RunningMesh:
    build(mesh)
    return mesh


@contextmanager
def constant_load(mesh: RunningMesh) -> Iterator[None]:
    """Require that all streams run and that no request fails inside."""
    start = time.monotonic()
    eventually(
        lambda: {one.stream for one in runs(mesh, start) if one.is_good} == EXPECTED, "traffic"
    )
    began = time.monotonic()
    yield
    time.sleep(RUN)
    seen = runs(mesh, began)
    assert {run.stream for run in seen} == EXPECTED
    assert [run for run in seen if not run.is_good] == []
    assert sum(run.count for run in seen) > 100


def chain(mesh: RunningMesh, name: str) -> str:
    argv = ("exec", "-n", "turn", name, "-c", "istio-proxy", "--", "cat")
    return mesh.kubectl(*argv, "/etc/certs/cert-chain.pem").stdout


def issuer(mesh: RunningMesh, name: str) -> str:
    """Return what openssl says of the issuer of a pod's certificate."""
    argv = ["openssl", "x509", "-noout", "-issuer"]
    done = subprocess.run(argv, input=chain(mesh, name), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def status(mesh: RunningMesh) -> dict[str, Any]:
    found = mesh.get("certificateauthority", "mesh", "-n", "istio-system")["status"]
    assert isinstance(found, dict)
    return found


def held(mesh: RunningMesh) -> set[str]:
    """Return the fingerprints of the roots that the proxies' files hold, over all pods."""
    found = set()
    for name in PODS:
        argv = ("exec", "-n", "turn", name, "-c", "istio-proxy", "--", "cat")
        found.add(mesh.kubectl(*argv, "/etc/certs/root-cert.pem").stdout)
    return found


def test_root_and_intermediate_are_replaced_under_load(town: RunningMesh) -> None:
    before, pids = status(town), processes(town)

    with constant_load(town):
        town.mutua("ca", "rotate", "root")
        root = status(town)
        said = town.mutua("ca", "rotate", "intermediate").stdout
        intermediate = status(town)

    assert root["issuing"]["fingerprint"] != before["issuing"]["fingerprint"]
    assert [one["fingerprint"] for one in root["roots"]] == [root["issuing"]["fingerprint"]]
    assert intermediate["roots"] == root["roots"]
    assert intermediate["issuing"]["source"] == "intermediate"
    assert "the new CA signs, and only it is trusted" in said
    assert chain(town, "web").count("BEGIN CERTIFICATE") == 3
    assert len(held(town)) == 1
    assert processes(town) == pids


def test_a_ca_of_ones_own_is_adopted_live_renewed_and_left_again(
    town: RunningMesh, tmp_path: Path
) -> None:
    pids = processes(town)

    def plug_in(*arguments: str) -> None:
        subprocess.run([str(SCRIPT), *arguments], cwd=tmp_path, check=True, capture_output=True)
        files = [f"--from-file={tmp_path / name}" for name in FILES]
        made = town.kubectl(
            *("create", "secret", "generic", "cacerts", "-n", "istio-system"),
            *(*files, "--dry-run=client", "-o", "yaml"),
        ).stdout
        town.apply(made)
        serial = openssl_serial(tmp_path / "ca-cert.pem")
        eventually(lambda: at_rest(town, serial), "the CA of the Secret signs")

    with constant_load(town):
        plug_in("Acme")
        first = issuer(town, "web")
        plug_in("Acme")  # another intermediate below the same root
        (tmp_path / "root-key.pem").unlink()
        plug_in("Other")  # another root
        second = issuer(town, "web")
        town.kubectl("delete", "secret", "cacerts", "-n", "istio-system")
        town.mutua("ca", "rotate", "root")

    assert "Acme Intermediate CA" in first
    assert "Other Intermediate CA" in second
    assert status(town)["issuing"]["source"] == "self-signed"
    assert processes(town) == pids


def test_below_a_ca_that_ends_soon_connections_end_sooner(
    town: RunningMesh, tmp_path: Path
) -> None:
    script = SCRIPT.read_text().replace("-days 730", "-days 1")
    subprocess.run(["sh", "-c", script, SCRIPT.name], cwd=tmp_path, check=True, capture_output=True)
    files = [f"--from-file={tmp_path / name}" for name in FILES]
    argv = ("create", "secret", "generic", "cacerts", "-n", "istio-system", *files)
    assert limits(town, "web") == {"34560s"}  # 40 % of a day
    try:
        town.kubectl(*argv)
        eventually(lambda: limits(town, "web") == {"17280s"}, "40 % of half a day")
    finally:
        town.kubectl("delete", "secret", "cacerts", "-n", "istio-system")
        eventually(lambda: not stage_of(town), "the CA of the Secret has been adopted")
        town.mutua("ca", "rotate", "root")
    eventually(lambda: limits(town, "web") == {"34560s"}, "40 % of a day")


def limits(mesh: RunningMesh, name: str) -> set[str]:
    """Return how long a proxy lets connections with mutual TLS live that it accepts."""
    argv = ("exec", "-n", "turn", name, "-c", "istio-proxy", "--", "curl", "-s")
    dump = mesh.kubectl(*argv, "http://127.0.0.1:15000/config_dump?resource=dynamic_listeners")
    return set(re.findall(r'"max_connection_duration": "([^"]+)"', dump.stdout))


def test_a_revocation_list_that_is_plugged_in_is_honoured(
    town: RunningMesh, tmp_path: Path
) -> None:
    subprocess.run([str(SCRIPT), "Listed"], cwd=tmp_path, check=True, capture_output=True)

    def plug_in(*revoked: str) -> None:
        root = revocation_list(tmp_path, "root")
        (tmp_path / "ca-crl.pem").write_text(revocation_list(tmp_path, "ca", *revoked) + root)
        files = [f"--from-file={tmp_path / name}" for name in (*FILES, "ca-crl.pem")]
        argv = ("create", "secret", "generic", "cacerts", "-n", "istio-system", *files)
        town.apply(town.kubectl(*argv, "--dry-run=client", "-o", "yaml").stdout)

    with constant_load(town):
        plug_in()
        serial = openssl_serial(tmp_path / "ca-cert.pem")
        eventually(lambda: at_rest(town, serial), "the CA of the Secret signs")
    argv = ["openssl", "x509", "-noout", "-serial"]
    done = subprocess.run(
        argv, input=chain(town, "grpc"), capture_output=True, text=True, check=True
    )
    plug_in(done.stdout.strip().removeprefix("serial="))
    began = time.monotonic()

    def refused_calls() -> bool:
        seen = [run for run in runs(town, began) if run.stream == "grpc-calls"]
        return bool(seen) and not seen[-1].is_good

    # Live connections stay; new ones are refused, so the caller's proxy has to open one.
    eventually(lambda: "Listed" in issuer(town, "grpc"), "still of this CA")
    os.kill(envoy(town, "grpc"), signal.SIGKILL)
    eventually(refused_calls, "the revoked certificate is refused")
    others = [run for run in runs(town, began) if run.stream in STREAMS and not run.is_good]
    assert others == []
    plug_in()
    began = time.monotonic()
    eventually(
        lambda: any(run.stream == "grpc-calls" and run.is_good for run in runs(town, began)),
        "accepted again",
    )
    town.kubectl("delete", "secret", "cacerts", "-n", "istio-system")
    town.mutua("ca", "rotate", "root")


def plug_in_lists(mesh: RunningMesh, folder: Path, lists: str) -> None:
    """Put the set of a folder into the Secret, with these lists."""
    (folder / "ca-crl.pem").write_text(lists)
    files = [f"--from-file={folder / name}" for name in (*FILES, "ca-crl.pem")]
    argv = ("create", "secret", "generic", "cacerts", "-n", "istio-system", *files)
    mesh.apply(mesh.kubectl(*argv, "--dry-run=client", "-o", "yaml").stdout)


def published_lists(mesh: RunningMesh) -> str:
    """Return what ConfigMap istio-ca-crl of the pods' namespace holds, "" if it is not there."""
    argv = ("get", "cm", "istio-ca-crl", "-n", "turn", "--ignore-not-found")
    return mesh.kubectl(*argv, "-o", r"jsonpath={.data.ca-crl\.pem}").stdout


def events_of(mesh: RunningMesh, reason: str) -> list[str]:
    found = mesh.get("events", "-n", "istio-system")["items"]
    return [one["message"] for one in found if one["reason"] == reason]


def test_lists_that_have_ended_are_refused_and_one_that_ends_in_use_ends_no_traffic(
    town: RunningMesh, tmp_path: Path
) -> None:
    subprocess.run([str(SCRIPT), "Ending"], cwd=tmp_path, check=True, capture_output=True)
    now = datetime.now(UTC)
    day, soon = timedelta(days=1), timedelta(seconds=75)
    signer = revocation_list(tmp_path, "ca")

    with constant_load(town):
        plug_in_lists(town, tmp_path, signer + revocation_list(tmp_path, "root"))
        serial = openssl_serial(tmp_path / "ca-cert.pem")
        eventually(lambda: at_rest(town, serial), "the CA of the Secret signs")
        good = eventually(lambda: published_lists(town), "the lists are published")
        ended = revocation_list(tmp_path, "root", begins=now - day, ends=now)
        plug_in_lists(town, tmp_path, signer + ended)
        message = eventually(lambda: refused(town), "a list that has ended is refused")
        assert "ca-crl.pem: the list of 'CN=Ending Root CA,O=Ending' ended at" in message
        assert published_lists(town) == good

        end = datetime.now(UTC) + soon
        ending = signer + revocation_list(tmp_path, "root", begins=now, ends=end)
        plug_in_lists(town, tmp_path, ending)
        eventually(lambda: published_lists(town) == ending, "other lists are in force")
        wait = (end - datetime.now(UTC)).total_seconds() + 10
        eventually(lambda: datetime.now(UTC) > end + day / 8640, "it has ended", patience=wait + 30)
        says = "the revocation list of 'CN=Ending Root CA,O=Ending' (ca-crl.pem) ended at"
        said = eventually(
            lambda: says in (text := town.mutua("ca", "status").stdout) and text, "it is said"
        )

    assert "Coherent:" not in said
    for words in ("ends at", "ended at"):
        eventually(
            lambda words=words: any(words in one for one in events_of(town, "CAEndsSoon")), words
        )


def test_a_revocation_does_not_wait_behind_a_silent_proxy(
    town: RunningMesh, tmp_path: Path
) -> None:
    subprocess.run([str(SCRIPT), "Urgent"], cwd=tmp_path, check=True, capture_output=True)
    root = revocation_list(tmp_path, "root")

    # Until the rotation is over, the lists of the CA before are published too.
    with stopped([envoy(town, "echo")]):
        plug_in_lists(town, tmp_path, revocation_list(tmp_path, "ca") + root)
        eventually(lambda: stage_of(town) == "Distribute", "a rotation stands still")
        urgent = revocation_list(tmp_path, "ca", "0102030405") + root
        plug_in_lists(town, tmp_path, urgent)
        eventually(lambda: urgent in published_lists(town), "the list is in force")
        assert stage_of(town) == "Distribute"
        subprocess.run([str(SCRIPT), "Urgent"], cwd=tmp_path, check=True, capture_output=True)
        other = revocation_list(tmp_path, "ca") + root  # another intermediate has to wait
        plug_in_lists(town, tmp_path, other)
        eventually(lambda: events_of(town, "CAWaiting"), "it says that it waits")
        assert "PluggedIn: Secret cacerts waits" in town.mutua("ca", "status").stdout
    serial = openssl_serial(tmp_path / "ca-cert.pem")
    eventually(lambda: at_rest(town, serial), "the last set signs", patience=60)

    town.kubectl("delete", "secret", "cacerts", "-n", "istio-system")
    town.mutua("ca", "rotate", "root")
    eventually(lambda: not published_lists(town), "no lists, no ConfigMap")


def revocation_list(
    folder: Path,
    issuer: str,
    *serials: str,
    begins: datetime | None = None,
    ends: datetime | None = None,
) -> str:
    """Have openssl make the list of a CA whose files are in a folder."""
    key, cert = folder / f"{issuer}-key.pem", folder / f"{issuer}-cert.pem"
    revoked = "".join(
        f"R\t991231235959Z\t260101000000Z\t{one}\tunknown\t/CN=x\n" for one in serials
    )
    (folder / "index.txt").write_text(revoked)
    (folder / "index.txt.attr").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {folder}/index.txt\n"
        "default_md = sha256\ndefault_crl_days = 30\n"
    )
    argv = ["openssl", "ca", "-gencrl", "-config", str(folder / "ca.cnf")]
    argv += ["-keyfile", str(key), "-cert", str(cert)]
    for option, instant in (("lastupdate", begins), ("nextupdate", ends)):
        argv += [f"-crl_{option}", f"{instant:%Y%m%d%H%M%SZ}"] if instant else []
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout


def openssl_serial(path: Path) -> str:
    argv = ["openssl", "x509", "-noout", "-serial", "-in", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("serial=").lower()


def at_rest(mesh: RunningMesh, serial: str) -> bool:
    found = status(mesh)
    issuing = found["issuing"]["serialNumber"].lstrip("0")
    return issuing == serial.lstrip("0") and "rotation" not in found


def test_a_set_that_cannot_be_used_is_refused_by_name_and_the_old_ca_goes_on(
    town: RunningMesh, tmp_path: Path
) -> None:
    subprocess.run([str(SCRIPT)], cwd=tmp_path, check=True, capture_output=True)
    before = status(town)["issuing"]

    def refusal(*names: str) -> str:
        town.kubectl("delete", "secret", "cacerts", "-n", "istio-system", "--ignore-not-found")
        files = [f"--from-file={name}={tmp_path / source}" for name, source in map(pair, names)]
        argv = ("create", "secret", "generic", "cacerts", "-n", "istio-system", *files)
        uid_before = time.monotonic()
        town.kubectl(*argv)
        found = eventually(lambda: refused(town), f"refused ({uid_before})")
        town.kubectl("delete", "secret", "cacerts", "-n", "istio-system")
        eventually(lambda: not refused(town), "forgotten")
        return str(found)

    with constant_load(town):
        partial = refusal(*FILES[:2])
        mismatched = refusal("ca-cert.pem", "ca-key.pem=root-key.pem", *FILES[2:])
        not_a_chain = refusal("ca-cert.pem", "ca-key.pem", "cert-chain.pem=ca-key.pem", FILES[3])

    assert "cert-chain.pem, root-cert.pem: missing or empty" in partial
    assert "ca-key.pem: is not the key of ca-cert.pem" in mismatched
    assert "cert-chain.pem: not PEM certificates" in not_a_chain
    assert "PRIVATE" not in partial + mismatched + not_a_chain + town.daemon_log()
    assert status(town)["issuing"] == before
    events = town.kubectl("get", "events", "-n", "istio-system").stdout
    assert "CARefused" in events


def pair(name: str) -> tuple[str, str]:
    key, _, source = name.partition("=")
    return key, source or key


def refused(mesh: RunningMesh) -> str:
    conditions = {one["type"]: one for one in status(mesh).get("conditions", ())}
    found = conditions.get("PluggedIn", {})
    return str(found["message"]) if found.get("reason") == "Refused" else ""


@pytest.mark.parametrize("stage", ["Distribute", "Issue", "Withdraw"])
def test_a_rotation_outlives_the_daemon_at_every_stage_and_can_be_turned_around(
    town: RunningMesh, stage: str
) -> None:
    before = status(town)["issuing"]
    hindered = envoy(town, "echo")

    with constant_load_of(town, "caller"):
        with held_at(town, hindered, stage):
            town.kill_daemon()
            town.up()
            again = eventually(lambda: stage_of(town), "the rotation goes on")
        assert again == stage
        eventually(lambda: not stage_of(town), "the rotation is over")

    assert status(town)["issuing"] != before
    assert len(held(town)) == 1


def test_an_aborted_rotation_ends_where_it_began(town: RunningMesh) -> None:
    before, hindered = status(town), envoy(town, "echo")

    with constant_load_of(town, "caller"):
        for stage in ("Distribute", "Issue"):
            with held_at(town, hindered, stage):
                waiting = eventually(lambda: rotation(town).get("waitingFor"), "who lags")
                town.mutua("ca", "rotate", "abort", "--no-wait")
                eventually(lambda: rotation(town).get("aborted"), "aborted")
            eventually(lambda: not stage_of(town), "the rotation is over")
            assert "echo.turn" in waiting

    assert status(town)["issuing"] == before["issuing"]
    assert status(town)["roots"] == before["roots"]
    nothing = town.mutua("ca", "rotate", "abort", check=False)
    assert (nothing.returncode, "no rotation is under way" in nothing.stderr) == (1, True)


@contextmanager
def constant_load_of(mesh: RunningMesh, client: str) -> Iterator[None]:
    """Like `constant_load` for one client: others may wait for a stopped proxy."""
    began = time.monotonic()
    yield
    time.sleep(RUN)
    seen = [run for run in runs(mesh, began) if run.stream in STREAMS and client == "caller"]
    assert {run.stream for run in seen} == set(STREAMS)
    assert [run for run in seen if not run.is_good] == []


@contextmanager
def held_at(mesh: RunningMesh, pid: int, stage: str) -> Iterator[None]:
    """Begin to replace the root, and hold that up at a stage as long as the context lasts.

    The proxy may be stopped too early, so that the stage is not reached, or too late: then the next
    one is held, after another delay.
    """
    for delay in (0.1, 0.05, 0.2, 0.02, 0.4) * 4:
        with stopped_when(mesh, pid, stage, delay) as watcher:
            mesh.mutua("ca", "rotate", "root", "--no-wait")
            deadline = time.monotonic() + 10
            while not (held := is_held(mesh, watcher, stage)) and time.monotonic() < deadline:
                time.sleep(0.05)
            if held:
                yield
                return
        eventually(lambda: not stage_of(mesh), "the rotation is over")
    raise AssertionError(f"no rotation could be held at {stage}")


def is_held(mesh: RunningMesh, watcher: subprocess.Popen[str], stage: str) -> bool:
    """Tell whether a stage does not go by although there is time for it to."""
    if stage_of(mesh) != stage or watcher.poll() is None:
        return False  # a proxy that is not stopped yet may still let it go by
    time.sleep(GOES_BY)
    return stage_of(mesh) == stage


@contextmanager
def stopped_when(
    mesh: RunningMesh, pid: int, stage: str, delay: float
) -> Iterator[subprocess.Popen[str]]:
    """Hold a stage up: stop a proxy before it can confirm it, and let it go on at the end.

    Before the last stage that is so many seconds after its new certificate, which the stage before
    waits for.
    """
    uid = mesh.get("pod", "echo", "-n", "turn")["metadata"]["uid"]
    inside = (mesh.layout.run / "pods" / uid / "certs").relative_to("/")
    certificates = Path(f"/proc/{mesh.daemon_pid()}/root") / inside
    state = mesh.layout.pki / "ca/state.json"
    facts = (state, stage, certificates, pid, delay)
    argv = [sys.executable, "-c", WATCHER, *map(str, facts)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "watching\n"
            yield watcher
        finally:
            watcher.kill()
            watcher.wait()
            os.kill(pid, signal.SIGCONT)


WATCHER = """
import json, os, pathlib, signal, sys, time
state, stage, certificates, pid, delay = pathlib.Path(sys.argv[1]), *sys.argv[2:]
before = os.readlink(certificates + "/..data")
stop = lambda: os.kill(int(pid), signal.SIGSTOP)

def reached(wanted):
    rotation = json.loads(state.read_text())["rotation"]
    return rotation and rotation["stage"] == wanted

if stage == "Distribute":
    stop()
print("watching", flush=True)
if stage == "Issue":
    while not reached("Issue"):
        time.sleep(0.005)
if stage == "Withdraw":
    while os.readlink(certificates + "/..data") == before:
        time.sleep(0.005)
    time.sleep(float(delay))
stop()  # whoever is stopped already stays so
"""


def rotation(mesh: RunningMesh) -> dict[str, Any]:
    """Return what is said of the rotation that is under way, {} for none."""
    return dict(status(mesh).get("rotation") or {})


def stage_of(mesh: RunningMesh) -> str:
    return str(rotation(mesh).get("stage", ""))
