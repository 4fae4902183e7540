"""Secrets that rules name: who is served which, and what is wrong with the others."""

# ruff: noqa: E501 - a table

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from mutua.api.destination import ClientTls, TlsMode
from mutua.api.object import SECRETS, Object
from mutua.controlplane.credentials import SECRET, Credentials
from mutua.model.build import build_snapshot
from mutua.model.snapshot import MeshSnapshot
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import by_resource, destination_rule, pod
from mutua.xds.proto import message
from mutua.xds.subscription import Rejection

BOTH = {"tls.crt": "chain", "tls.key": "key"}


def secret(name: str, namespace: str = "shop", **data: str) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": encoded,
    }


@asynccontextmanager
async def credentials(*secrets: Object) -> AsyncIterator[tuple[MemoryStore, Credentials]]:
    store = MemoryStore(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    for one in secrets:
        await store.create(SECRETS, one)
    made, ready = Credentials(store), asyncio.Event()
    running = asyncio.create_task(made.run(ready.set))
    await ready.wait()
    yield store, made
    running.cancel()


def state(*more: Object, namespace: str = "shop") -> MeshSnapshot:
    """Return a mesh with pod `till` of a namespace, which is to show the certificate of `bank`."""
    rule = destination_rule(
        namespace,
        "bank.example.com",
        {"tls": {"mode": "MUTUAL", "credentialName": "bank"}},
        workloadSelector={"matchLabels": {"app": "till"}},
    )
    return build_snapshot(by_resource(pod(namespace, "till"), rule, *more))


def served(made: Credentials, namespace: str = "shop") -> dict[str, Any]:
    """Return what the proxy of `till` may ask for."""
    made.follow(state(namespace=namespace))
    found = made.feed(f"{namespace}-till", namespace).resources[SECRET]
    made.remove(f"{namespace}-till")
    kind = message("envoy.extensions.transport_sockets.tls.v3.Secret")
    return {name: kind.FromString(one.body) for name, one in found.items()}


def inline(body: Any) -> tuple[bytes, ...]:
    """Return what a resource carries, in the order of the two layouts."""
    pair, context = body.tls_certificate, body.validation_context
    places = (pair.certificate_chain, pair.private_key, context.trusted_ca, context.crl)
    return tuple(one.inline_bytes for one in places)


@pytest.mark.parametrize(
    "keys", [("tls.crt", "tls.key", "ca.crt", "ca.crl"), ("cert", "key", "cacert", "crl")]
)
async def test_both_layouts_are_a_certificate_and_roots(keys: tuple[str, ...]) -> None:
    data = dict(zip(keys, ("chain", "key", "roots", "list"), strict=True))
    async with credentials(secret("bank", **data)) as (_, made):
        found = served(made)

    assert inline(found["kubernetes://bank"]) == (b"chain", b"key", b"", b"")
    assert inline(found["kubernetes://bank-cacert"]) == (b"", b"", b"roots", b"list")


async def test_roots_of_a_secret_of_their_own_come_first() -> None:
    own = secret("bank", **BOTH, **{"ca.crt": "less"})
    async with credentials(own, secret("bank-cacert", cacert="more")) as (_, made):
        found = served(made)

    assert found["kubernetes://bank-cacert"].validation_context.trusted_ca.inline_bytes == b"more"


async def test_a_proxy_is_served_secrets_of_its_namespace_only() -> None:
    async with credentials(secret("bank", "far", **BOTH)) as (_, made):
        assert served(made, "shop") == {}
        assert set(served(made, "far")) == {"kubernetes://bank"}


async def test_a_proxy_is_served_no_secret_that_no_rule_has_it_ask_for() -> None:
    everybody = destination_rule(
        "shop", "b.example.com", {"tls": {"mode": "MUTUAL", "credentialName": "other"}}, name="all"
    )
    other = pod("shop", "other")
    async with credentials(secret("bank", **BOTH), secret("other", **BOTH)) as (_, made):
        till, rest = made.feed("shop-till", "shop"), made.feed("shop-other", "shop")
        assert dict(till.resources[SECRET]) == {}

        made.follow(state(everybody, other))
        assert set(till.resources[SECRET]) == {"kubernetes://bank"}
        assert set(rest.resources[SECRET]) == set()

        other["metadata"]["labels"]["app"] = "till"
        made.follow(state(other))
        assert set(rest.resources[SECRET]) == {"kubernetes://bank"}

        made.follow(build_snapshot(by_resource(other)))
        assert set(till.resources[SECRET]) == set(rest.resources[SECRET]) == set()


async def test_a_change_reaches_the_proxies_of_its_namespace_and_no_others() -> None:
    async with credentials(secret("bank", **BOTH)) as (store, made):
        made.follow(state())
        near, far = made.feed("shop-till", "shop"), made.feed("far", "far")
        before, other = near.resources[SECRET]["kubernetes://bank"], far.resources

        (stored,) = (await store.list(SECRETS)).items
        await store.update(SECRETS, {**stored, "data": {**stored["data"], "tls.key": "bmV3"}})
        await asyncio.sleep(1)

        after = near.resources[SECRET]["kubernetes://bank"]
        assert after.version != before.version  # although only the key is new
        assert b"new" in after.body
        assert far.resources is other


MUTUAL, SIMPLE = TlsMode.MUTUAL, TlsMode.SIMPLE
# fmt: off
FAULTS = [
    #            mode    Secrets                                                               fault
    pytest.param(MUTUAL, [],                                                                   "Secret shop/bank does not exist", id="absent"),
    pytest.param(MUTUAL, [secret("bank", "far", **BOTH)],                                      "Secret shop/bank does not exist", id="elsewhere"),
    pytest.param(SIMPLE, [],                                                                   "Secret shop/bank does not exist", id="no roots"),
    pytest.param(MUTUAL, [secret("bank", **{"tls.crt": "a"})],                                 "Secret shop/bank has no tls.key", id="no key"),
    pytest.param(MUTUAL, [secret("bank", key="a", cacert="b")],                                "Secret shop/bank has no tls.crt", id="no certificate"),
    pytest.param(MUTUAL, [secret("bank", **BOTH)],                                             "Secret shop/bank has no ca.crt", id="no roots in it"),
    pytest.param(MUTUAL, [secret("bank", **BOTH), secret("bank-cacert", crl="a")],             "Secret shop/bank-cacert has no ca.crt", id="nor in its companion"),
    pytest.param(MUTUAL, [secret("bank", **BOTH, cacert="a")],                                 "", id="all in one"),
    pytest.param(MUTUAL, [secret("bank", **BOTH), secret("bank-cacert", cacert="a")],          "", id="all in two"),
    pytest.param(SIMPLE, [secret("bank-cacert", cacert="a")],                                  "", id="roots only"),
    pytest.param(SIMPLE, [secret("bank", cacert="a")],                                         "", id="roots of the Secret itself"),
]
# fmt: on


@pytest.mark.parametrize(("mode", "secrets", "fault"), FAULTS)
async def test_what_is_wrong_with_a_secret(
    mode: TlsMode, secrets: list[Object], fault: str
) -> None:
    async with credentials(*secrets) as (_, made):
        assert made.fault("shop", ClientTls(mode=mode, credential_name="bank")) == fault


async def test_who_verifies_nobody_needs_no_roots() -> None:
    tls = ClientTls(mode=MUTUAL, credential_name="bank", insecure_skip_verify=True)
    async with credentials(secret("bank", **BOTH)) as (_, made):
        assert made.fault("shop", tls) == ""


async def test_what_a_proxy_refuses_is_a_fault_until_the_secret_changes() -> None:
    tls = ClientTls(mode=MUTUAL, credential_name="bank")
    async with credentials(secret("bank", **BOTH, cacert="roots")) as (store, made):
        made.follow(state())
        feed = made.feed("shop-till", "shop")
        told: list[str] = []
        made.on_change = lambda: told.append(made.fault("shop", tls))

        refused = Rejection(
            type_url=SECRET,
            name="kubernetes://bank",
            version=feed.resources[SECRET]["kubernetes://bank"].version,
            message="no PEM",
        )
        feed.on_rejection(refused)
        (stored,) = (await store.list(SECRETS)).items
        await store.update(SECRETS, {**stored, "data": {**stored["data"], "x": "eA=="}})
        await asyncio.sleep(1)
        feed.on_rejection(refused)  # which is old news now

    assert told == ["Secret shop/bank was refused: no PEM", ""]
