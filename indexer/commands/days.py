"""Days as they are typed."""

from __future__ import annotations

import datetime as dt

from wildsat_core.errors import InvalidInputError


def parse_day(text: str | None, option: str) -> dt.date | None:
    """The day that an option gives, None when it was left out.

    Raises:
        InvalidInputError: not a day; the option is named.
    """
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as err:
        raise InvalidInputError(f"--{option} must look like 2023-07-31, got {text!r}", option) from err
