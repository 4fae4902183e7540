"""What of a CA counts as ending soon."""

from datetime import timedelta

import pytest

from mutua.controlplane.ca.expiry import Deadline, deadlines
from mutua.identity.bundle import TrustBundle
from mutua.identity.crl import LIFETIME, sign_lists
from mutua.identity.material import SigningMaterial, below, self_signed
from mutua.identity.x509 import intermediate_ca, self_signed_ca
from mutua.testing.clock import START, ManualClock

TEN_DAYS = Deadline(what="it", begins=START, ends=START + timedelta(days=10))


@pytest.mark.parametrize(
    ("days", "urgency"),
    [(-0.1, 4), (0, 0), (7.9, 0), (8, 1), (8.9, 1), (9, 2), (9.5, 3), (9.9, 3), (10, 4), (99, 4)],
)
def test_it_becomes_urgent_in_steps(days: float, urgency: int) -> None:
    assert TEN_DAYS.urgency(START + timedelta(days=days)) == urgency


def test_it_is_told_in_words_that_stay_the_same() -> None:
    assert TEN_DAYS.told(START) == "it ends at 2026-01-11 00:00:00 UTC"
    assert TEN_DAYS.told(START + timedelta(days=10)) == "it ended at 2026-01-11 00:00:00 UTC"
    assert TEN_DAYS.told(START - timedelta(days=1)).startswith("it is not valid before 2026-01-01")


def test_chain_anchor_and_lists_count() -> None:
    clock = ManualClock()
    root = self_signed(self_signed_ca("root", lifetime=timedelta(days=100), clock=clock))
    lower = below(root, intermediate_ca(root.signer, lifetime=timedelta(days=9), clock=clock))
    crl = sign_lists([root.signer], [], number=1, now=START)
    both = SigningMaterial(
        signer=lower.signer, anchor=lower.anchor, bundle=TrustBundle(lower.bundle.roots, crl)
    )

    found = [(one.is_anchor, one.ends - START) for one in deadlines(both)]

    assert found == [
        (False, timedelta(days=9)),
        (True, timedelta(days=100)),
        (False, LIFETIME),
    ]
    assert [one.is_anchor for one in deadlines(root)] == [True]
