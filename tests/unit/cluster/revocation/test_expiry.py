from datetime import UTC, datetime, timedelta

from mutua.cluster.revocation.expiry import Deadlines, Due, limit
from mutua.identity.renewal import Validity

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_what_was_open_at_a_renewal_ends_with_the_old_certificate_and_nothing_else() -> None:
    deadlines = Deadlines()
    deadlines.certified("web", NOW + 2 * MINUTE)
    deadlines.note("web", NOW + MINUTE, frozenset({1, 2}))

    assert [*deadlines.due(NOW)] == []
    assert [*deadlines.due(NOW + MINUTE)] == [Due("web", frozenset({1, 2}))]
    assert [*deadlines.due(NOW + MINUTE)] == []


def test_without_a_new_certificate_everything_ends_as_long_as_there_is_none() -> None:
    deadlines = Deadlines()
    deadlines.certified("web", NOW)

    assert [*deadlines.due(NOW)] == [Due("web", None)]
    assert [*deadlines.due(NOW + MINUTE)] == [Due("web", None)]

    deadlines.certified("web", NOW + 3 * MINUTE)

    assert [*deadlines.due(NOW + MINUTE)] == []


def test_a_slept_through_expiry_is_due_on_waking() -> None:
    deadlines = Deadlines()
    deadlines.certified("web", NOW + timedelta(days=2))
    deadlines.note("web", NOW + MINUTE, frozenset({1}))
    deadlines.note("web", NOW + 2 * MINUTE, frozenset({2}))

    assert [*deadlines.due(NOW + timedelta(days=1))] == [Due("web", frozenset({1, 2}))]


def test_a_pod_that_is_gone_is_due_no_more() -> None:
    deadlines = Deadlines()
    deadlines.certified("web", NOW)
    deadlines.note("web", NOW, frozenset({1}))

    deadlines.remove("web")

    assert [*deadlines.due(NOW)] == []
    assert deadlines.dump() == {}


def test_a_late_renewal_leaves_http_connections_the_time_to_end_in_order() -> None:
    old = Validity(not_before=NOW - 10 * MINUTE, not_after=NOW)

    def limit_of(replaced: datetime) -> datetime:
        return limit(old, replaced=replaced)

    assert limit_of(NOW - 5 * MINUTE) == NOW
    assert limit_of(NOW - 4 * MINUTE) == NOW
    assert limit_of(NOW - MINUTE) == NOW + 3 * MINUTE
    assert limit_of(NOW) == NOW
    assert limit_of(NOW + MINUTE) == NOW
