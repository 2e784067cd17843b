"""Times of imagery as UTC days, from whatever a table, a file or a catalogue has."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, Final

_COMPACT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T\d{6}(?:\.\d+)?Z?)?")  # 20200715T104031


def utc_day(value: Any) -> dt.date | None:  # noqa: ANN401 - a date, a time or a text of one
    """The UTC day of a date or time; a time without a zone is taken to be UTC. None for nothing: None, NaN, "".

    Raises:
        ValueError: no date or time.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip():
        return None
    if isinstance(value, str):
        value = _parsed(value.strip())
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo is None else value.astimezone(dt.UTC)).date()
    if isinstance(value, dt.date):
        return value
    raise ValueError(f"a day must look like 2023-07-31, got {value!r}")


def _parsed(text: str) -> dt.datetime:
    compact = _COMPACT.fullmatch(text)
    try:
        return dt.datetime.fromisoformat("-".join(compact.groups()) if compact else text)
    except ValueError as err:
        raise ValueError(f"a day must look like 2023-07-31, got {text!r}") from err
