from datetime import UTC, datetime, timedelta, timezone

import pytest

from appliance.limits import Limits, Used, day_and_month, exhausted, minutes_left

NOTHING = Used(0, 0)


def test_without_limits_a_call_is_as_long_as_it_likes():
    assert exhausted(Limits(), Used(10**6, 10**6)) is None
    assert minutes_left(Limits(), Used(10**6, 10**6)) is None


@pytest.mark.parametrize(
    ("limits", "used", "left", "words"),
    [
        (Limits(minutes_per_day=60), Used(59, 900), 1, None),
        (Limits(minutes_per_day=60), Used(60, 900), 0, "60 minutes a day"),
        (Limits(minutes_per_day=60), Used(75, 900), -15, "60 minutes a day"),
        (Limits(minutes_per_month=900), Used(0, 900), 0, "900 minutes a month"),
        (Limits(minutes_per_call=30, minutes_per_day=60), Used(20, 20), 30, None),
        (Limits(minutes_per_call=30, minutes_per_day=60), Used(50, 50), 10, None),
        (Limits(spend_per_month=20, price_per_minute=0.1), Used(0, 199), 1, None),
        (Limits(spend_per_month=20, price_per_minute=0.1), Used(0, 200), 0, "20 a month"),
        (Limits(spend_per_month=0.3, price_per_minute=0.1), Used(2, 2), 1, None),
        (Limits(spend_per_month=5, price_per_minute=0.3), Used(0, 16), 0, "5 a month"),
    ],
)
def test_the_narrowest_limit_decides_and_is_named(limits, used, left, words):
    assert minutes_left(limits, used) == left
    assert exhausted(limits, used) == words


def test_a_day_and_a_month_begin_where_the_box_is():
    here = timezone(timedelta(hours=2))
    night = datetime(2026, 6, 30, 23, 30, tzinfo=UTC).astimezone(here)
    assert day_and_month(night) == (datetime(2026, 7, 1, tzinfo=here), datetime(2026, 7, 1, tzinfo=here))
