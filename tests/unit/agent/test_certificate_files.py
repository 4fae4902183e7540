import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from mutua.agent.certificate_files import remove_certificates, write_certificates
from mutua.agent.secret import WorkloadSecret
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.keys import parse_key
from mutua.identity.renewal import schedule
from mutua.identity.x509 import parse_certificates

WEB = SpiffeId("cluster.local", "shop", "web")
NAMES = ["cert-chain.pem", "key.pem", "root-cert.pem"]


def secret(authority: Authority) -> WorkloadSecret:
    request = new_request(WEB)
    issued = authority.sign(request.csr_pem, WEB, timedelta(hours=24))
    return WorkloadSecret(
        key=request.key,
        issued=issued,
        bundle=issued.bundle,
        schedule=schedule(issued.validity, draw=0.5),
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "certs"


def test_the_three_files_hold_what_they_are_named_for(
    authority: Authority, directory: Path
) -> None:
    content = secret(authority)

    write_certificates(directory, content)

    assert [(directory / name).read_text() for name in NAMES] == [
        content.issued.chain_pem,
        content.key.pem(),
        authority.roots_pem,
    ]
    assert sorted(p.name for p in directory.glob("[!.]*")) == NAMES


def test_only_the_owner_reads_the_key(authority: Authority, directory: Path) -> None:
    before = os.umask(0)
    try:
        write_certificates(directory, secret(authority))
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((directory / name).stat().st_mode) for name in NAMES]
    assert modes == [0o644, 0o600, 0o644]


def test_the_directory_can_be_mounted_elsewhere(authority: Authority, directory: Path) -> None:
    write_certificates(directory, secret(authority))

    assert not any((directory / name).readlink().is_absolute() for name in [*NAMES, "..data"])


def test_earlier_versions_and_what_a_crash_left_are_removed(
    authority: Authority, directory: Path
) -> None:
    write_certificates(directory, secret(authority))
    (directory / "..0123").mkdir()
    (directory / "..0123" / "key.pem").write_text("half a key")
    (directory / "..4567.link").symlink_to("..0123")

    for _ in range(3):
        write_certificates(directory, secret(authority))

    hidden = sorted(p.name for p in directory.glob("..?*"))
    assert len(hidden) == 2
    assert "..data" in hidden


def test_a_reader_never_sees_a_key_and_a_certificate_that_differ(
    authority: Authority, directory: Path
) -> None:
    pool = [secret(authority) for _ in range(4)]
    write_certificates(directory, pool[0])
    has_seen_all = threading.Event()

    def write() -> None:
        for turn in range(30_000):
            if turn > 300 and has_seen_all.is_set():
                return
            write_certificates(directory, pool[turn % len(pool)])

    def read() -> tuple[str, str] | None:
        texts = []
        try:
            handle = os.open(directory / "..data", os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in NAMES[:2]:
                    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=handle)) as file:
                        texts.append(file.read())
            finally:
                os.close(handle)
        except FileNotFoundError:
            return None  # this version was removed meanwhile: open ..data again
        return texts[0], texts[1]

    writer = threading.Thread(target=write)
    writer.start()
    seen: set[tuple[str, str]] = set()
    while writer.is_alive():
        if (pair := read()) is not None:
            seen.add(pair)
        if len(seen) == len(pool):
            has_seen_all.set()

    assert len(seen) == len(pool)
    for chain, key in seen:
        assert parse_certificates(chain)[0].public_key() == parse_key(key).public


def test_a_write_that_fails_leaves_no_new_key_behind(authority: Authority, directory: Path) -> None:
    (directory / "..data" / "content").mkdir(parents=True)  # cannot be replaced by a link

    with pytest.raises(OSError, match="directory"):
        write_certificates(directory, secret(authority))

    assert [*directory.iterdir()] == [directory / "..data"]


def test_removal_leaves_nothing_and_may_be_repeated(authority: Authority, directory: Path) -> None:
    write_certificates(directory, secret(authority))

    remove_certificates(directory)
    remove_certificates(directory)

    assert [*directory.iterdir()] == []
