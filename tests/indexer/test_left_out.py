"""Tests of indexer/pipeline/left_out.py: how much of what is given may be bad."""

import pytest

from indexer.pipeline.left_out import LeftOutCounter, check_faults
from wildsat_core.errors import SourceError


@pytest.mark.parametrize(
    ("bad", "good", "max_bad", "passes"),
    [
        (3, 1, None, True),  # of a handful, a share says little
        (4, 4, None, True),
        (5, 4, None, False),
        (500, 500, None, True),
        (501, 500, None, False),
        (1, 999, 0.0, False),
        (1, 9, 0.1, True),
        (2, 9, 0.1, False),
        (99, 1, 1.0, True),
    ],
)
def test_more_than_half_may_not_be_bad_unless_told(bad, good, max_bad, passes):
    left_out = LeftOutCounter({"bad row": bad - 1, "unreadable": 1})
    if passes:
        check_faults(left_out, good, max_bad)
        return
    share = 0.5 if max_bad is None else max_bad
    with pytest.raises(SourceError, match=rf"{bad:,} of {bad + good:,} can't be indexed, .*--max-bad {share:g} allows"):
        check_faults(left_out, good, max_bad)


def test_what_was_not_asked_for_is_not_bad():
    check_faults(LeftOutCounter({"sea": 900, "no data": 50, "bad row": 4}), 0, None)
