"""Hosts of ServiceEntries get addresses that stay, are never given twice, and go with the entry."""

from typing import Any

import pytest

from mutua.api.object import SERVICE_ENTRIES, Object
from mutua.api.service_entry import ALLOCATED_RANGE
from mutua.cluster.controllers import entry_address
from mutua.testing.cluster import FakeCluster, running_cluster


def entry(name: str = "api", *hosts: str, labels: Any = None, **spec: Any) -> Object:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"namespace": "shop", "name": name, "labels": labels or {}},
        "spec": {"hosts": list(hosts or [f"{name}.com"]), "resolution": "STATIC", **spec},
    }


async def read(cluster: FakeCluster, name: str = "api") -> Object:
    return await cluster.store.get(SERVICE_ENTRIES, "shop", name)


async def addresses(cluster: FakeCluster, name: str = "api") -> dict[str, str]:
    given = ((await read(cluster, name)).get("status") or {}).get("addresses") or []
    return {one["host"]: one["value"] for one in given}


async def given(cluster: FakeCluster, name: str = "api", *hosts: str) -> dict[str, str]:
    """Return the addresses of an entry once exactly these hosts have one."""

    async def probe() -> dict[str, str] | None:
        found = await addresses(cluster, name)
        return found if list(found) == list(hosts or [f"{name}.com"]) else None

    found: dict[str, str] = await cluster.until(probe)
    return found


async def name_by_hand(cluster: FakeCluster, name: str, given: dict[str, str]) -> None:
    """Write addresses into a status as somebody who edits the subresource would."""
    status = {"addresses": [{"host": host, "value": value} for host, value in given.items()]}
    await cluster.store.update_status(
        SERVICE_ENTRIES, {**await read(cluster, name), "status": status}
    )


async def test_every_host_gets_an_address_of_its_own() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry("api", "a.com", "*.b.com", "C.com", "a.com"))
        await cluster.apply(SERVICE_ENTRIES, entry("db"))

        found = await given(cluster, "api", "a.com", "c.com")
        found |= await given(cluster, "db")

        assert len(set(found.values())) == 3
        assert all(entry_address._is_ours(ip) for ip in found.values())


@pytest.mark.parametrize(
    "unwilling",
    [
        pytest.param(entry(resolution="NONE"), id="goes where the client was going"),
        pytest.param(entry(addresses=["10.0.0.1"]), id="has addresses"),
        pytest.param(entry("api", "*.b.com"), id="has a wildcard only"),
        pytest.param(
            entry(labels={"networking.istio.io/enable-autoallocate-ip": "false"}), id="says no"
        ),
    ],
)
async def test_who_gets_none(unwilling: Object) -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, unwilling)
        await cluster.apply(SERVICE_ENTRIES, entry("other"))

        await given(cluster, "other")

        assert "status" not in await read(cluster)


async def test_an_address_stays_through_changes_and_restarts() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry("api", "a.com", "b.com"))
        before = await given(cluster, "api", "a.com", "b.com")

        await cluster.edit(SERVICE_ENTRIES, "api", lambda obj: obj["spec"]["hosts"].pop(0))
        await cluster.edit(SERVICE_ENTRIES, "api", lambda obj: obj["spec"]["hosts"].append("c.com"))
        after = await given(cluster, "api", "b.com", "c.com")

        assert after["b.com"] == before["b.com"]
        objects = (await cluster.store.list(SERVICE_ENTRIES)).items
    async with running_cluster() as restarted:
        for obj in objects:
            await restarted.apply(SERVICE_ENTRIES, obj)
        await restarted.apply(SERVICE_ENTRIES, entry("db"))

        assert (await given(restarted, "db"))["db.com"] not in after.values()
        assert await addresses(restarted) == after


