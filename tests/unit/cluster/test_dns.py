"""How many questions a client may ask; tests/netns/network/test_dns.py asks real ones."""

from mutua.cluster.dns import RateLimit


def admitted(limit: RateLimit, client: str, now: float, questions: int) -> int:
    return sum(limit.admits(client, now) for _ in range(questions))


def test_a_burst_is_admitted_and_then_the_rate() -> None:
    limit = RateLimit(rate=10, burst=20)

    counts = [admitted(limit, "pod", now, 100) for now in (0.0, 1.0, 1.5, 100.0)]

    assert counts == [20, 10, 5, 20]


def test_clients_do_not_share() -> None:
    limit = RateLimit(rate=10, burst=20)

    counts = [admitted(limit, client, 0.0, 100) for client in ("one", "two")]

    assert counts == [20, 20]


def test_a_clock_that_steps_back_admits_nothing_extra() -> None:
    limit = RateLimit(rate=10, burst=20)
    admitted(limit, "pod", 10.0, 100)

    assert admitted(limit, "pod", 5.0, 100) == 0


def test_only_so_many_clients_are_remembered() -> None:
    limit = RateLimit(rate=0, burst=1, clients=2)
    for client in ("one", "two", "three"):
        assert limit.admits(client, 0.0)

    assert [limit.admits(client, 0.0) for client in ("three", "two")] == [False, False]
    assert limit.admits("one", 0.0)
