"""The right binary is found, and a wrong one is refused in one line."""

import stat
from pathlib import Path

import pytest

from mutua.runtime.envoy import EnvoyMissing, envoy_command, find_envoy, read_version


def script(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_packaged_binary_is_found_and_runs() -> None:
    binary = find_envoy()

    assert binary.is_absolute()
    assert read_version(binary) >= (1, 37, 0)


def test_another_binary_may_be_chosen(tmp_path: Path) -> None:
    chosen = script(tmp_path / "envoy", "envoy  version: abc123/1.41.2/Clean/RELEASE/BoringSSL")

    assert find_envoy(chosen) == chosen


BUILD = "Clean/RELEASE/BoringSSL"
REFUSED = [
    pytest.param(f"envoy  version: abc/1.20.0/{BUILD}", "version 1.20.0", id="too old"),
    pytest.param(f"envoy  version: abc/2.0.0/{BUILD}", "version 2.0.0", id="too new"),
    pytest.param("hello", "is not Envoy", id="something else"),
]


@pytest.mark.parametrize(("says", "message"), REFUSED)
def test_an_unsuitable_binary_is_refused(tmp_path: Path, says: str, message: str) -> None:
    with pytest.raises(EnvoyMissing, match=message) as refused:
        find_envoy(script(tmp_path / "envoy", says))
    assert "--envoy" in refused.value.hint


def test_a_missing_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvoyMissing, match="no Envoy binary"):
        find_envoy(tmp_path / "nowhere")


def test_a_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "envoy").write_text("not a program")
    with pytest.raises(EnvoyMissing, match="does not run"):
        find_envoy(tmp_path / "envoy")


def test_the_command_line_is_istios() -> None:
    command = envoy_command("/envoy", "/etc/envoy.json", concurrency=2)

    assert command[:2] == ("/envoy", "--disable-hot-restart")
    assert dict(zip(command[2::2], command[3::2], strict=True)) == {
        "--config-path": "/etc/envoy.json",
        "--concurrency": "2",
        "--drain-time-s": "45",
        "--drain-strategy": "immediate",
        "--local-address-ip-version": "v4",
        "--file-flush-interval-msec": "1000",
        "--log-level": "warning",
    }
