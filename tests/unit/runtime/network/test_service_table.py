"""What must change in the kernel when Services change; tests/netns sends real packets."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.runtime.network import nft
from mutua.runtime.network.nft import Message
from mutua.runtime.network.rules import Backend, ServiceAddress
from mutua.runtime.network.service_table import SLICE, TABLE, Services, change, foundation

WEB = ServiceAddress("10.96.0.1", 80)
DNS = ServiceAddress("10.96.0.2", 53, "udp")
SEND_BUFFER = 2 * 212_992
"""Bytes the kernel grants a netlink socket (twice the default of net.core.wmem_max)."""
ONE, TWO = Backend("10.244.0.2", 8080), Backend("10.244.0.3", 8080)

addresses = st.builds(
    ServiceAddress,
    st.sampled_from(["10.96.0.1", "10.96.0.2"]),
    st.sampled_from([80, 443]),
    st.sampled_from(["tcp", "udp"]),
)
tables = st.dictionaries(addresses, st.sampled_from([(), (ONE,), (TWO,), (ONE, TWO)]))


def messages(before: Services, after: Services) -> list[Message]:
    return [message for group in change(before, after) for message in group]


def chains(found: list[Message], kind: int) -> list[bytes]:
    return [message.body for message in found if message.kind == kind]


@settings(deadline=None)
@given(tables)
def test_no_difference_changes_nothing(table: Services) -> None:
    assert messages(table, dict(table)) == []


@settings(deadline=None)
@given(before=tables, after=tables)
def test_every_chain_made_is_deleted_when_everything_goes(
    before: Services, after: Services
) -> None:
    def names(found: list[Message], kind: int) -> set[bytes]:
        return {body.split(b"\0", 1)[1] for body in chains(found, kind)}

    made = names(messages({}, before), nft.NEW_CHAIN) | names(
        messages(before, after), nft.NEW_CHAIN
    )
    deleted = names(messages(before, after), nft.DELETE_CHAIN) | names(
        messages(after, {}), nft.DELETE_CHAIN
    )

    assert made == deleted


@settings(deadline=None)
@given(before=tables, after=tables)
def test_only_services_that_changed_are_touched(before: Services, after: Services) -> None:
    served = [a for a in after if after[a] and before.get(a) != after[a]]

    assert len(chains(messages(before, after), nft.NEW_CHAIN)) == len(served)


def test_a_service_that_loses_its_last_backend_moves_to_the_refused() -> None:
    found = messages({WEB: (ONE,)}, {WEB: ()})

    assert [message.kind for message in found] == [
        nft.DELETE_ELEMENT,
        nft.NEW_ELEMENT,
        nft.DELETE_ELEMENT,
        nft.DELETE_CHAIN,
    ]


def test_protocols_of_one_address_have_chains_of_their_own() -> None:
    found = messages({}, {WEB: (ONE,), ServiceAddress(WEB.ip, WEB.port, "udp"): (TWO,), DNS: ()})

    assert len(set(chains(found, nft.NEW_CHAIN))) == 2


def test_long_lists_are_sliced_to_what_an_attribute_can_hold() -> None:
    many = tuple(Backend(f"10.244.{n // 250}.{n % 250 + 1}", 80) for n in range(SLICE * 3))

    found = messages({}, {WEB: many})

    assert all(len(message.body) < 1 << 16 for message in found)
    assert sum(message.kind == nft.NEW_ELEMENT for message in found) == 1 + 3


def test_the_largest_service_of_kubernetes_fits_one_transaction() -> None:
    """A thousand addresses, the most that an Endpoints object holds."""
    many = tuple(Backend(f"10.244.{n // 250}.{n % 250 + 1}", 80) for n in range(1000))

    (chain, *_) = change({}, {WEB: many})

    assert sum(20 + len(message.body) for message in chain) < SEND_BUFFER


def test_the_rules_of_a_service_look_nothing_up() -> None:
    """A packet in flight sees old rules, but only the newest members of a set."""
    found = chains(messages({WEB: (ONE,)}, {WEB: (ONE, TWO)}), nft.NEW_RULE)

    assert len(found) == 2
    assert not any(b"lookup" in rule for rule in found)


def test_the_foundation_replaces_whatever_was_there() -> None:
    first = foundation("10.244.0.1")[:3]

    assert first == [nft.new_table(TABLE), nft.delete_table(TABLE), nft.new_table(TABLE)]
