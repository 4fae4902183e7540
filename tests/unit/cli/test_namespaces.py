"""A namespace that does not exist is an error, and a nearly right name is offered."""

import pytest

from mutua.cli.namespaces import check_namespace
from mutua.foundation.errors import Rejected

EXISTING = ("default", "shop", "bank")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("shpo", "did you mean: shop?"), ("Shop", "did you mean: shop?"), ("q", "")],
)
def test_a_missing_namespace_is_named_with_its_neighbours(name: str, hint: str) -> None:
    with pytest.raises(Rejected, match=f'namespaces "{name}" not found') as caught:
        check_namespace(name, EXISTING)

    assert caught.value.hint == hint


def test_one_that_is_there_is_fine() -> None:
    check_namespace("shop", EXISTING)