async def test_other_status_is_left_alone() -> None:
    async with running_cluster() as cluster:
        conditions = [{"type": "Accepted", "status": "True"}]
        await cluster.apply(SERVICE_ENTRIES, entry() | {"status": {"conditions": conditions}})

        await given(cluster)

        assert (await read(cluster))["status"]["conditions"] == conditions


async def test_an_entry_that_stops_wanting_an_address_loses_it() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry())
        await given(cluster)

        await cluster.edit(
            SERVICE_ENTRIES, "api", lambda obj: obj["spec"].update(addresses=["10.0.0.1"])
        )

        async def gone() -> bool:
            return await addresses(cluster) == {}

        await cluster.until(gone)


async def test_a_deleted_entry_gives_its_address_back_and_gets_it_again() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry())
        before = await given(cluster)

        await cluster.store.delete(SERVICE_ENTRIES, "shop", "api")
        await cluster.apply(SERVICE_ENTRIES, entry())

        assert await given(cluster) == before


async def test_the_author_of_an_address_keeps_it() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry())
        before = (await given(cluster))["api.com"]

        await cluster.apply(SERVICE_ENTRIES, entry("db", addresses=[before, f"{before}/32"]))

        async def moved() -> bool:
            return (await addresses(cluster))["api.com"] != before

        await cluster.until(moved)
        await cluster.store.delete(SERVICE_ENTRIES, "shop", "db")
        await cluster.apply(SERVICE_ENTRIES, entry("new", "other.com"))
        await given(cluster, "new", "other.com")


async def test_entries_for_one_host_share_its_address() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry("one", "api.com"))
        first = await given(cluster, "one", "api.com")

        await cluster.apply(SERVICE_ENTRIES, entry("two", "API.com", "b.com"))
        second = await given(cluster, "two", "api.com", "b.com")

        assert second["api.com"] == first["api.com"] != second["b.com"]
        await cluster.store.delete(SERVICE_ENTRIES, "shop", "one")
        await cluster.settle()
        assert await addresses(cluster, "two") == second


async def test_hosts_of_one_entry_that_share_an_address_part() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry("api", "a.com", "b.com"))
        before = await given(cluster, "api", "a.com", "b.com")

        await name_by_hand(cluster, "api", {"a.com": before["a.com"], "b.com": before["a.com"]})

        async def parted() -> bool:
            return await addresses(cluster) == before

        await cluster.until(parted)


async def test_of_two_that_name_one_address_the_older_keeps_it() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry())
        await cluster.apply(SERVICE_ENTRIES, entry("db"))
        older, newer = (await given(cluster))["api.com"], (await given(cluster, "db"))["db.com"]

        await name_by_hand(cluster, "db", {"db.com": older})

        async def moved() -> bool:
            return (await addresses(cluster, "db"))["db.com"] != older

        await cluster.until(moved)
        assert (await addresses(cluster))["api.com"] == older
        assert (await addresses(cluster, "db"))["db.com"] == newer  # the one its name leads to


@pytest.mark.parametrize("value", ["10.0.0.1", "240.240.0.0", "240.240.255.255", "web", "::1"])
async def test_an_address_that_is_not_ours_is_replaced(value: str) -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICE_ENTRIES, entry())
        before = await given(cluster)

        await name_by_hand(cluster, "api", {"api.com": value})

        async def restored() -> bool:
            return await addresses(cluster) == before

        await cluster.until(restored)


async def test_when_all_are_given_the_next_one_waits_for_one_to_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = next(ALLOCATED_RANGE.subnets(new_prefix=30))  # two addresses besides its own
    monkeypatch.setattr(entry_address, "ALLOCATED_RANGE", small)
    async with running_cluster() as cluster:
        for name in ("a", "b", "c"):
            await cluster.apply(SERVICE_ENTRIES, entry(name))
        await given(cluster, "a")
        await given(cluster, "b")
        assert await addresses(cluster, "c") == {}

        await cluster.store.delete(SERVICE_ENTRIES, "shop", "a")

        await given(cluster, "c")
