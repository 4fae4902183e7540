"""Aligned columns on a terminal, as kubectl prints them."""

from collections.abc import Sequence
from typing import Any

import click

GAP = "   "
"""Between two columns."""


def print_columns(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a header (unless it is empty) and rows, each column as wide as its widest cell."""
    lines = [[str(cell) for cell in line] for line in (header, *rows) if line]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(GAP.join(padded).rstrip())
