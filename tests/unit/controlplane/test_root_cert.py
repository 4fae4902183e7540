"""The trust bundle is in every namespace, whatever anybody does to it."""

from datetime import UTC, datetime

from mutua.api.object import CONFIG_MAPS, NAMESPACES, Object
from mutua.controlplane.root_cert import KEY, NAME, RootCertificatePublisher
from mutua.store.memory import MemoryStore
from mutua.store.port import NotFound
from mutua.testing.clock import ManualClock
from mutua.testing.polling import eventually
from mutua.testing.proxy import running

ROOTS = "-----BEGIN CERTIFICATE-----\n"


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def start() -> tuple[MemoryStore, RootCertificatePublisher]:
    store = MemoryStore(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    await store.create(NAMESPACES, namespace("shop"))
    return store, RootCertificatePublisher(store, lambda: ROOTS)


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


async def test_it_stays_out_of_the_clusters_own_namespaces_and_of_dying_ones() -> None:
    store, publisher = await start()
    await store.create(NAMESPACES, namespace("kube-system"))
    dying = namespace("dying")
    dying["metadata"]["finalizers"] = ["kubernetes"]
    await store.create(NAMESPACES, dying)
    await store.delete(NAMESPACES, "", "dying")
    async with running(publisher.run):
        assert await published(store, "shop") == ROOTS
        assert await published(store, "kube-system") == ""
        assert await published(store, "dying") == ""
