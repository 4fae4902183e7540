"""Columns as istioctl aligns them."""

from collections.abc import Sequence
from typing import Final

PADDING: Final = 5
"""Blanks after the widest cell of a column."""


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a header and rows as aligned lines; rows alone when the header is empty."""
    lines = [line for line in (header, *rows) if line]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "".join(cell.ljust(width + PADDING) for cell, width in zip(line, widths, strict=True))
        .rstrip()
        for line in lines
    )  # fmt: skip
