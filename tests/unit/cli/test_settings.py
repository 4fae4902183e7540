"""Which mesh, and where?"""

import os
from pathlib import Path

import pytest

from mutua.cli.settings import create_directories, resolve_layout
from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout

UID = 1000


def test_flags_win_over_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "MUTUA_NAME": "env", "MUTUA_STATE_DIR": "/env"}

    layout = resolve_layout("flag", str(tmp_path / "state"), environ=environ, uid=UID)

    assert (layout.name, layout.state) == ("flag", tmp_path / "state")


def test_the_environment_wins_over_the_default(tmp_path: Path) -> None:
    layout = resolve_layout(
        None, None, environ={"MUTUA_NAME": "a", "MUTUA_STATE_DIR": "/x"}, uid=UID
    )

    assert (layout.name, layout.state) == ("a", Path("/x"))


def test_state_is_kept_under_home_by_default(tmp_path: Path) -> None:
    layout = resolve_layout(None, None, environ={"HOME": str(tmp_path)}, uid=UID)

    assert layout.state == tmp_path / ".local/state/mutua/mutua"


def test_xdg_directories_are_honoured(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "s"), "XDG_RUNTIME_DIR": str(tmp_path)}

    layout = resolve_layout("m", None, environ=environ, uid=UID)

    assert layout.state == tmp_path / "s/mutua/m"


def test_two_meshes_never_share_a_run_directory(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    layouts = [
        resolve_layout("a", None, environ=environ, uid=UID),
        resolve_layout("b", None, environ=environ, uid=UID),
        resolve_layout("a", str(tmp_path / "elsewhere"), environ=environ, uid=UID),
    ]

    assert len({layout.run for layout in layouts}) == 3


def test_a_long_runtime_directory_is_not_used_since_socket_paths_are_short(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60)
    deep.mkdir()

    layout = resolve_layout(
        None, None, environ={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(deep)}, uid=UID
    )

    assert layout.run.parent == Path("/tmp/mutua-1000")


@pytest.mark.parametrize("name", ["Mesh", "a_b", "-a", "a-", "x" * 41, "a/b", ".."])
def test_a_name_that_is_no_dns_label_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="not a mesh name"):
        resolve_layout(name, None, environ={"HOME": str(tmp_path)}, uid=UID)


def test_without_a_home_the_flag_is_named() -> None:
    with pytest.raises(Rejected) as refused:
        resolve_layout(None, None, environ={"HOME": "/nonexistent"}, uid=UID)

    assert "--state-dir" in refused.value.hint


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Not the resolved one: a long run directory would fall back to the user's real one."""
    return Layout(name="x", state=tmp_path / "state", run=tmp_path / "mutua" / "run")


def test_directories_are_private(layout: Layout) -> None:
    create_directories(layout, uid=os.getuid())

    for directory in (layout.state, layout.run, layout.run.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert layout.pki.is_dir()


def test_a_directory_planted_by_somebody_else_is_refused(layout: Layout) -> None:
    with pytest.raises(Rejected, match="not a directory of yours"):
        create_directories(layout, uid=os.getuid() + 1)
