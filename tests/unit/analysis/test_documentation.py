"""The reference lists every code as it is."""

from pathlib import Path

import pytest

from mutua.analysis.codes import CODES

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "analysis.md"


@pytest.mark.parametrize("code", CODES.values(), ids=lambda one: one.code)
def test_a_code_is_in_the_reference_with_level_name_and_meaning(code) -> None:
    row = f"| {code.code} | {code.level} | {code.name} | {code.summary} |"

    assert row in REFERENCE.read_text()


def test_the_reference_lists_no_other_code() -> None:
    rows = [
        line for line in REFERENCE.read_text().splitlines() if line.startswith(("| IST", "| MUT"))
    ]

    assert len(rows) == len(CODES)
