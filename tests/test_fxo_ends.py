"""How calls on an analog line end: by the far end, by us, by what goes wrong; and that the line is free then."""

import contextlib
import random

import pytest
import trio

from drivers.errors import CommandError, LineError, LineLost
from drivers.fxo import open_fxo_on
from drivers.line import Incoming, LineState, Released
from drivers.voicemodels import VOICE_MODELS
from hil.exchange import LineState as Exchange
from hil.subscriber import Behaviour
from tests.analog import (
    COUNTRIES,
    MODELS,
    PAIRS,
    THEIRS,
    Clock,
    Rig,
    each_pair,
    incoming,
    noise,
    open_line,
    open_rig,
    over,
)


@each_pair
async def test_a_far_end_that_hangs_up_is_noticed(model: str, country: str, autojump_clock: Clock) -> None:
    async with open_line(model, country) as rig, incoming(rig) as (call, _):
        await trio.sleep(7)
        call.hang_up()
        await over(rig)


@pytest.mark.parametrize("country", COUNTRIES)
async def test_a_busy_tone_alone_is_enough(country: str, autojump_clock: Clock) -> None:
    async with open_line("cx93010", country) as rig, incoming(rig) as (call, _):
        rig.modem.faults.busy_only = True
        await trio.sleep(7)
        call.hang_up()
        await over(rig)


async def test_silence_both_ways_ends_a_call_and_one_sided_talk_does_not(autojump_clock: Clock) -> None:
    async with open_line(silence_s=30.0) as rig, incoming(rig) as (call, ours):
        rig.modem.faults.silent_clear = True
        call.say(noise(40, 1))
        await rig.nothing(45)
        player = rig.engine.player(noise(5, 2), loop=True)
        rig.engine.connect(player, ours.port)
        call.hang_up()
        await rig.nothing(60)
        player.close()
        since = trio.current_time()
        await over(rig, 102, within_s=40)
        assert 28 < trio.current_time() - since < 36


async def test_no_call_lasts_for_ever(autojump_clock: Clock) -> None:
    async with open_line(ceiling_s=40.0) as rig, incoming(rig) as (call, _):
        call.say(noise(5, 1) * 12)
        await over(rig, 102, within_s=42)


@pytest.mark.parametrize("country", ["FR", "US"])
async def test_talk_is_no_end(country: str, autojump_clock: Clock) -> None:
    async with open_line("usr5637", country) as rig, incoming(rig) as (call, ours):
        rig.modem.faults.spurious = "bdKbdh"[:5]
        call.say(noise(60, 1))
        rig.engine.connect(rig.engine.player(noise(60, 2)), ours.port)
        await rig.nothing(55)


@pytest.mark.parametrize("model", MODELS)
async def test_a_modem_that_does_not_leave_its_stream_loses_its_dtr(model: str, autojump_clock: Clock) -> None:
    async with open_line(model) as rig, incoming(rig) as (call, _):
        rig.modem.faults.exit_ignored = True
        call.hang_up()
        await over(rig, within_s=20)
        assert rig.wire.drops == rig.line.recoveries.repairs == 1


async def test_a_modem_that_stays_off_hook_loses_its_dtr(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig) as (call, _):
        rig.modem.faults.stuck_off_hook = True
        rig.modem.faults.refused = {"+VLS": 0, "H": 0}
        call.hang_up()
        await over(rig, within_s=20)
        assert rig.wire.drops == 1


async def test_a_modem_that_even_so_does_not_hear_is_lost(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig) as (call, _):
        rig.modem.faults.wedged = True
        call.hang_up()
        with pytest.raises(LineLost, match="no answer"):
            await rig.next(60)


async def test_what_an_order_that_was_given_up_has_left_is_put_away_however_long(
    autojump_clock: Clock,
) -> None:
    async with open_line() as rig:
        rig.modem.faults.hung, rig.modem.faults.delay_s = {"+VLS"}, 1.0
        call = rig.phone().dial(rig.number)
        await rig.next()
        with trio.move_on_after(5):
            await rig.line.answer()
        call.hang_up()
        await trio.sleep(60)
        assert rig.modem.voice_modem.daa.service_class == "0"
        assert rig.modem.exchange.state is Exchange.IDLE


