"""How a line of the log looks."""

import logging
import logging.config
import sys

import pytest

from app import logs
from app.logs import UtcFormatter, log_config


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


def test_what_clients_bring_on_is_told_once_a_minute_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    told: list[str] = []
    filters = log_config("info")["loggers"]["uvicorn.error"]["filters"]
    configured = logging.config.DictConfigurator(log_config("info"))
    server = logging.Logger("uvicorn.error")
    for name in filters:
        server.addFilter(configured.configure_filter(configured.config["filters"][name]))
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    server.addHandler(handler)

    for _ in range(1000):
        server.warning("Invalid HTTP request received.")
        server.info("Started %s", "x")
    server.warning("Other than %s.", "that")
    assert told.count("Started x") == 1000
    assert [line for line in told if line != "Started x"] == ["Invalid HTTP request received.", "Other than that."]
    now += 61
    server.warning("Invalid HTTP request received.")
    server.warning("Invalid HTTP request received.")
    assert told[-1] == "Invalid HTTP request received. (999 more like it since that was said)"
