from datetime import timedelta
from pathlib import Path

import pytest

from mutua.identity.keyfile import (
    Damaged,
    read_credential,
    read_key,
    replace_file,
    write_credential,
    write_key,
)
from mutua.identity.keys import new_key
from mutua.identity.sealed_files import align_key_files, sealed_key_files
from mutua.identity.sealing import KEY_BYTES, Sealer, Unsealable
from mutua.identity.x509 import Credential, self_signed_ca
from mutua.testing.clock import ManualClock

KEY = bytes(range(KEY_BYTES))
SEALING = Sealer(KEY, seals_files=True)
OPENING = Sealer(KEY)
TOKEN_KEY = b"t" * 32


def ca(name: str = "ca") -> Credential:
    return self_signed_ca(name, lifetime=timedelta(days=1), clock=ManualClock())


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A directory with one key in PEM, one in bytes, and a file without a key."""
    (tmp_path / "ca").mkdir()
    write_credential(tmp_path / "ca" / "generation-1.pem", ca())
    write_key(tmp_path / "api-tokens.key", TOKEN_KEY)
    replace_file(tmp_path / "ca" / "state.json", b"{}")
    return tmp_path


def test_a_sealed_key_is_read_with_the_sealer_only(tmp_path: Path) -> None:
    path, credential = tmp_path / "ca.pem", ca()
    write_credential(path, credential, sealer=SEALING)

    again = read_credential(path, sealer=OPENING)

    assert again.key.pem() == credential.key.pem()
    assert "-----BEGIN PRIVATE KEY-----" not in path.read_text()
    assert credential.key.pem().splitlines()[1] not in path.read_text()
    assert credential.chain_pem in path.read_text()
    with pytest.raises(Damaged, match="is sealed"):
        read_credential(path)
    with pytest.raises(Damaged, match="data key"):
        read_credential(path, sealer=Sealer(bytes(KEY_BYTES)))


def test_without_protection_files_stay_readable_by_openssl(tmp_path: Path) -> None:
    write_credential(tmp_path / "ca.pem", ca(), sealer=OPENING)

    assert "-----BEGIN PRIVATE KEY-----" in (tmp_path / "ca.pem").read_text()


def test_a_sealed_key_moved_to_another_certificate_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "ca.pem", ca("other")
    write_credential(path, ca(), sealer=SEALING)
    sealed = path.read_text().split("-----BEGIN CERTIFICATE-----")[0]
    path.write_text(sealed + other.chain_pem)

    with pytest.raises(Damaged, match="belongs elsewhere"):
        read_credential(path, sealer=OPENING)


def test_files_follow_the_protection_both_ways(pki: Path) -> None:
    names = {pki / "ca" / "generation-1.pem", pki / "api-tokens.key"}
    before = {path: path.read_bytes() for path in names}

    assert set(align_key_files(pki, SEALING)) == names
    assert set(sealed_key_files(pki)) == names
    assert read_key(pki / "api-tokens.key", sealer=OPENING) == TOKEN_KEY
    assert TOKEN_KEY not in (pki / "api-tokens.key").read_bytes()
    assert align_key_files(pki, SEALING) == []

    assert set(align_key_files(pki, OPENING)) == names
    assert {path: path.read_bytes() for path in names} == before


@pytest.mark.parametrize("label", ["EC PRIVATE KEY", "RSA PRIVATE KEY"])
def test_keys_of_other_tools_are_sealed_too(tmp_path: Path, label: str) -> None:
    text = f"-----BEGIN {label}-----\nQUJD\n-----END {label}-----\n".encode()
    replace_file(tmp_path / "plugged-in.pem", text)

    align_key_files(tmp_path, SEALING)

    assert b"QUJD" not in (tmp_path / "plugged-in.pem").read_bytes()
    align_key_files(tmp_path, OPENING)
    assert (tmp_path / "plugged-in.pem").read_bytes() == text


def test_what_a_crash_left_half_written_goes(pki: Path) -> None:
    left = pki / "ca" / ".generation-1.pem.0123456789abcdef"
    left.write_text(new_key().pem())

    align_key_files(pki, SEALING)

    assert not left.exists()


def test_a_foreign_data_key_changes_nothing(pki: Path) -> None:
    align_key_files(pki, SEALING)
    before = {path: path.read_bytes() for path in sealed_key_files(pki)}

    with pytest.raises(Unsealable, match="sealed with data key"):
        align_key_files(pki, Sealer(bytes(KEY_BYTES)))

    assert {path: path.read_bytes() for path in sealed_key_files(pki)} == before