@pytest.mark.parametrize("attached", [True, False])
async def test_a_line_that_is_closed_leaves_no_call(attached: bool, autojump_clock: Clock) -> None:
    async with open_rig() as rig:
        async with open_fxo_on(rig.wire, "jack", VOICE_MODELS["cx93010"], rig.line_profile) as rig.line:
            await rig.next()
            call = rig.phone().dial(rig.number)
            await rig.next()
            await rig.next()
            await rig.line.answer()
            if attached:
                async with rig.sound():
                    await call.answered()
                    await trio.sleep(2)
        await trio.sleep(2)
        assert rig.modem.exchange.state is Exchange.IDLE
        assert not rig.network.calls


async def test_unplugged_in_a_call_is_lost_at_once(autojump_clock: Clock) -> None:
    async with open_line() as rig, incoming(rig):
        rig.modem.unplug()
        with pytest.raises(LineLost, match="gone"):
            await rig.next(2)


class Chance:
    """A day of a line: calls of all kinds, given up at any time, while this and that goes wrong."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self._rig = rig
        self._random = random.Random(seed)
        self.log: list[object] = []

    async def day(self, calls: int) -> None:
        for _ in range(calls):
            self._misfortune()
            self.log.append((round(trio.current_time(), 2), self._rig.modem.faults))
            phone = self._rig.phone()
            phone.behaviour = self._random.choice(
                [Behaviour.ANSWER, Behaviour.ANSWER, Behaviour.REJECT, Behaviour.BUSY]
            )
            phone.answers_after_s = self._random.uniform(0, 15)
            phone.says = noise(2, 1) if self._random.random() < 0.7 else b""
            with trio.move_on_after(self._random.choice([0.5, 5, 20, 40])):
                await self._random.choice([self._dial, self._be_called, self._be_called])()
            for call in phone.calls:
                call.hang_up()
            with trio.move_on_after(1):
                await self._rig.line.hang_up()
            await self._settle()

    def _misfortune(self) -> None:
        faults = self._rig.modem.faults
        likely = self._random.random() < 0.5
        faults.late_rings = self._random.choice([0, 1, 2]) if likely else 0
        faults.exit_ignored = likely and self._random.random() < 0.3
        faults.no_caller_id = likely and self._random.random() < 0.3
        faults.busy_only = likely and self._random.random() < 0.3
        faults.silent_clear = likely and self._random.random() < 0.2
        faults.spurious = self._random.choice(["", "bKd", "rsqv"]) if likely else ""
        faults.delay_s = self._random.choice([0.0, 0.05, 1.0]) if likely else 0.0
        faults.hung = {"+VLS"} if likely and self._random.random() < 0.1 else set()

    async def _dial(self) -> None:
        try:
            await self._rig.line.dial(THEIRS)
        except CommandError as exc:
            self.log.append(exc)
            return
        await self._talk()

    async def _be_called(self) -> None:
        self._rig.phone().dial(self._rig.number, withheld=self._random.random() < 0.2)
        while not isinstance(event := await self._rig.line.next_event(), Incoming):
            self.log.append(event)
        try:
            await self._rig.line.answer()
        except CommandError as exc:
            self.log.append(exc)
            return
        await self._talk()

    async def _talk(self) -> None:
        try:
            async with self._rig.sound() as ours:
                self._rig.engine.connect(self._rig.engine.player(noise(3, 2)), ours.port)
                while not isinstance(event := await self._rig.line.next_event(), Released):
                    self.log.append((round(trio.current_time(), 2), event))
        except LineError as exc:
            self.log.append(exc)

    @property
    def _is_free(self) -> bool:
        watch = self._rig.line._watch
        return watch.call.stat is None and watch._modem.at_rest

    async def _settle(self) -> None:
        """Whatever went wrong, the line is free again, and nothing is left of the call."""
        rig = self._rig
        # A ring that was given up is over when the next one does not come; a modem out of step needs some tries.
        with trio.fail_after(60):
            # No event stands for all of it.
            while not (self._is_free and rig.modem.exchange.state is Exchange.IDLE):  # noqa: ASYNC110
                await trio.sleep(0.5)
        await trio.sleep(1)
        with contextlib.suppress(trio.TooSlowError):
            while True:
                self.log.append(await rig.next(0.01))
        assert rig.line.state is LineState.IDLE, self.log[-30:]
        assert not rig.modem.voice_modem.daa.off_hook
        assert rig.modem.voice_modem.daa.service_class == "0"
        assert not rig.network.calls


@pytest.mark.parametrize(("model", "country", "seed"), [(*pair, seed) for seed, pair in enumerate(PAIRS[:4])])
async def test_whatever_goes_wrong_the_line_is_free_again(
    model: str, country: str, seed: int, autojump_clock: Clock
) -> None:
    async with open_line(model, country, silence_s=20.0) as rig:
        await Chance(rig, seed).day(5)
