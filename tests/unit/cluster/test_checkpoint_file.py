import json
from pathlib import Path
from typing import Any

import pytest

from mutua.api.destination import parse_destination_rule
from mutua.api.object import Object
from mutua.api.security import parse_peer_authentication
from mutua.cluster.checkpoint_file import CONSEQUENCE, CheckpointFile
from mutua.controlplane.checkpoint import Checkpoint
from mutua.controlplane.epoch import intent_of
from mutua.testing.mesh import destination_rule, peer_authentication

BOOT = "one"
POLICY = parse_peer_authentication(peer_authentication("shop", "STRICT"))
RULE = parse_destination_rule(destination_rule("shop", "web", {"tls": {"mode": "DISABLE"}}))
INTENT = intent_of(1, (POLICY,), (RULE,), "istio-system")
AT_REST = Checkpoint(INTENT, INTENT, (), (INTENT,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.json"


def test_what_was_written_is_read(path: Path) -> None:
    CheckpointFile(path, BOOT).write(AT_REST)
    found = CheckpointFile(path, BOOT).read()
    assert found is not None
    assert (found.target.policies, found.target.rules) == ((POLICY,), (RULE,))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_without_a_file_or_after_a_reboot_there_is_nothing_to_go_on_from(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert CheckpointFile(path, BOOT).read() is None
    CheckpointFile(path, BOOT).write(AT_REST)
    assert CheckpointFile(path, "two").read() is None
    assert caplog.messages == []


def _with(path: Path, **changes: Any) -> None:
    CheckpointFile(path, BOOT).write(AT_REST)
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "checkpoint": {**found["checkpoint"], **changes}}))


def _broken(obj: Object) -> Object:
    return {**obj, "spec": {"mtls": {"mode": "SOMETIMES"}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 0},
        {"target": 7},
        {"dial": None},
        {"objects": []},
        {"objects": [peer_authentication("shop", "STRICT")] * 2},
        {"objects": [_broken(peer_authentication("shop", "STRICT")), RULE.source]},
        {"objects": [{"kind": "Pod"}, RULE.source]},
        {"intents": 3},
    ],
)
def test_what_cannot_be_understood_counts_as_nothing_and_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    _with(path, **changes)
    assert CheckpointFile(path, BOOT).read() is None
    assert caplog.messages == [CONSEQUENCE]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"boot": "one"}', "[" * 100_000])
def test_a_damaged_file_counts_as_nothing_and_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    path.write_text(content)
    assert CheckpointFile(path, BOOT).read() is None
    assert caplog.messages == [CONSEQUENCE]


def test_a_file_that_cannot_be_replaced_is_removed(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An older checkpoint would say that proxies are where they no longer are."""
    CheckpointFile(path, BOOT).write(AT_REST)
    path.with_suffix(".new").mkdir()
    CheckpointFile(path, BOOT).write(AT_REST)
    assert not path.exists()
    assert caplog.messages == [CONSEQUENCE]
