"""`mutua ca`: keys at rest, and the log of what was issued, of a mesh that a user starts."""

import base64
import json
import re
import ssl
import sys
from pathlib import Path

import pytest

from mutua.identity.data_key import unlock_data_key
from mutua.identity.keyfile import read_credential
from mutua.identity.keys import new_key
from mutua.runtime.membership import Member
from mutua.testing.running_mesh import RunningMesh

PASSPHRASE = "correct horse battery staple"

KMS = f"""#!{sys.executable}
import sys
given = sys.stdin.buffer.read()
sys.stdout.buffer.write(bytes(one ^ 0x55 for one in given))
"""

SERVICE = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {sidecar.istio.io/inject: "true"}}
spec: {containers: [{name: app, image: host, command: [sleep, "1000"]}]}
"""


def private_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    return private_file(tmp_path / "passphrase", PASSPHRASE + "\n")


def make_secret(mesh: RunningMesh, key: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cacerts", "namespace": "istio-system"},
        "data": {"ca-key.pem": base64.b64encode(key.encode()).decode()},
    }
    mesh.apply(json.dumps(manifest))  # kubectl copies it into an annotation as well


def forms(pem: str) -> dict[str, bytes]:
    """Return what a private key may look like: its DER, PEM, and that in base64."""
    der = ssl.PEM_cert_to_DER_cert(pem.replace("PRIVATE KEY", "CERTIFICATE"))
    return {
        "DER": der,
        "scalar": der[36:68],
        "hexadecimal": der[36:68].hex().encode(),
        "PEM": pem.splitlines()[1].encode(),
        "base64 of PEM": base64.b64encode(pem.encode())[100:160],
        "base64 of DER": base64.b64encode(der[36:66]),
    }


def content_of(path: Path) -> bytes:
    """Return what is in a file; nothing when it, or the process it tells of, is gone meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def traces(folders: list[Path], needles: dict[str, bytes]) -> list[str]:
    """Return the files below `folders` that contain one of the needles."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = content_of(path)
                found += [f"{path}: {name}" for name, one in needles.items() if one in content]
    return found


def told(processes: list[Member], needles: dict[str, bytes]) -> list[str]:
    """Return the processes whose arguments or environment contain one of the needles."""
    found = []
    for process in processes:
        for name in ("cmdline", "environ"):
            content = content_of(Path(f"/proc/{process.pid}/{name}"))
            found += [f"{process}: {key}" for key, one in needles.items() if one in content]
    return found


def pki_keys(mesh: RunningMesh, passphrase: Path) -> list[str]:
    """Return the private keys that the mesh keeps in files."""
    sealer = unlock_data_key(
        mesh.layout.pki / "data.key", lambda: passphrase.read_text().strip()
    ).sealer()
    files = [mesh.layout.pki / "api-ca.pem", *(mesh.layout.pki / "ca").glob("*.pem")]
    assert len(files) >= 2
    return [read_credential(path, sealer=sealer).key.pem() for path in files]


def test_no_key_is_in_a_file_a_log_or_a_command_line_of_a_protected_mesh(
    fresh: RunningMesh, passphrase: Path
) -> None:
    fresh.up("--passphrase-file", str(passphrase), "--log-level", "debug")
    user_key = new_key().pem()
    make_secret(fresh, user_key)
    fresh.kubectl("label", "secret", "cacerts", "-n", "istio-system", "a=b")
    layout = fresh.layout
    searched = [layout.state, layout.run]
    needles = forms(user_key)
    for number, pem in enumerate(pki_keys(fresh, passphrase)):
        needles |= {f"key {number} as {form}": text for form, text in forms(pem).items()}
    needles["passphrase"] = PASSPHRASE.encode()

    shown = fresh.get("secret", "cacerts", "-n", "istio-system")["data"]["ca-key.pem"]
    assert base64.b64decode(shown).decode() == user_key  # the search would find what it looks for
    control = fresh.folder / "control"
    control.mkdir()
    (control / "dump.json").write_text(shown)
    assert traces([control], needles) != []

    assert traces(searched, needles) == []
    assert told(fresh.members(), needles) == []

    fresh.mutua("down")
    assert traces([layout.state], needles) == []
    fresh.up("--passphrase-file", str(passphrase))
    shown = fresh.get("secret", "cacerts", "-n", "istio-system")["data"]["ca-key.pem"]
    assert base64.b64decode(shown).decode() == user_key


def test_a_start_without_the_passphrase_says_so_and_changes_nothing(
    fresh: RunningMesh, passphrase: Path, tmp_path: Path
) -> None:
    fresh.up("--passphrase-file", str(passphrase))
    make_secret(fresh, new_key().pem())
    fresh.mutua("down")
    before = snapshot(fresh.layout.state)
    wrong = private_file(tmp_path / "wrong", "correct horse battery stapler")
    open_to_all = private_file(tmp_path / "open", PASSPHRASE, 0o644)

    refusals = {
        (): "is protected by a passphrase",
        ("--passphrase-file", str(wrong)): "does not open this mesh's data key",
        ("--passphrase-file", str(open_to_all)): "is readable by others",
        ("--passphrase-file", str(tmp_path / "none")): "No such file",
        ("--kms-command", "cat"): "has protection 'passphrase', not 'command'",
    }
    for options, complaint in refusals.items():
        done = fresh.mutua("up", *options, check=False)
        first, *rest = done.stderr.splitlines()
        assert (done.returncode, complaint in first) == (1, True), done.stderr
        assert len(rest) <= 1
        assert snapshot(fresh.layout.state) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file that is not bound to change with a refused start (the lock holds a pid)."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"lock", "api-port"}
    }


@pytest.mark.parametrize("lost", ["data.key", "all of pki"])
def test_a_lost_data_key_is_not_replaced_by_a_new_one(
    fresh: RunningMesh, tmp_path: Path, lost: str
) -> None:
    fresh.up()
    make_secret(fresh, new_key().pem())
    fresh.mutua("down")
    kept = tmp_path / "kept"
    if lost == "data.key":
        kept.mkdir()
        (fresh.layout.pki / lost).rename(kept / lost)
    else:
        fresh.layout.pki.rename(kept)

    done = fresh.mutua("up", check=False)

    assert done.returncode == 1
    assert "data.key is missing, and cannot be done without" in done.stderr
    assert not (fresh.layout.pki / "data.key").exists()
    (kept / "data.key").rename(fresh.layout.pki / "data.key")
    fresh.up()


def test_protection_of_a_running_mesh_changes_and_its_files_follow(
    fresh: RunningMesh, passphrase: Path, tmp_path: Path
) -> None:
    kms = private_file(tmp_path / "kms", KMS, 0o700)
    fresh.up()
    user_key = new_key().pem()
    make_secret(fresh, user_key)
    roots = fresh.get("configmap", "istio-ca-root-cert")["data"]

    said = fresh.mutua("ca", "protect", "--kms-command", str(kms))
    assert "follow at the next `mutua up`" in said.stderr
    assert_sealed(fresh, sealed=False)
    fresh.mutua("down")
    fresh.up()  # nothing needs to be said: the command is remembered
    assert_sealed(fresh, sealed=True)

    fresh.mutua("down")
    fresh.mutua("ca", "protect", "--passphrase-file", str(passphrase))
    fresh.up("--passphrase-file", str(passphrase))
    assert_sealed(fresh, sealed=True)

    fresh.mutua("down")
    fresh.mutua("ca", "protect", "--none", "--current-passphrase-file", str(passphrase))
    assert_sealed(fresh, sealed=False)
    fresh.up()
    shown = fresh.get("secret", "cacerts", "-n", "istio-system")["data"]["ca-key.pem"]
    assert base64.b64decode(shown).decode() == user_key
    assert fresh.get("configmap", "istio-ca-root-cert")["data"] == roots


def assert_sealed(mesh: RunningMesh, *, sealed: bool) -> None:
    files = [mesh.layout.pki / "api-ca.pem", *(mesh.layout.pki / "ca").glob("*.pem")]
    assert {"SEALED PRIVATE KEY" in path.read_text() for path in files} == {sealed}


def test_the_log_says_who_got_which_certificate_and_breaks_when_touched(
    fresh: RunningMesh,
) -> None:
    fresh.up()
    fresh.apply(SERVICE)
    fresh.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")

    head = fresh.mutua("ca", "audit", "head").stdout.strip()
    listed = json.loads(
        fresh.mutua("ca", "audit", "list", "--identity", "/default/", "-o", "json").stdout
    )
    [issued] = [one for one in listed if one["kind"] == "issued"]
    assert issued["identity"] == "spiffe://cluster.local/ns/default/sa/default"
    assert issued["authenticated"] == "pod socket"
    assert issued["template"] == "workload"
    by_serial = fresh.mutua("ca", "audit", "list", "--serial", issued["serialNumber"], "-o", "wide")
    assert len(by_serial.stdout.splitlines()) == 2
    assert re.search(r"\bpod socket\b", by_serial.stdout)
    assert (
        fresh.mutua("ca", "audit", "list", "--since", "2999-01-01T00:00:00Z").stdout.count("\n")
        == 1
    )

    fresh.mutua("down")
    assert json.loads(fresh.mutua("ca", "audit", "verify", "--head", head, "-o", "json").stdout)[
        "ok"
    ]
    [path] = fresh.layout.issuance.glob("*.log")
    whole = path.read_bytes()

    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert fresh.mutua("ca", "audit", "verify").returncode == 0  # only a noted head can tell
    cut = fresh.mutua("ca", "audit", "verify", "--head", head, check=False)
    assert (cut.returncode, "it has been cut off" in cut.stdout) == (1, True)

    path.write_bytes(whole.replace(b"pod socket", b"pod sucket"))
    touched = fresh.mutua("ca", "audit", "verify", check=False)
    assert (touched.returncode, "BROKEN at record " in touched.stdout) == (1, True)

    fresh.up()  # to be looked at; but nothing is issued
    fresh.kubectl("delete", "pod", "web", "--now")
    fresh.apply(SERVICE.replace("web", "late"))
    waited = fresh.kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=3s", check=False)
    assert waited.returncode != 0
    assert "the issuance log is stopped" in fresh.daemon_log()
    assert b"pod sucket" in path.read_bytes()


def test_the_daemon_dumps_no_core(fresh: RunningMesh) -> None:
    fresh.up()

    limits = Path(f"/proc/{fresh.daemon_pid()}/limits").read_text()

    assert re.search(r"Max core file size +0 +0 ", limits)
    assert Path(f"/proc/{fresh.daemon_pid()}/fd/0").readlink() == Path("/dev/null")
