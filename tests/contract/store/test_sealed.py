"""Secrets of a durable store: sealed in the file, as they were for everybody else."""

import base64
import sqlite3
from pathlib import Path

import pytest

from mutua.api.object import CONFIG_MAPS, SECRETS, Object
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import MutuaError, Rejected
from mutua.identity.sealing import KEY_BYTES, Sealer
from mutua.store.port import Event
from mutua.store.sqlite import SqliteStore, sealed_with

SEALER = Sealer(bytes(range(KEY_BYTES)))
VALUE = base64.b64encode(b"the key of the plugged-in CA").decode()
NEWER = base64.b64encode(b"the key that came after it..").decode()


def secret(value: str, name: str = "cacerts") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "istio-system"},
        "data": {"ca-key.pem": value},
    }


def store(folder: Path, sealer: Sealer | None = SEALER) -> SqliteStore:
    return SqliteStore(folder / "mesh.db", SystemClock(), sealing=sealer)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("mesh.db*")))


async def write(opened: SqliteStore) -> None:
    """Create, change, and delete: every kind of row there is."""
    made = await opened.create(SECRETS, secret(VALUE))
    await opened.update(SECRETS, made | {"data": {"ca-key.pem": NEWER}})
    await opened.create(SECRETS, secret(VALUE, "gone"))
    await opened.delete(SECRETS, "istio-system", "gone")


async def changes(opened: SqliteStore) -> list[Event]:
    found: list[Event] = []
    async for event in opened.watch(SECRETS, since=0):
        found.append(event)
        if len(found) == 4:
            break
    return found


async def test_no_version_of_a_secret_is_in_the_file(tmp_path: Path) -> None:
    opened = store(tmp_path)
    await write(opened)
    other = {"metadata": {"name": "c", "namespace": "x"}, "data": {"a": "clear"}}
    await opened.create(CONFIG_MAPS, other)

    while_open = on_disk(tmp_path)
    opened.close()

    for content in (while_open, on_disk(tmp_path)):
        assert VALUE.encode() not in content
        assert NEWER.encode() not in content
        assert b"clear" in content


async def test_secrets_and_their_history_survive_a_restart(tmp_path: Path) -> None:
    first = store(tmp_path)
    await write(first)
    before = await changes(first)
    first.close()

    again = store(tmp_path)

    assert (await again.get(SECRETS, "istio-system", "cacerts"))["data"] == {"ca-key.pem": NEWER}
    assert await changes(again) == before
    again.close()


async def test_a_file_with_clear_secrets_is_rewritten_and_nothing_clear_stays(
    tmp_path: Path,
) -> None:
    clear = store(tmp_path, None)
    await write(clear)
    before = await changes(clear)
    clear.close()
    assert VALUE.encode() in on_disk(tmp_path)

    migrated = store(tmp_path)

    assert await changes(migrated) == before
    while_open = on_disk(tmp_path)
    migrated.close()
    for content in (while_open, on_disk(tmp_path)):
        assert VALUE.encode() not in content
        assert NEWER.encode() not in content
    assert sealed_with(tmp_path / "mesh.db") == SEALER.key_id


async def test_a_rewrite_that_was_interrupted_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = store(tmp_path, None)
    await write(clear)
    clear.close()

    with monkeypatch.context() as patch:
        patch.setattr("mutua.store.sqlite.SqliteJournal._scrub", lambda _self: None)
        store(tmp_path).close()  # sealed, but the pages of before are still there
    store(tmp_path).close()

    assert VALUE.encode() not in on_disk(tmp_path)


@pytest.mark.parametrize("sealer", [None, Sealer(bytes(KEY_BYTES))], ids=["none", "another"])
async def test_without_the_data_key_the_file_is_left_alone(
    tmp_path: Path, sealer: Sealer | None
) -> None:
    opened = store(tmp_path)
    await write(opened)
    opened.close()
    before = on_disk(tmp_path)

    with pytest.raises(Rejected, match=SEALER.key_id):
        store(tmp_path, sealer)

    assert on_disk(tmp_path) == before
    store(tmp_path).close()


async def test_a_secret_moved_to_another_name_is_refused(tmp_path: Path) -> None:
    opened = store(tmp_path)
    await write(opened)
    opened.close()
    db = sqlite3.connect(tmp_path / "mesh.db")
    db.execute("update objects set name='stolen' where name='cacerts'")
    db.commit()
    db.close()

    with pytest.raises(MutuaError, match=r"secrets istio-system/stolen.*belongs elsewhere"):
        store(tmp_path)


async def test_a_clear_secret_slipped_into_a_sealed_file_is_refused(tmp_path: Path) -> None:
    opened = store(tmp_path)
    await write(opened)
    opened.close()
    db = sqlite3.connect(tmp_path / "mesh.db")
    db.execute("update objects set body='{}' where name='cacerts'")
    db.commit()
    db.close()

    with pytest.raises(MutuaError, match=r"secrets istio-system/cacerts.*not a sealed text"):
        store(tmp_path)
