"""How `mutua up` and `mutua ca protect` come by the mesh's data key.

They unlock it, not the daemon: passphrases are asked for and KMS commands run here, in the
caller's terminal, network and environment.  The daemon is handed the key through a pipe.
"""

import getpass
import os
import stat
import sys
from pathlib import Path
from typing import Final

from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout
from mutua.identity.data_key import (
    FILE_NAME,
    ByCommand,
    ByPassphrase,
    DataKey,
    Protection,
    Unprotected,
    create_data_key,
    protection_of,
    unlock_data_key,
)
from mutua.identity.key_command import KeyCommand
from mutua.identity.keyfile import OTHERS, Damaged
from mutua.identity.sealed_files import align_key_files, sealed_key_files

LONGEST_FILE: Final = 4096
"""Bytes of a passphrase file that are read."""


def data_key_for_start(
    layout: Layout, *, passphrase_file: Path | None, kms_command: str
) -> DataKey:
    """Return the data key of a mesh that is about to start; make the key of a new one.

    The caller holds the mesh's lock.  Private keys in files are brought into the form that the
    protection asks for.

    Raises:
        Rejected: It cannot be opened, or another protection is asked for than the mesh has.
            Nothing has been changed.
        Unavailable: The command that unwraps it failed.
    """
    path = layout.pki / FILE_NAME
    found = protection_of(path)
    protection = chosen(passphrase_file, kms_command)
    if found is None:
        _require_nothing_sealed(layout)
        create_data_key(path, protection or Unprotected())
        key = unlocked(layout, passphrase_file, known=protection)
    else:
        if protection is not None and protection.kind != found:
            raise Rejected(
                f"the data key of mesh {layout.name!r} has protection {found!r}, "
                f"not {protection.kind!r}",
                hint="change it with `mutua ca protect`",
            )
        key = unlocked(layout, passphrase_file)
    align_key_files(layout.pki, key.sealer())
    return key


def chosen(passphrase_file: Path | None, kms_command: str) -> Protection | None:
    """Return the protection that options ask for, None when they ask for none.

    Raises:
        Rejected: Two are asked for, or one cannot be used.
    """
    if passphrase_file is not None and kms_command:
        raise Rejected("--passphrase-file and --kms-command exclude each other")
    if passphrase_file is not None:
        return ByPassphrase(read_passphrase(passphrase_file))
    return ByCommand(KeyCommand.parse(kms_command)) if kms_command else None


def unlocked(
    layout: Layout, passphrase_file: Path | None, *, known: Protection | None = None
) -> DataKey:
    """Unlock the mesh's data key, asking on the terminal for what no option says.

    Raises:
        Rejected: See `unlock_data_key`; or there is neither a passphrase file nor a terminal.
        Unavailable: The command that unwraps it failed.
    """

    def ask() -> str:
        if isinstance(known, ByPassphrase):
            return known.passphrase
        if passphrase_file is not None:
            return read_passphrase(passphrase_file)
        if not sys.stdin.isatty():
            raise Rejected(
                f"the data key of mesh {layout.name!r} is protected by a passphrase",
                hint="give --passphrase-file FILE (--current-passphrase-file to change it), "
                "or run this on a terminal",
            )
        return getpass.getpass(f"passphrase of mesh {layout.name!r}: ")

    return unlock_data_key(layout.pki / FILE_NAME, ask)


def read_passphrase(path: Path) -> str:
    """Return the first line of a file that only its owner may read.

    Raises:
        Rejected: It is missing, readable by others, empty or too long.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise Rejected(f"--passphrase-file: {path}: {error.strerror}") from error
    if mode & OTHERS:
        raise Rejected(
            f"--passphrase-file: {path} is readable by others (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
    line = content.split(b"\n", 1)[0].rstrip(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Rejected(f"--passphrase-file: {path} is not UTF-8 text") from None
    if not text or len(content) > LONGEST_FILE:
        raise Rejected(f"--passphrase-file: {path} is {'too long' if text else 'empty'}")
    return text


def ask_new_passphrase() -> str:
    """Ask for a new passphrase twice.

    Raises:
        Rejected: There is no terminal, or the two differ.
    """
    if not sys.stdin.isatty():
        raise Rejected("--passphrase needs a terminal", hint="use --passphrase-file FILE")
    first = getpass.getpass("new passphrase: ")
    if getpass.getpass("the same again: ") != first:
        raise Rejected("the two passphrases differ", hint="nothing has been changed")
    return first


def _require_nothing_sealed(layout: Layout) -> None:
    """Refuse to make a data key where one has been lost."""
    from mutua.store.sqlite import sealed_with

    sealed = [str(path) for path in sealed_key_files(layout.pki)]
    if sealed_with(layout.database):
        sealed.append(str(layout.database))
    if sealed:
        raise Damaged(
            f"{layout.pki / FILE_NAME} is missing, and cannot be done without: "
            + ", ".join(sealed),
            hint="restore it from a backup; nothing has been changed",
        )
