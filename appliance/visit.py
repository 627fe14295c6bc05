"""`branchline doctor` without a service: the lines are opened for as long as an examination lasts.

Nothing is written down: the database is the service's, and its user's.
"""

from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import trio

from appliance.config import Config
from appliance.doctor import Doctor, shown
from appliance.lines import make_bus, make_trunk
from appliance.media import open_media
from appliance.numbers import DialingRules, country_of, forbidden
from appliance.testcall import TestCalls
from appliance.trunk import Seizure, Trunk
from drivers.line import Incoming, LineState


async def visit(config: Config, names: Collection[str], *, calls: bool) -> dict[str, Any]:
    """As `doctor.shown` has it. Raises: UnknownLine."""
    dialing, country = config.dialing, config.sfvopi.default_country
    rules = DialingRules(dialing.deny, dialing.allow, dialing.premium, dialing.emergency)
    trunks: list[Trunk] = []

    async def permit(trunk: Trunk, number: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return forbidden(number, rules, country_of(trunk.number) or country)

    def in_use() -> bool:
        return any(trunk.state is LineState.IN_USE for trunk in trunks)

    bus = make_bus(config.lines, config.lab)
    async with open_media() as media, trio.open_nursery() as nursery:

        def let_ring(seizure: Seizure, _incoming: Incoming) -> None:
            nursery.start_soon(_let_ring, seizure)

        tests = TestCalls(media, otherwise=let_ring, permit=permit, country=country)
        for line in config.lines:
            trunks.append(make_trunk(line, bus, data_dir=config.service.data_dir, ring=tests.ring, in_use=in_use))
        doctor = Doctor(trunks, tests, sysfs=config.lab.sysfs, now=lambda: datetime.now(UTC))
        await nursery.start(bus.watch)
        for trunk in trunks:
            nursery.start_soon(trunk.keep)
        examination = await doctor.examine(names, calls=calls)
        # While the lines are there to be told of.
        report = shown(examination, running=False)
        nursery.cancel_scope.cancel()
    return report


async def _let_ring(seizure: Seizure) -> None:
    """Until the caller has enough: nobody is here to answer."""
    with closing(seizure):
        await seizure.over()
