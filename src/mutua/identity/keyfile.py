"""Secrets on disk: readable by their owner only, whole or absent, never half written.

A key and its certificate live in one file, so that no crash can leave a pair that does not match.
The file appears under its name only when its content is durable:

    write temporary (O_EXCL, 0600) -> fsync -> link or rename -> fsync of the directory

`create_file` links, which fails when the name is taken: of two processes that start at once one
creates the file, and both use it.  `replace_file` renames.

Whoever has a `Sealer` reads keys in clear and sealed, and writes them the way the sealer says.
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mutua.foundation.errors import Rejected
from mutua.identity.key_block import has_sealed_keys, open_keys, seal_keys
from mutua.identity.keys import Malformed, parse_key
from mutua.identity.sealing import Sealer, Unsealable, is_sealed
from mutua.identity.x509 import Credential, parse_certificates

SECRET_MODE: Final = 0o600
"""Owner reads and writes."""

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""Permission bits that a secret must not have."""


class Damaged(Rejected):
    """A file that holds a key cannot be used.  It is never repaired or replaced silently."""

    code = "identity.damaged_key_file"


def write_credential(
    path: Path, credential: Credential, *, replace: bool = False, sealer: Sealer | None = None
) -> bool:
    """Store a key with its certificate chain.

    Args:
        path: The file; its directory exists.
        credential: What to store.
        replace: Overwrite what is there.
        sealer: Seals the key, when it says so.

    Returns:
        False when a file was there already and was left alone.
    """
    text = credential.key.pem() + credential.chain_pem
    if sealer is not None and sealer.seals_files:
        text = seal_keys(text, sealer)
    if not replace:
        return create_file(path, text.encode())
    replace_file(path, text.encode())
    return True


def read_credential(path: Path, *, sealer: Sealer | None = None) -> Credential:
    """Read a key and its chain, and check that they belong together.

    Args:
        path: The file.
        sealer: Opens the key, when it is sealed.

    Raises:
        FileNotFoundError: There is no such file.
        Damaged: It is readable by others, not PEM, sealed otherwise, or key and certificate do not
            match.
    """
    text = read_secret(path).decode("ascii", errors="replace")
    if has_sealed_keys(text):
        text = _opened(path, text, sealer)
    try:
        credential = Credential(key=parse_key(text), chain_pem=_only_certificates(text))
        matches = credential.certificate.public_key() == credential.key.public
    except Malformed as error:
        raise Damaged(f"{path}: {error}", hint="restore it from a backup") from error
    if not matches:
        raise Damaged(f"{path}: key and certificate differ", hint="restore it from a backup")
    return credential


def read_secret(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        FileNotFoundError: There is no such file.
        Damaged: It is readable by others.
    """
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = file.read()
    if mode & OTHERS:
        raise Damaged(
            f"{path} holds a private key and is readable by others (mode {mode:04o})",
            hint=f"decide whether it has leaked; then: chmod 600 {path}",
        )
    return content


def write_key(path: Path, key: bytes, *, sealer: Sealer | None = None) -> bool:
    """Store a key that is bytes, not PEM, unless there is one; tell whether it was stored."""
    if sealer is not None and sealer.seals_files:
        key = sealer.seal(key, path.name)
    return create_file(path, key)


def read_key(path: Path, *, sealer: Sealer | None = None) -> bytes:
    """Read what `write_key` stored.

    Raises:
        FileNotFoundError: There is no such file.
        Damaged: It is readable by others, or sealed otherwise.
    """
    content = read_secret(path)
    if not is_sealed(content):
        return content
    try:
        return _needed(path, sealer).open(content, path.name)
    except Unsealable as error:
        raise Damaged(f"{path}: {error}", hint=error.hint) from error


def create_file(path: Path, content: bytes, *, mode: int = SECRET_MODE) -> bool:
    """Create a file with this content, durably; tell whether it was this call that did."""

    def link(temporary: Path) -> bool:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        return True

    return _publish(path, content, mode, link)


def replace_file(path: Path, content: bytes, *, mode: int = SECRET_MODE) -> None:
    """Create or replace a file, durably, in one step."""

    def rename(temporary: Path) -> bool:
        temporary.replace(path)
        return True

    _publish(path, content, mode, rename)


def _publish(path: Path, content: bytes, mode: int, publish: Callable[[Path], bool]) -> bool:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # the umask may have taken bits away
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        published = publish(temporary)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return published


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path, text: str, sealer: Sealer | None) -> str:
    try:
        return open_keys(text, _needed(path, sealer))
    except Unsealable as error:
        raise Damaged(f"{path}: {error}", hint=error.hint) from error


def _needed(path: Path, sealer: Sealer | None) -> Sealer:
    if sealer is None:
        raise Damaged(f"{path} is sealed", hint="it can be read by the mesh only")
    return sealer


def _only_certificates(text: str) -> str:
    """Cut the key off: what follows the first certificate's header is the chain."""
    start = text.find("-----BEGIN CERTIFICATE-----")
    chain = text[start:] if start >= 0 else ""
    parse_certificates(chain)
    return chain
