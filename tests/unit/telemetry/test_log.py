"""One line, constant message, data in fields."""

import logging

import pytest

from mutua.telemetry.log import LineFormatter


def line(message: str, **fields: object) -> str:
    record = logging.makeLogRecord(
        {
            "name": "mutua.x",
            "levelname": "INFO",
            "msg": message,
            "created": 0.0,
            "msecs": 7,
            **fields,
        }
    )
    return LineFormatter().format(record)


def test_fields_follow_the_message_in_alphabetical_order() -> None:
    assert line("mesh is up", port=1, mesh="a") == (
        "1970-01-01T00:00:00.007Z INFO  mutua.x: mesh is up mesh=a port=1"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ("a\nERROR forged", r'"a\nERROR forged"'),
        ('say "hi"', "\"say 'hi'\""),
        ("x" * 1000, "x" * 300),
        ("\x1b[31mred", r'"\x1b[31mred"'),
    ],
)
def test_foreign_text_never_looks_like_another_line(value: str, shown: str) -> None:
    assert line("m", field=value).endswith(f" field={shown}")
