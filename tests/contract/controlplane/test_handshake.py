"""What OpenSSL says of certificates: accepted, refused with a reason, or not asked."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mutua.controlplane.coherence import handshake
from mutua.controlplane.coherence.handshake import (
    Refused,
    client_context,
    handshake_in_memory,
    handshake_with,
)
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.crl import leaf_facts, sign_lists
from mutua.identity.csr import new_request
from mutua.identity.material import below, self_signed
from mutua.identity.x509 import Credential, intermediate_ca, self_signed_ca
from mutua.testing.clock import ManualClock

DAY = timedelta(days=1)
PATIENCE = 20.0
"""Seconds that the peers of these tests may take on a busy machine."""
CLOCK = SystemClock()
WEB = SpiffeId("td", "shop", "web")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT", PATIENCE)


def root(organization: str = "td") -> Credential:
    return self_signed_ca("", organization=organization, lifetime=10 * DAY, clock=CLOCK)


def issue(authority: Authority, identity: SpiffeId = WEB) -> Credential:
    request = new_request(identity)
    issued = authority.sign(request.csr_pem, identity)
    return Credential(chain_pem=issued.leaf + "".join(issued.intermediates), key=request.key)


ROOT = root()
OURS = Authority(ROOT, "td", CLOCK)


def test_a_leaf_is_accepted_under_the_bundle_of_its_root() -> None:
    assert handshake_in_memory(issue(OURS), OURS.bundle).uris == (str(WEB),)


def test_a_leaf_below_an_intermediate_is_accepted_with_its_chain_and_refused_without() -> None:
    middle = intermediate_ca(ROOT, lifetime=DAY, clock=CLOCK)
    authority = Authority(below(self_signed(ROOT), middle), "td", CLOCK)
    credential = issue(authority)
    bare = Credential(
        chain_pem=credential.chain_pem.split("-----END")[0] + "-----END CERTIFICATE-----\n",
        key=credential.key,
    )

    assert handshake_in_memory(credential, OURS.bundle).uris == (str(WEB),)
    with pytest.raises(Refused, match="unable to get local issuer certificate"):
        handshake_in_memory(bare, OURS.bundle)


def test_a_root_of_the_same_name_is_another_root() -> None:
    with pytest.raises(Refused, match=r"certificate signature failure|self-signed|issuer"):
        handshake_in_memory(issue(OURS), TrustBundle((root().chain_pem,)))


def test_one_root_of_several_is_enough() -> None:
    both = TrustBundle((root("other").chain_pem, ROOT.chain_pem))
    assert handshake_in_memory(issue(OURS), both).uris == (str(WEB),)


def test_an_expired_leaf_is_refused() -> None:
    past = ManualClock(CLOCK.now() - 5 * DAY)
    old = self_signed_ca("", organization="td", lifetime=10 * DAY, clock=past)
    authority = Authority(old, "td", past)
    with pytest.raises(Refused, match="expired"):
        handshake_in_memory(issue(authority), authority.bundle)


def test_a_list_ends_what_it_names_and_only_that() -> None:
    kicked, kept = issue(OURS), issue(OURS)
    serial, _ = leaf_facts(kicked.chain_pem)
    bundle = replace(OURS.bundle, crl=sign_lists([ROOT], [serial], number=1, now=CLOCK.now()))

    assert handshake_in_memory(kept, bundle).uris == (str(WEB),)
    with pytest.raises(Refused, match="revoked"):
        handshake_in_memory(kicked, bundle)


def test_an_authority_without_a_list_counts_only_where_all_have_one() -> None:
    middle = intermediate_ca(ROOT, lifetime=DAY, clock=CLOCK)
    credential = issue(Authority(below(self_signed(ROOT), middle), "td", CLOCK))
    bundle = replace(OURS.bundle, crl=sign_lists([middle], [], number=1, now=CLOCK.now()))

    assert handshake_in_memory(credential, bundle).uris == (str(WEB),)
    with pytest.raises(Refused, match="CRL"):
        handshake_in_memory(credential, replace(bundle, checks_authorities=True))


def test_what_a_revoked_authority_issued_is_refused_where_all_have_a_list() -> None:
    middle = intermediate_ca(ROOT, lifetime=DAY, clock=CLOCK)
    credential = issue(Authority(below(self_signed(ROOT), middle), "td", CLOCK))
    serial, _ = leaf_facts(middle.chain_pem)
    lists = sign_lists([middle, ROOT], [serial], number=1, now=CLOCK.now())
    bundle = replace(OURS.bundle, crl=lists, checks_authorities=True)

    with pytest.raises(Refused, match="revoked"):
        handshake_in_memory(credential, bundle)


def test_a_bundle_that_cannot_be_read_is_a_refusal() -> None:
    with pytest.raises(Refused, match="cannot load"):
        handshake_in_memory(issue(OURS), TrustBundle(("no certificate",)))


@asynccontextmanager
async def serving(credential: Credential, bundle: TrustBundle) -> AsyncIterator[int]:
    """Take one connection, silently, as a proxy that waits for a request.

    In a thread, because asyncio's servers drop the alert that says why they refuse.
    """
    context = handshake._context(ssl.PROTOCOL_TLS_SERVER, credential, bundle)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def wait() -> None:
            accepted, _ = listener.accept()
            with (
                suppress(OSError),
                accepted,
                context.wrap_socket(accepted, server_side=True) as secured,
            ):
                secured.recv(1)

        thread = threading.Thread(target=wait)
        thread.start()
        yield listener.getsockname()[1]
        await asyncio.to_thread(thread.join, 10)


async def meet(port: int, credential: Credential, bundle: TrustBundle) -> Any:
    return await handshake_with("127.0.0.1", port, client_context(credential, bundle))


async def test_a_server_that_accepts_tells_who_it_is() -> None:
    canary = issue(OURS, SpiffeId("td", "istio-system", "istiod"))
    async with serving(issue(OURS), OURS.bundle) as port:
        assert (await meet(port, canary, OURS.bundle)).uris == (str(WEB),)


async def test_a_server_that_trusts_another_root_refuses_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshake, "REFUSAL", PATIENCE)
    async with serving(issue(OURS), TrustBundle((root("other").chain_pem,))) as port:
        with pytest.raises(Refused, match="does not accept this mesh's certificates"):
            await meet(port, issue(OURS), OURS.bundle)


async def test_a_server_of_another_root_is_not_acceptable() -> None:
    other = Authority(root(), "td", CLOCK)
    both = TrustBundle((*other.bundle.roots, *OURS.bundle.roots))
    async with serving(issue(other), both) as port:
        with pytest.raises(Refused, match="is not acceptable"):
            await meet(port, issue(OURS), OURS.bundle)


async def test_nobody_there_and_somebody_who_speaks_no_tls_are_no_evidence() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unavailable):
        await meet(port, issue(OURS), OURS.bundle)
    server.close()
    await server.wait_closed()
    with pytest.raises(Unavailable):
        await meet(port, issue(OURS), OURS.bundle)
