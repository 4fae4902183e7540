"""Which mesh does this command speak about, and where are its files?

Flags come first, then the environment, then defaults.  This is the only module that reads the
environment for that; everything below it gets a `Layout`.

    --name       MUTUA_NAME        mutua
    --state-dir  MUTUA_STATE_DIR   $XDG_STATE_HOME/mutua/NAME, else ~/.local/state/mutua/NAME
    (run dir)    XDG_RUNTIME_DIR   $XDG_RUNTIME_DIR/mutua/…, else /tmp/mutua-UID/…
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mutua.foundation.errors import Rejected, Unavailable
from mutua.foundation.layout import Layout

DEFAULT_NAME: Final = "mutua"

DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""A mesh's name: a DNS label, 40 characters at most, since it is part of file names."""

MAX_RUN_PATH: Final = 44
"""Longest run directory in bytes: 107 (unix(7)) minus the longest socket below it,
"/pods/" + a uid of 36 + "/proxy/socket", with room to spare."""


def resolve_layout(
    name: str | None, state_dir: str | None, *, environ: Mapping[str, str], uid: int
) -> Layout:
    """Return the directories of the mesh that flags and environment name; touches nothing.

    Args:
        name: `--name`, or None.
        state_dir: `--state-dir`, or None.
        environ: The process environment.
        uid: The caller's user id.

    Raises:
        Rejected: The name is not a DNS label, or there is no home to keep state in.
    """
    chosen = name or environ.get("MUTUA_NAME") or DEFAULT_NAME
    if not DNS_LABEL.fullmatch(chosen):
        raise Rejected(
            f"{chosen!r} is not a mesh name",
            hint="use lower-case letters, digits and dashes, 40 characters at most",
        )
    state = _state_dir(chosen, state_dir, environ)
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime, "mutua") if runtime else Path(f"/tmp/mutua-{uid}")  # noqa: S108
    if len(os.fsencode(base / digest)) > MAX_RUN_PATH or (runtime and not Path(runtime).is_dir()):
        base = Path(f"/tmp/mutua-{uid}")  # noqa: S108 - checked for ownership before use
    return Layout(name=chosen, state=state, run=base / digest)


def _state_dir(name: str, flag: str | None, environ: Mapping[str, str]) -> Path:
    if explicit := flag or environ.get("MUTUA_STATE_DIR"):
        return Path(explicit).absolute()
    if xdg := environ.get("XDG_STATE_HOME"):
        return Path(xdg).absolute() / "mutua" / name
    home = Path(environ.get("HOME") or "/nonexistent")
    if not home.is_dir():
        raise Rejected(
            f"no home directory to keep the mesh's state in ({home})",
            hint="pass --state-dir DIRECTORY",
        )
    return home / ".local" / "state" / "mutua" / name


def create_directories(layout: Layout, *, uid: int) -> None:
    """Create the mesh's directories, private to the caller.

    Raises:
        Unavailable: They cannot be created.
        Rejected: One of them exists and belongs to somebody else (a planted directory in /tmp).
    """
    for directory in (layout.state, layout.run.parent, layout.run, layout.pki, layout.logs):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"cannot create {directory}: {error.strerror}",
                hint="pass --state-dir with a directory that you can write",
            ) from error
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
            ours = directory in {layout.run, layout.run.parent}
            hint = "remove it, or set XDG_RUNTIME_DIR" if ours else "pass another --state-dir"
            raise Rejected(f"{directory} is not a directory of yours", hint=hint)
    layout.state.chmod(0o700)
    layout.run.parent.chmod(0o700)
    layout.run.chmod(0o700)
