"""The trust bundle is in every namespace, whatever anybody does to it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from mutua.api.object import CONFIG_MAPS, NAMESPACES, Object
from mutua.controlplane.root_cert import CRL_KEY, CRL_NAME, KEY, NAME, RootCertificatePublisher
from mutua.store.memory import MemoryStore
from mutua.store.port import NotFound
from mutua.testing.clock import ManualClock
from mutua.testing.polling import eventually
from mutua.testing.proxy import running

ROOTS = "-----BEGIN CERTIFICATE-----\n"


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def start(
    crl: Callable[[], str] = lambda: "",
) -> tuple[MemoryStore, RootCertificatePublisher]:
    store = MemoryStore(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    await store.create(NAMESPACES, namespace("shop"))
    return store, RootCertificatePublisher(store, lambda: ROOTS, crl)


async def published(store: MemoryStore, where: str) -> str:
    try:
        found: str = (await store.get(CONFIG_MAPS, where, NAME))["data"].get(KEY, "")
    except NotFound:
        return ""
    return found


async def test_it_is_there_when_ready_and_in_every_new_namespace() -> None:
    store, publisher = await start()
    async with running(publisher.run):
        assert await published(store, "shop") == ROOTS
        await store.create(NAMESPACES, namespace("later"))
        await eventually(lambda: published(store, "later"))


async def test_an_edited_or_deleted_copy_is_put_back() -> None:
    store, publisher = await start()
    async with running(publisher.run):
        edited = await store.get(CONFIG_MAPS, "shop", NAME)
        await store.update(CONFIG_MAPS, {**edited, "data": {KEY: "forged"}})

        async def is_right() -> bool:
            return await published(store, "shop") == ROOTS

        await eventually(is_right)
        await store.delete(CONFIG_MAPS, "shop", NAME)
        await eventually(is_right)


async def test_a_label_that_was_removed_is_put_back_and_others_stay() -> None:
    store, publisher = await start()
    async with running(publisher.run):
        edited = await store.get(CONFIG_MAPS, "shop", NAME)
        metadata = {**edited["metadata"], "labels": {"team": "shop"}}
        await store.update(CONFIG_MAPS, {**edited, "metadata": metadata})

        async def is_right() -> bool:
            found = await store.get(CONFIG_MAPS, "shop", NAME)
            return bool(found["metadata"]["labels"] == {"team": "shop", "istio.io/config": "true"})

        await eventually(is_right)


async def test_revocation_lists_are_published_while_there_are_any() -> None:
    lists = [""]
    store, publisher = await start(lambda: lists[0])

    async def found() -> str:
        try:
            data = (await store.get(CONFIG_MAPS, "shop", CRL_NAME))["data"]
        except NotFound:
            return ""
        return str(data.get(CRL_KEY, "?"))

    async with running(publisher.run):
        assert await found() == ""
        for text in ("one", "two", "", "three"):
            lists[0] = text
            publisher.refresh()
            await eventually_is(found, text)
        edited = await store.get(CONFIG_MAPS, "shop", CRL_NAME)
        await store.update(CONFIG_MAPS, {**edited, "data": {CRL_KEY: "forged"}})
        await eventually_is(found, "three")
        await store.delete(CONFIG_MAPS, "shop", CRL_NAME)
        await eventually_is(found, "three")
        assert await published(store, "shop") == ROOTS


async def test_a_config_map_of_that_name_that_is_somebody_elses_stays() -> None:
    store, publisher = await start()
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"mine": "x"}}
    await store.create(CONFIG_MAPS, {**theirs, "metadata": {"namespace": "shop", "name": CRL_NAME}})
    async with running(publisher.run):
        publisher.refresh()
        await asyncio.sleep(1)
        assert (await store.get(CONFIG_MAPS, "shop", CRL_NAME))["data"] == theirs["data"]


async def eventually_is(found: Callable[[], Awaitable[str]], wanted: str) -> None:
    async def is_right() -> bool:
        return await found() == wanted

    await eventually(is_right)


@pytest.mark.parametrize("name", ["kube-public", "kube-node-lease", "local-path-storage"])
async def test_it_stays_out_of_the_clusters_own_namespaces_and_of_dying_ones(name: str) -> None:
    store, publisher = await start()
    await store.create(NAMESPACES, namespace("kube-system"))
    await store.create(NAMESPACES, namespace(name))
    dying = namespace("dying")
    dying["metadata"]["finalizers"] = ["kubernetes"]
    await store.create(NAMESPACES, dying)
    await store.delete(NAMESPACES, "", "dying")
    async with running(publisher.run):
        assert await published(store, "shop") == ROOTS
        assert await published(store, "kube-system") == ROOTS
        assert await published(store, name) == ""
        assert await published(store, "dying") == ""
