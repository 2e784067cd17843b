"""Where the log goes and how a line looks."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from typing import Any

# What ends a line, or commands a terminal: names of folders, and what clients send, may have it in them.
UNWRITTEN = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code != ord("\t")}
UNWRITTEN |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029)}


class UtcFormatter(logging.Formatter):
    """Times in UTC with milliseconds, as RFC 3339 writes them, and each message on one line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line, before any traceback."""
        record.message = record.message.translate(UNWRITTEN)
        return super().formatMessage(record)


class Seldom:
    """Lets the same thing be said once in a while, however often it happens. Safe in several threads."""

    def __init__(self, seconds: float = 60.0, most: int = 256) -> None:
        """Remember the last `most` things."""
        self._seconds, self._most = seconds, most
        self._said: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def may_say(self, what: str) -> bool:
        """Whether it has not been said for a while; from now on it has."""
        now = time.monotonic()
        with self._lock:
            if now - self._said.get(what, -self._seconds) < self._seconds:
                return False
            self._said[what] = now
            self._said.move_to_end(what)
            if len(self._said) > self._most:
                self._said.popitem(last=False)
            return True


class Rarely(logging.Filter):
    """Lets a warning be said once a minute, then with how many were left out: clients can bring on thousands a second.

    A warning is known by its words before anything is put into them, of which the server has a few.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        """Nothing was said yet."""
        super().__init__()
        self._seldom = Seldom(seconds)
        self._left_out: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said now."""
        what = str(record.msg)
        if record.levelno != logging.WARNING:
            return True
        if not self._seldom.may_say(what):
            self._left_out[what] += 1
            return False
        if left_out := self._left_out.pop(what, 0):
            record.msg = f"{what} ({left_out} more like it since that was said)"
        return True


def log_config(level: str) -> dict[str, Any]:
    """Configuration for `logging.config.dictConfig`: one line an event on standard error, in UTC."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": "app.logs.UtcFormatter", "format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
        },
        "filters": {"rarely": {"()": "app.logs.Rarely"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {name: {"level": level.upper()} for name in ("app", "wildsat", "wildsat_core", "uvicorn")}
        | {"uvicorn.error": {"filters": ["rarely"]}},  # which warns of every request that is none
    }
