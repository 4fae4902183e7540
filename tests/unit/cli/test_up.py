"""What `mutua up` makes of its options."""

from datetime import timedelta

import pytest

from mutua.cli.up import parse_ttl
from mutua.foundation.errors import Rejected


def test_a_lifetime_has_a_unit() -> None:
    assert parse_ttl("2m") == timedelta(minutes=2)


@pytest.mark.parametrize("text", ["", "2", "9s", "91d", "0s", "-5m", "2 m"])
def test_a_lifetime_no_certificate_may_have_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="--workload-cert-ttl"):
        parse_ttl(text)
