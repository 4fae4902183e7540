"""A transaction is in force, all of it, or not at all, and the kernel's refusal is told."""

from typing import Any

import pytest

from mutua.runtime.network import netfilter, nft
from mutua.runtime.network.netfilter import NftablesRefused, commit, commit_in_groups
from mutua.runtime.network.rules import Backend, ServiceAddress

VIP = "10.96.0.77"


def test_a_refused_message_undoes_the_whole_transaction() -> None:
    with pytest.raises(NftablesRefused, match=r"message 2 of 2 \(type 6\).*No such file"):
        commit([nft.new_table("here"), nft.new_rule("here", "nowhere")])

    with pytest.raises(NftablesRefused, match="No such file"):
        commit([nft.delete_table("here")])


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netfilter, "BUFFER", 32 * 1024)


@pytest.mark.usefixtures("small_buffer")
def test_messages_that_fit_no_transaction_are_refused_not_cut() -> None:
    many = [nft.new_chain("t", f"chain-{n}") for n in range(2000)]

    with pytest.raises(NftablesRefused, match="cannot send 2001 messages"):
        commit([nft.new_table("t"), *many])


@pytest.mark.usefixtures("small_buffer")
def test_groups_that_fit_no_transaction_come_in_several() -> None:
    groups = [[nft.new_chain("t", f"chain-{n}")] for n in range(2000)]

    commit_in_groups([nft.new_table("t")], groups)

    commit([nft.delete_chain("t", "chain-0"), nft.delete_chain("t", "chain-1999")])


def test_nothing_to_do_is_nothing() -> None:
    commit_in_groups([], [])


@pytest.mark.usefixtures("small_buffer")
async def test_services_that_fit_no_transaction_all_work(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 8080)
        table = {
            ServiceAddress(f"10.96.{n // 250}.{n % 250}", 80): (Backend(server, 8080),)
            for n in range(1000)
        }

        await lab.network.services(table)

        for address in ("10.96.0.0", "10.96.2.5", "10.96.3.249"):
            assert (await lab.ask("client", address, 80)).pod == "server"
        await lab.network.services({})
        with pytest.raises(OSError, match="Errno 101"):
            await lab.ask("client", "10.96.2.5", 80)


async def test_after_a_refusal_the_next_table_is_built_from_nothing(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 8080)
        await lab.network.services({ServiceAddress(VIP, 80): (Backend(server, 8080),)})
        commit([nft.delete_table("mutua_services")])

        with pytest.raises(NftablesRefused):
            await lab.network.services({ServiceAddress(VIP, 81): (Backend(server, 8080),)})
        await lab.network.services({ServiceAddress(VIP, 82): (Backend(server, 8080),)})

        assert (await lab.ask("client", VIP, 82)).pod == "server"
