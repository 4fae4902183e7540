"""`mutua ca protect`: change what protects the mesh's data key."""

import os
from pathlib import Path

import click

from mutua.cli import lock
from mutua.cli.data_key import ask_new_passphrase, chosen, unlocked
from mutua.cli.main import layout_of, mesh_options
from mutua.cli.settings import create_directories
from mutua.foundation.errors import Rejected
from mutua.identity.data_key import (
    FILE_NAME,
    ByPassphrase,
    DataKey,
    Unprotected,
    create_data_key,
    protect_data_key,
    protection_of,
)
from mutua.identity.sealed_files import align_key_files


@click.command()
@mesh_options
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase on the terminal.")
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="The passphrase is the first line of this file, which only you may read.",
)
@click.option("--kms-command", default="", help="`CMD wrap` and `CMD unwrap` keep the data key.")
@click.option("--none", "nothing", is_flag=True, help="Only the file's mode protects it.")
@click.option(
    "--current-passphrase-file",
    type=click.Path(path_type=Path),
    help="Of the passphrase in force; without it, it is asked for on the terminal.",
)
def command(
    name: str | None,
    state_dir: str | None,
    current_passphrase_file: Path | None,
    passphrase_file: Path | None,
    kms_command: str,
    *,
    passphrase: bool,
    nothing: bool,
) -> None:
    """Protect the data key with a passphrase, a command, or nothing but its file's mode.

    Only the 32 bytes of the data key are wrapped anew.  Private keys in files are sealed, or
    opened with --none, at once when the mesh is down, else at the next `mutua up`.
    """
    if [passphrase, passphrase_file is not None, bool(kms_command), nothing].count(True) != 1:
        raise Rejected(
            "how is the data key to be protected?",
            hint="give one of --passphrase, --passphrase-file, --kms-command and --none",
        )
    layout = layout_of(name, state_dir)
    create_directories(layout, uid=os.getuid())
    path = layout.pki / FILE_NAME
    protection = (
        ByPassphrase(ask_new_passphrase())
        if passphrase
        else chosen(passphrase_file, kms_command) or Unprotected()
    )
    is_running = lock.holder(layout) is not None
    lock_fd = None if is_running else lock.acquire(layout)
    if protection_of(path) is None:
        create_data_key(path, protection)
        key = unlocked(layout, current_passphrase_file, known=protection)
    else:
        key = unlocked(layout, current_passphrase_file)
        protect_data_key(path, key, protection)
    click.echo(f"{path}: protection {protection_of(path)}")
    if lock_fd is None:
        click.echo("the mesh runs: its key files follow at the next `mutua up`", err=True)
        return
    is_protected = not isinstance(protection, Unprotected)
    for changed in align_key_files(layout.pki, DataKey(key.key, is_protected).sealer()):
        click.echo(f"{changed}: private key {'sealed' if is_protected else 'in clear'}")
    os.close(lock_fd)
