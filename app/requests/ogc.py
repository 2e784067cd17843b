"""What OGC API and STAC API ask in forms of their own: boxes with heights, times and intervals."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.search.properties import UNDATED_SINCE
from wildsat_core.search.query import Filters
from wildsat_core.types import BBox


def parse_ogc_bbox(value: str | Sequence[float]) -> BBox:
    """Read four numbers, or six with heights, which are left out.

    Raises:
        InvalidInputError: another count, not finite, or out of range.
    """
    numbers = value.split(",") if isinstance(value, str) else list(value)
    return parse_bbox([float(n) for n in ([*numbers[:2], *numbers[3:5]] if len(numbers) == 6 else numbers)])


def during(datetime: str | None, filters: Filters, *, days: bool = True) -> Filters:
    """Filters with an OGC `datetime` among them.

    Items of unknown date say that they are of some time from UNDATED_SINCE on: they pass where that meets the interval.

    Raises:
        InvalidInputError: see `parse_datetime`; or the filters have days already.
    """
    if datetime is None:
        return filters
    if filters.date_from or filters.date_to:
        raise InvalidInputError("datetime can't be given together with from or to", "datetime")
    first, last = parse_datetime(datetime, days=days)
    if first and last and first > last:
        raise InvalidInputError(f"datetime ends on {last}, before it begins on {first}", "datetime")
    undated = (last is None or last >= UNDATED_SINCE) and (first is None or first <= dt.datetime.now(dt.UTC).date())
    return replace(filters, date_from=first, date_to=last, undated=undated)


def parse_datetime(text: str, *, days: bool = True) -> tuple[dt.date | None, dt.date | None]:
    """First and last day of an OGC `datetime`: an instant or an interval, open where an end is ".." or empty.

    Args:
        text: as it was sent.
        days: whether a day without a time is taken; STAC item search forbids it.

    Raises:
        InvalidInputError: not RFC 3339, or both ends open.
    """
    ends = text.split("/")
    if len(ends) == 1:
        ends *= 2
    found = [_day(end, alone=days) for end in ends] if len(ends) == 2 else []
    if not found or found == [None, None]:
        raise InvalidInputError(
            f"datetime must be an RFC 3339 time or an interval such as 2024-01-01T00:00:00Z/.., got {text[:80]!r}",
            "datetime",
        )
    return found[0], found[1]


def _day(text: str, *, alone: bool) -> dt.date | None:
    if text in ("", ".."):
        return None
    if (len(text) == 10 and not alone) or not re.fullmatch(
        r"\d{4}-\d\d-\d\d(?:[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d))?", text, re.ASCII
    ):
        raise InvalidInputError(f"datetime has RFC 3339 times: 2024-01-01T00:00:00Z; got {text[:40]!r}", "datetime")
    try:
        if len(text) == 10:
            return dt.date.fromisoformat(text)
        text = re.sub(r":60(?=$|[.Zz+-])", ":59", text)  # a leap second, which belongs to its day
        return dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC).date()
    except (ValueError, OverflowError) as err:
        raise InvalidInputError(f"datetime has no such time: {text[:40]!r}", "datetime") from err
