import datetime as dt

import pytest

from indexer.sources.times import utc_day

DAY = dt.date(2023, 7, 31)


@pytest.mark.parametrize(
    "value",
    [
        DAY,
        dt.datetime(2023, 7, 31, 23, 59),
        dt.datetime(2023, 8, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        dt.datetime(2023, 7, 30, 20, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
        "2023-07-31",
        " 2023-07-31T10:00:00Z ",
        "2023-07-31 10:00:00",
        "2023-08-01T01:00:00+02:00",
        "20230731",
        "20230731T104031",
        "2023-07-31T10:00:00.123456Z",
    ],
)
def test_every_form_of_a_time_is_its_utc_day(value):
    assert utc_day(value) == DAY


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_nothing_is_no_day(value):
    assert utc_day(value) is None


@pytest.mark.parametrize("value", ["yesterday", "31.7.2023", "2023-13-01", 20230731, 1.5, "20231301"])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="2023-07-31"):
        utc_day(value)
