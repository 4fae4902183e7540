"""Properties of the capture transaction; tests/netns/network/test_capture.py has the meaning."""

from mutua.runtime.network import nft
from mutua.runtime.network.capture import TABLE, capture_messages
from mutua.runtime.network.rules import CaptureRules


def test_the_transaction_empties_both_chains_before_it_fills_them() -> None:
    messages = capture_messages(CaptureRules())

    flushes = [m for m in messages if m.kind == nft.DELETE_RULE]

    assert flushes == [nft.flush_chain(TABLE, "inbound"), nft.flush_chain(TABLE, "outbound")]


def test_nothing_is_ever_deleted_but_rules() -> None:
    for rules in (None, CaptureRules(), CaptureRules(include_inbound_ports=())):
        kinds = {message.kind for message in capture_messages(rules)}
        assert kinds == {nft.NEW_TABLE, nft.NEW_CHAIN, nft.DELETE_RULE, nft.NEW_RULE}


def test_overlapping_ranges_become_one_rule() -> None:
    one = capture_messages(CaptureRules(exclude_outbound_cidrs=("10.0.0.0/8",)))
    many = capture_messages(
        CaptureRules(exclude_outbound_cidrs=("10.0.0.0/8", "10.1.0.0/16", "10.0.0.1"))
    )

    assert one == many
