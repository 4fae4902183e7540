"""/etc/certs: three files that change together.

A reader must never see a new certificate with an old key.  So the files are links into a
directory that is replaced as a whole, by renaming one link (as the kubelet does for volumes):

    cert-chain.pem -> ..data/cert-chain.pem        ..data -> ..7f3a…/
    key.pem        -> ..data/key.pem
    root-cert.pem  -> ..data/root-cert.pem

A reader that opens `..data` once and reads through that descriptor gets a matching pair even
while it is replaced.  Nothing is synced: the directory is volatile, and after a reboot there are
new keys.
"""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mutua.agent.secret import WorkloadSecret

CURRENT: Final = "..data"
"""Name of the link that is renamed."""

CHAIN, KEY, ROOT = "cert-chain.pem", "key.pem", "root-cert.pem"
"""File names.  Source: istio pkg/istio-agent, OUTPUT_CERTS."""

MODES: Final = {CHAIN: 0o644, KEY: 0o600, ROOT: 0o644}
"""The key is for its owner, certificates are public."""


def write_certificates(directory: Path, secret: WorkloadSecret) -> None:
    """Put a workload's key, chain and roots into a directory, in one step.

    Args:
        directory: Created when missing; whatever else an earlier call left there is removed.
        secret: What to write.

    Raises:
        OSError: The old files are all still there, or none were.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    version = directory / f"..{secrets.token_hex(8)}"
    try:
        _fill(
            version,
            {
                CHAIN: secret.issued.chain_pem,
                KEY: secret.key.pem(),
                ROOT: secret.bundle.roots_pem,
            },
        )
        _link(directory / CURRENT, version.name)
    except OSError:
        shutil.rmtree(version, ignore_errors=True)
        raise
    for name in MODES:
        _link(directory / name, f"{CURRENT}/{name}")
    _sweep(directory, keep=version.name)


def remove_certificates(directory: Path) -> None:
    """Remove what `write_certificates` wrote; leave the directory."""
    for name in (*MODES, CURRENT):
        (directory / name).unlink(missing_ok=True)
    if directory.is_dir():
        _sweep(directory, keep="")


def _fill(version: Path, content: Mapping[str, str]) -> None:
    version.mkdir(mode=0o700)
    for name, text in content.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(version / name, flags, MODES[name]), "w") as file:
            file.write(text)


def _link(link: Path, target: str) -> None:
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = link.with_name(f"..{secrets.token_hex(8)}.link")
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink()
        raise


def _sweep(directory: Path, *, keep: str) -> None:
    """Remove earlier versions, and what a crash left half made."""
    for path in directory.glob("..?*"):
        if path.name in {keep, CURRENT}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
