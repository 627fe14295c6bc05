"""What a line may spend: minutes and money, by the day and the month, counted before it dials and while it talks.

A minute begun is a minute, as most tariffs have it. Only calls that we placed count, by the box's own clock and time
zone. A call that would pass a limit is cut there: nobody is billed for more than was allowed.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Limits(BaseModel):
    """None: no limit. `price_per_minute` is in whatever money `spend_per_month` is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    minutes_per_call: Annotated[int, Field(ge=1)] | None = None
    minutes_per_day: Annotated[int, Field(ge=0)] | None = None
    minutes_per_month: Annotated[int, Field(ge=0)] | None = None
    spend_per_month: Annotated[float, Field(ge=0)] | None = None
    price_per_minute: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _has_price(self) -> Self:
        if self.spend_per_month is not None and self.price_per_minute is None:
            raise ValueError("spend_per_month needs a price_per_minute to count by")
        return self


@dataclass(frozen=True)
class Used:
    """Minutes begun, of calls that are over."""

    day_minutes: int
    month_minutes: int


def day_and_month(now: datetime) -> tuple[datetime, datetime]:
    """When those of `now` began, in its time zone."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return day, day.replace(day=1)


def exhausted(limits: Limits, used: Used) -> str | None:
    """Which limit leaves no minute for another call, for people; None: there is one left."""
    for words, left in _left(limits, used):
        if left < 1:
            return words
    return None


def minutes_left(limits: Limits, used: Used) -> int | None:
    """How long the next call may be; None: as long as it likes."""
    return min((left for _, left in _left(limits, used)), default=None)


def _left(limits: Limits, used: Used) -> list[tuple[str, int]]:
    left = []
    if limits.minutes_per_call is not None:
        left.append((f"{limits.minutes_per_call} minutes a call", limits.minutes_per_call))
    if limits.minutes_per_day is not None:
        left.append((f"{limits.minutes_per_day} minutes a day", limits.minutes_per_day - used.day_minutes))
    if limits.minutes_per_month is not None:
        left.append((f"{limits.minutes_per_month} minutes a month", limits.minutes_per_month - used.month_minutes))
    if limits.spend_per_month is not None and limits.price_per_minute:
        # In whole cents of whatever it is: 0.1 has no binary fraction.
        affordable = math.floor(round(limits.spend_per_month / limits.price_per_minute, 6))
        left.append((f"{limits.spend_per_month:g} a month", affordable - used.month_minutes))
    return left
