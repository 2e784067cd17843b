"""What changed: places ranked by how much better or worse they fit a question on a later day than on an earlier one.

Of each place (`wildsat_core.search.same_place`) two tiles are compared: the first of those in the earlier period and
the last of those in the later one, the second taken on a later day than the first.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from wildsat_core.errors import InvalidInputError, LimitExceededError
from wildsat_core.search.plan import Plan
from wildsat_core.search.quantised import candidates
from wildsat_core.search.query import Filters
from wildsat_core.search.same_place import Dated, Pairs, find_pairs
from wildsat_core.search.scan import Rows, Scores, best_first
from wildsat_core.search.shards import Shards

Direction = Literal["any", "gain", "loss"]

MAX_DATED = 1_000_000  # tiles in a period; pairing those of 200,000 places takes 5.5 s of a processor and 240 MB
_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True)
class Period:
    """Days from the first to the last, both among them; open where one is None."""

    first: dt.date | None = None
    last: dt.date | None = None

    def within(self, filters: Filters) -> Filters:
        """The filters, narrowed to these days.

        Raises:
            InvalidInputError: they leave no day.
        """
        first = max((day for day in (self.first, filters.date_from) if day), default=None)
        last = min((day for day in (self.last, filters.date_to) if day), default=None)
        if first and last and first > last:
            raise InvalidInputError(
                f"no day is left between {first} and {last}: from and to leave out the period that is compared", "from"
            )
        return replace(filters, date_from=first, date_to=last)


def dated_pairs(shards: Shards, before: Filters, after: Filters) -> Pairs:
    """The pairs of all tiles that pass the filters of two periods.

    Raises:
        LimitExceededError: too many tiles pass.
    """
    periods = []
    for name, filters in (("before", before), ("after", after)):
        periods.append(Dated.of_all(shards.all("dated", filters)))
        if (many := len(periods[-1].rows)) > MAX_DATED:
            raise LimitExceededError(
                f"{many} tiles lie in the period {name!r}, at most {MAX_DATED} can be compared; narrow it, or give an "
                "area or countries",
                name,
            )
    return find_pairs(periods[0], periods[1])


def rank_pairs(shards: Shards, plan: Plan, pairs: Pairs, direction: Direction, count: int) -> tuple[Rows, Scores]:
    """The `count` pairs that changed most, as positions among all, and their exact scores, (K, 2): before and after.

    Equal changes come in the order of pairs.
    """
    rows = np.unique(np.concatenate([pairs.before, pairs.after]))
    rough, bound = shards.rough_at(rows, plan)
    of_before, of_after = np.searchsorted(rows, pairs.before), np.searchsorted(rows, pairs.after)
    # A difference of two scores is off by twice what a score is, and by its own rounding.
    off = 2 * bound + 2 * _EPSILON * float(np.abs(rough).max(initial=0.0)) if bound else 0.0
    near = candidates(_key(rough[of_after], rough[of_before], direction), count, off)
    scores = np.stack([shards.exact_at(each[near], plan) for each in (pairs.before, pairs.after)], axis=1)
    best = best_first(_key(scores[:, 1], scores[:, 0], direction), near, count)
    return near[best], scores[best]


def _key(after: Scores, before: Scores, direction: Direction) -> Scores:
    """What is ranked by: the difference, its size, or how much is lost."""
    gain: Scores = after - before
    return {"any": np.abs(gain), "gain": gain, "loss": -gain}[direction]
