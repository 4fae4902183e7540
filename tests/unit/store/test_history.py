import pytest

from mutua.api.object import CONFIG_MAPS, SECRETS, Key, Resource
from mutua.store.history import Change, History
from mutua.store.port import EventType, Expired


def change(version: int, resource: Resource = CONFIG_MAPS) -> Change:
    return Change(version, Key(resource, "shop", "a"), EventType.ADDED, b"{}", None)


def test_changes_after_a_position_come_in_order() -> None:
    history = History()
    for version in (1, 3, 4):
        history.append(change(version))

    assert [c.version for c in history.since(CONFIG_MAPS, 1)] == [3, 4]
    assert [c.version for c in history.since(CONFIG_MAPS, 2)] == [3, 4]
    assert list(history.since(CONFIG_MAPS, 4)) == []


def test_kinds_do_not_share_room() -> None:
    history = History(capacity=2)
    history.append(change(1, SECRETS))
    for version in range(2, 20):
        history.append(change(version))

    assert [c.version for c in history.since(SECRETS, 0)] == [1]
    with pytest.raises(Expired, match="too old resource version: 1"):
        history.since(CONFIG_MAPS, 1)


def test_at_least_the_capacity_is_kept() -> None:
    history = History(capacity=10)
    for version in range(1, 100):
        history.append(change(version))

    assert [c.version for c in history.since(CONFIG_MAPS, 89)] == list(range(90, 100))


def test_what_a_journal_forgot_is_expired() -> None:
    history = History()
    history.forget(SECRETS, 7)

    with pytest.raises(Expired):
        history.since(SECRETS, 6)
    assert list(history.since(SECRETS, 7)) == []
