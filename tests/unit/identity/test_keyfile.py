import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from mutua.identity.keyfile import (
    Damaged,
    create_file,
    read_credential,
    replace_file,
    write_credential,
)
from mutua.identity.x509 import Credential, self_signed_ca
from mutua.testing.clock import ManualClock


@pytest.fixture
def credential() -> Credential:
    return self_signed_ca("ca", lifetime=timedelta(days=1), clock=ManualClock())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ca.pem"


def test_what_was_written_is_read_back_and_only_the_owner_may(
    path: Path, credential: Credential
) -> None:
    assert write_credential(path, credential)

    again = read_credential(path)

    assert (again.chain_pem, again.key.pem()) == (credential.chain_pem, credential.key.pem())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*path.parent.iterdir()] == [path]


def test_a_wide_umask_does_not_widen_the_file_and_a_narrow_one_does_not_narrow_it(
    path: Path, credential: Credential
) -> None:
    before = os.umask(0o377)
    try:
        write_credential(path, credential)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_second_creator_changes_nothing(path: Path, credential: Credential) -> None:
    other = self_signed_ca("other", lifetime=timedelta(days=1), clock=ManualClock())
    write_credential(path, credential)

    assert not write_credential(path, other)

    assert read_credential(path).chain_pem == credential.chain_pem
    assert [*path.parent.iterdir()] == [path]


def test_a_replacement_is_whole(path: Path, credential: Credential) -> None:
    other = self_signed_ca("other", lifetime=timedelta(days=1), clock=ManualClock())
    write_credential(path, credential)

    assert write_credential(path, other, replace=True)

    assert read_credential(path).chain_pem == other.chain_pem


def test_a_failed_write_leaves_neither_file_nor_temporary(tmp_path: Path) -> None:
    taken = tmp_path / "directory"
    (taken / "content").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        replace_file(taken, b"x")

    assert [*tmp_path.iterdir()] == [taken]


def test_a_link_under_the_final_name_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path.symlink_to(victim)

    assert not create_file(path, b"secret")
    replace_file(path, b"secret")

    assert victim.read_text() == "untouched"
    assert path.read_bytes() == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_key_that_others_may_read_is_refused(
    path: Path, credential: Credential, mode: int
) -> None:
    write_credential(path, credential)
    path.chmod(mode)

    with pytest.raises(Damaged, match="readable by others"):
        read_credential(path)


def test_a_key_with_somebody_elses_certificate_is_refused(
    path: Path, credential: Credential
) -> None:
    other = self_signed_ca("other", lifetime=timedelta(days=1), clock=ManualClock())
    write_credential(path, Credential(key=other.key, chain_pem=credential.chain_pem))

    with pytest.raises(Damaged, match="differ"):
        read_credential(path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused_and_its_content_not_shown(
    path: Path, credential: Credential, share: float
) -> None:
    write_credential(path, credential)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(Damaged) as refusal:
        read_credential(path)

    assert content.decode().splitlines()[1] not in str(refusal.value)
