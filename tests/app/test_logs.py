"""How a line of the log looks."""

import logging
import sys

from app.logs import UtcFormatter


def line(message: str, *values: object, exc_info: object = None) -> str:
    record = logging.LogRecord("app", logging.INFO, __file__, 1, message, values, exc_info)
    return UtcFormatter("%(levelname)s %(message)s").format(record)


def test_what_ends_lines_or_commands_terminals_is_written_as_escapes() -> None:
    name = "two\nlines\r\x1b[31m red\x9b\u2028\x7f"
    assert line("collection %s", name) == r"INFO collection two\x0alines\x0d\x1b[31m red\x9b\u2028\x7f"
    assert line("größe\t北海") == "INFO größe\t北海"


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        told = line("it\nfailed", exc_info=sys.exc_info()).splitlines()
    assert told[0] == r"INFO it\x0afailed"
    assert told[1] == "Traceback (most recent call last):"
