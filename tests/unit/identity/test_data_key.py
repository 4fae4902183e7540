import json
import stat
import sys
from pathlib import Path

import pytest

from mutua.foundation.errors import Rejected, Unavailable
from mutua.identity import key_command
from mutua.identity.data_key import (
    ByCommand,
    ByPassphrase,
    DataKey,
    Protection,
    Unprotected,
    WrongPassphrase,
    create_data_key,
    protect_data_key,
    protection_of,
    unlock_data_key,
)
from mutua.identity.key_command import KeyCommand
from mutua.identity.keyfile import Damaged

CHEAP = 2**15
"""The least that is accepted: guessing is not the subject."""

PASSPHRASE = "correct horse battery"

KMS = """
import base64, sys
given = sys.stdin.buffer.read()
flip = lambda text: bytes(one ^ 0x55 for one in text)
sys.stdout.buffer.write(flip(given))
"""


def never() -> str:
    raise AssertionError("no passphrase is needed")


def command(folder: Path, body: str) -> KeyCommand:
    script = folder / "kms.py"
    script.write_text(body)
    return KeyCommand((sys.executable, str(script)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.key"


@pytest.fixture(params=["none", "passphrase", "command"])
def protection(request: pytest.FixtureRequest, tmp_path: Path) -> Protection:
    made: dict[str, Protection] = {
        "none": Unprotected(),
        "passphrase": ByPassphrase(PASSPHRASE, n=CHEAP),
        "command": ByCommand(command(tmp_path, KMS)),
    }
    return made[request.param]


def test_the_same_key_comes_back(path: Path, protection: Protection) -> None:
    create_data_key(path, protection)

    first = unlock_data_key(path, lambda: PASSPHRASE)
    second = unlock_data_key(path, lambda: PASSPHRASE)

    assert first == second
    assert first.is_protected == (protection.kind != "none")
    assert protection_of(path) == protection.kind
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_protected_key_is_not_in_its_file(path: Path, protection: Protection) -> None:
    create_data_key(path, protection)
    key = unlock_data_key(path, lambda: PASSPHRASE)

    text = json.loads(key.to_json())["key"]

    assert (text in path.read_text()) == (protection.kind == "none")
    assert key.key not in path.read_bytes()


def test_an_existing_key_is_not_replaced(path: Path) -> None:
    create_data_key(path, Unprotected())
    before = path.read_bytes()

    create_data_key(path, Unprotected())

    assert path.read_bytes() == before


def test_a_change_of_protection_keeps_the_key(path: Path, protection: Protection) -> None:
    create_data_key(path, Unprotected())
    key = unlock_data_key(path, never)

    protect_data_key(path, key, protection)

    assert unlock_data_key(path, lambda: PASSPHRASE).key == key.key
    assert protection_of(path) == protection.kind


def test_a_wrong_passphrase_is_one_clear_line_and_changes_nothing(path: Path) -> None:
    create_data_key(path, ByPassphrase(PASSPHRASE, n=CHEAP))
    before = path.read_bytes()

    with pytest.raises(WrongPassphrase, match="does not open") as refusal:
        unlock_data_key(path, lambda: "correct horse batterx")

    assert path.read_bytes() == before
    assert "batter" not in str(refusal.value)


def test_a_short_passphrase_is_refused_and_no_key_is_made(path: Path) -> None:
    with pytest.raises(Rejected, match="fewer than 8"):
        create_data_key(path, ByPassphrase("short"))

    assert not path.exists()


@pytest.mark.parametrize("n", [2, 2**14, 2**40])
def test_parameters_of_a_forged_file_are_bounded(path: Path, n: int) -> None:
    create_data_key(path, ByPassphrase(PASSPHRASE, n=CHEAP))
    forged = json.loads(path.read_text())
    forged["scrypt"]["n"] = n
    path.write_text(json.dumps(forged))

    with pytest.raises(Damaged, match="not a data key"):
        unlock_data_key(path, lambda: PASSPHRASE)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"version":1,"keyId":"","protection":"x"}']
)
def test_what_is_no_data_key_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(Damaged, match="not a data key"):
        unlock_data_key(path, never)
    assert path.read_text() == content


def test_a_key_of_another_name_is_refused(path: Path) -> None:
    create_data_key(path, Unprotected())
    forged = json.loads(path.read_text()) | {"keyId": "0123456789abcdef"}
    path.write_text(json.dumps(forged))

    with pytest.raises(Damaged, match="0123456789abcdef"):
        unlock_data_key(path, never)


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    create_data_key(path, Unprotected())
    path.chmod(0o644)

    with pytest.raises(Damaged, match="readable by others"):
        unlock_data_key(path, never)


def test_the_key_travels_as_json_and_does_not_show() -> None:
    key = DataKey(bytes(range(32)), is_protected=True)

    assert DataKey.from_json(key.to_json()) == key
    assert repr(key).endswith("redacted)")


@pytest.mark.parametrize("text", ["", "{}", '{"key":"AAAA","isProtected":true}', "[1]"])
def test_what_is_no_key_on_the_pipe_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="no data key"):
        DataKey.from_json(text)


ECHO = "import sys; sys.stdout.write(sys.stdin.read())"

BAD_COMMANDS = [
    pytest.param(ECHO, "the key itself", id="it does not encrypt"),
    pytest.param("pass", "empty", id="it prints nothing"),
    pytest.param("import sys; sys.exit('access denied')", "access denied", id="it fails"),
    pytest.param("print('x' * 100_000)", "longer than", id="it prints too much"),
    pytest.param("print('no sense')", "not one line", id="unwrap prints no base64"),
    pytest.param("print('bm9uc2Vuc2U=')", "does not give back", id="unwrap prints another key"),
]


@pytest.mark.parametrize(("body", "complaint"), BAD_COMMANDS)
def test_a_command_that_does_not_do_is_refused_before_anything_depends_on_it(
    path: Path, tmp_path: Path, body: str, complaint: str
) -> None:
    create_data_key(path, Unprotected())
    before = path.read_bytes()
    key = unlock_data_key(path, never)

    with pytest.raises((Rejected, Unavailable), match=complaint):
        protect_data_key(path, key, ByCommand(command(tmp_path, body)))

    assert path.read_bytes() == before


def test_what_a_command_complains_of_does_not_show_the_key(tmp_path: Path) -> None:
    leaky = command(tmp_path, "import sys; sys.exit('cannot wrap ' + sys.stdin.read())")

    with pytest.raises(Unavailable, match=r"cannot wrap \[redacted\]"):
        leaky.wrap(bytes(range(32)))


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_command, "PATIENCE", 0.5)

    with pytest.raises(Unavailable, match="no answer within"):
        command(tmp_path, "import time; time.sleep(60)").wrap(bytes(32))


@pytest.mark.parametrize("text", ["", "'", "/nonexistent/program --key 1"])
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="--kms-command"):
        KeyCommand.parse(text)


def test_a_command_is_found_once_and_run_without_a_shell() -> None:
    parsed = KeyCommand.parse("cat '; echo' $HOME")

    assert parsed.argv[0].startswith("/")
    assert parsed.argv[1:] == ("; echo", "$HOME")
