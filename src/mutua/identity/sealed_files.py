"""Key files of a stopped mesh follow the protection of the data key.

With protection every private key below the pki directory is sealed, without it none is.  A choice
that was made while the mesh ran, or whose execution was interrupted, is carried out at the next
start; until then both forms are read.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mutua.identity.data_key import FILE_NAME
from mutua.identity.key_block import has_clear_keys, has_sealed_keys, open_keys, seal_keys
from mutua.identity.keyfile import read_secret, replace_file
from mutua.identity.sealing import Sealer, Unsealable, is_sealed

TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{16}")
"""What `keyfile` writes before a file gets its name; a crash leaves it behind."""

LARGEST: Final = 1024 * 1024
"""Bytes; no file with a key comes near."""


def align_key_files(directory: Path, sealer: Sealer) -> list[Path]:
    """Seal or open the private keys below `directory`, as the sealer says; return what changed.

    Only the owner of the mesh's lock may call it: nobody else writes there meanwhile.

    Raises:
        Damaged: A file with a key is readable by others.
        Unsealable: A sealed key is damaged or of another data key; its file is left as it is.
    """
    changed = []
    for path in _files(directory):
        if TEMPORARY.fullmatch(path.name):
            path.unlink()
            continue
        before = _content(path)
        after = _aligned(path, before, sealer)
        if after != before:
            replace_file(path, after)
            changed.append(path)
    return changed


def sealed_key_files(directory: Path) -> list[Path]:
    """Return the files below `directory` that cannot be read without the data key."""
    return [path for path in _files(directory) if _is_sealed(_content(path))]


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.name != FILE_NAME and path.is_file() and not path.is_symlink():
            yield path


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        return b""
    content = path.read_bytes()
    has_secret = _is_sealed(content) or has_clear_keys(content.decode("latin-1"))
    return read_secret(path) if has_secret or path.suffix == ".key" else content


def _is_sealed(content: bytes) -> bool:
    return is_sealed(content) or has_sealed_keys(content.decode("latin-1"))


def _aligned(path: Path, content: bytes, sealer: Sealer) -> bytes:
    try:
        if path.suffix == ".key":  # bytes, not PEM
            if is_sealed(content) == sealer.seals_files or not content:
                return content
            move = sealer.seal if sealer.seals_files else sealer.open
            return move(content, path.name)
        text = content.decode("latin-1")
        if has_clear_keys(text) and sealer.seals_files:
            return seal_keys(text, sealer).encode("latin-1")
        if has_sealed_keys(text) and not sealer.seals_files:
            return open_keys(text, sealer).encode("latin-1")
    except Unsealable as error:
        raise Unsealable(f"{path}: {error}", hint=error.hint) from error
    return content
