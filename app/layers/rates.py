"""How often each client may ask: counted in SQLite, so that several processes on one machine count together."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from app.logs import Seldom

MOST_CLIENTS = 20_000  # beyond, those are forgotten that have the most left
SWEEP = 1_000  # requests between two looks for clients to forget
PATIENCE_S = 1.0  # with another process that is counting

log = logging.getLogger(__name__)

_TABLE = "CREATE TABLE IF NOT EXISTS clients (client TEXT PRIMARY KEY, full_s REAL NOT NULL) WITHOUT ROWID"
_TAKE = """
INSERT INTO clients VALUES (:client, :now_s + :each_s)
ON CONFLICT DO UPDATE SET full_s = max(full_s, :now_s) + :each_s WHERE max(full_s, :now_s) + :each_s <= :latest_s
RETURNING full_s
"""


class TokenBuckets:
    """A token bucket for each client: a burst at once, then a steady rate. Used from the event loop only.

    Of each bucket only the moment is kept at which it will be full; one that is full needs no row.
    """

    def __init__(self, per_minute: float, burst: int, file: Path | None = None) -> None:
        """Start with every bucket full, or as other processes have left them.

        Args:
            per_minute: tokens that come back.
            burst: tokens of a full bucket.
            file: where several processes count together; None counts for this one alone.
        """
        self._each_s = 60.0 / per_minute
        self._burst = burst
        self._taken = 0
        self._seldom = Seldom()
        self._connection = sqlite3.connect(
            file or ":memory:", timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
        )
        # It lives no longer than the processes: nothing has to reach the disk.
        self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; {_TABLE};")

    def take(self, client: str, now_s: float) -> float:
        """Take a token; returns 0, or the seconds until there is one.

        Args:
            client: whose.
            now_s: by a clock that all processes share, such as the monotonic one.
        """
        # A millionth of a token is let pass: so many sums of the same number are not exact.
        latest_s = now_s + (self._burst + 1e-6) * self._each_s
        asked = {"client": client, "now_s": now_s, "each_s": self._each_s, "latest_s": latest_s}
        try:
            self._sweep(now_s)
            if self._connection.execute(_TAKE, asked).fetchone():
                return 0.0
            full = self._connection.execute("SELECT full_s FROM clients WHERE client = ?", (client,)).fetchone()
        except sqlite3.Error as err:
            if self._seldom.may_say("uncounted"):
                log.error("rates can't be counted, so requests are let pass: %s", err)
            return 0.0
        return float(full[0]) - now_s - (self._burst - 1) * self._each_s if full else 0.0

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM clients").fetchone()[0])

    def _sweep(self, now_s: float) -> None:
        """Forget, every so often, those whose buckets are full, and more where there are too many."""
        self._taken += 1
        if self._taken % SWEEP:
            return
        self._connection.execute("DELETE FROM clients WHERE full_s <= ?", (now_s,))
        if (over := len(self) - MOST_CLIENTS) > 0:
            fullest = "SELECT client FROM clients ORDER BY full_s LIMIT ?"
            self._connection.execute(f"DELETE FROM clients WHERE client IN ({fullest})", (over,))  # noqa: S608 - fixed text
