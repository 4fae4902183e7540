"""Keys and the kubeconfig on disk."""

import asyncio
import base64
import ssl
import stat
from pathlib import Path

import pytest
import yaml

from mutua.cluster.apiserver.auth import CertificateAuthenticator, User
from mutua.cluster.apiserver.credentials import prepare_credentials, write_kubeconfig
from mutua.cluster.apiserver.message import Request
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Rejected


def test_everything_on_disk_is_private(tmp_path: Path) -> None:
    credentials = prepare_credentials(tmp_path / "pki", SystemClock())
    write_kubeconfig(tmp_path / "kubeconfig", name="x", port=1, credentials=credentials)

    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    files = [*(tmp_path / "pki").iterdir(), tmp_path / "kubeconfig"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_the_authority_and_the_token_key_last(tmp_path: Path) -> None:
    first = prepare_credentials(tmp_path, SystemClock())
    second = prepare_credentials(tmp_path, SystemClock())

    assert first.authority_pem == second.authority_pem
    assert first.token_key == second.token_key
    assert first.admin.chain_pem != second.admin.chain_pem


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    prepare_credentials(tmp_path, SystemClock())
    (tmp_path / "api-tokens.key").write_bytes(b"short")

    with pytest.raises(Rejected, match="not a key"):
        prepare_credentials(tmp_path, SystemClock())
    assert (tmp_path / "api-tokens.key").read_bytes() == b"short"


@pytest.mark.parametrize("name", ["api-tokens.key", "api-ca.pem"])
def test_a_key_that_others_can_read_is_not_used(tmp_path: Path, name: str) -> None:
    prepare_credentials(tmp_path, SystemClock())
    (tmp_path / name).chmod(0o640)

    with pytest.raises(Rejected, match="readable by others"):
        prepare_credentials(tmp_path, SystemClock())


def test_the_kubeconfig_proves_the_owner(tmp_path: Path) -> None:
    credentials = prepare_credentials(tmp_path, SystemClock())
    write_kubeconfig(tmp_path / "kubeconfig", name="x", port=4711, credentials=credentials)

    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())

    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:4711"
    assert config["current-context"] == "mutua-x"
    pem = base64.b64decode(config["users"][0]["user"]["client-certificate-data"]).decode()
    request = Request(method="GET", target="/", certificate=ssl.PEM_cert_to_DER_cert(pem))
    user = asyncio.run(CertificateAuthenticator().authenticate(request))
    assert user == User("kubernetes-admin", ("system:masters", "system:authenticated"))
