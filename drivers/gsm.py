"""A SIM as a line: a GSM or LTE module on an AT port, with its call's audio on a second tty or a sound card.

Orders are here, what happens by itself is in `drivers/watch.py`, and what a device does its own way is in
`drivers/models.py`.
"""

import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import trio

from drivers.audio import KINDS, Audio, Card, PcmTty, Place
from drivers.errors import CommandError, CommandTimeout, LineLost
from drivers.evidence import OneCall
from drivers.line import Identity, LineEvent, LineState, Recoveries
from drivers.models import WAITING, Model, Sound
from drivers.module import Module
from drivers.parsers import parse
from drivers.port import HEAR_OUT_S, Port, close_tty, open_tty, public
from drivers.radio import Radio
from drivers.replies import CallEnded, CallStat
from drivers.sim import Pin, Sim
from drivers.supervision import ringback_of
from drivers.texts import URCS, GsmTexts
from drivers.watch import Watch
from native import Engine, Event, PcmPort
from native import Port as AudioPort

# For leaving nothing behind: an order that failed, a line that is closed in a call. With the last command heard out.
LEAVE_S = 8
# For ATD or ATA, while neither a result nor a report tells that the module is at it.
ORDER_LIMIT_S = 30

# 27.007 6.2: for this call alone, whatever AT+CLIR says.
HIDDEN = "I"
NUMBER = re.compile(r"\+?[0-9*#]{1,40}")
KEYS = re.compile(r"[0-9*#A-D]*")


@dataclass(frozen=True)
class Options:
    """What a line's owner may have otherwise: a second caller is let wait, and rings when the call is over, as there is
    one voice path; who is called does not see our number.
    """

    call_waiting: bool = False
    hide_number: bool = False


ORDINARY = Options()


class GsmLine:
    """drivers.line.Line. Made by `open_gsm`."""

    def __init__(
        self, module: Module, audio: Audio, watch: Watch, *, home: str | None = None, hides_number: bool = False
    ) -> None:
        self.name = module.name
        self._module = module
        self._audio = audio
        self._watch = watch
        self._call = watch.call
        self._turn = trio.Lock()
        self._home = home
        self._hides_number = hides_number
        self.texts = GsmTexts(module, free=self._is_free, registered=lambda: any(watch.radio.bearers))

    def _is_free(self) -> bool:
        """Neither a call nor an order for one."""
        return self._call.stat is None and not self._turn.locked()

    @property
    def state(self) -> LineState:
        return self._watch.state

    @property
    def identity(self) -> Identity:
        return self._watch.identity

    @property
    def signal_dbm(self) -> int | None:
        return self.radio.signal_dbm

    @property
    def radio(self) -> Radio:
        """Registration, operator, technology, cell, signal: as the module last said."""
        return self._watch.radio

    @property
    def repairs(self) -> int:
        return self._call.repairs + self._watch.strays

    @property
    def recoveries(self) -> Recoveries:
        return self._module.recoveries(repairs=self.repairs)

    async def next_event(self) -> LineEvent:
        return await self._watch.news.next()

    async def dial(self, number: str) -> None:
        """Raises: ValueError for what is not a number; CommandError also while there is a call."""
        if not NUMBER.fullmatch(number):
            raise ValueError("not a number to dial")
        async with self._turn:
            self._need(None, "ATD", "the line is in use")
            self._watch.order = trio.CancelScope()
            try:
                await self._audio.prepare()
                # Somebody may have rung meanwhile.
                self._need(None, "ATD", "the line is in use")
                self._call.dialing(ringback_of(number, self._home))
                self._watch.emit([])
                await self._place(f"ATD{number}{HIDDEN if self._hides_number else ''};")
                await self._audio.ordered()
                await trio.lowlevel.checkpoint_if_cancelled()
            except BaseException:
                ordered = self._call.ordered
                self._call.withdrawn(trio.current_time())
                await self.leave_nothing(ordered)
                self._watch.emit([])
                self._watch.look_soon()
                raise

    async def answer(self) -> None:
        async with self._turn:
            self._need(CallStat.INCOMING, "ATA", "nobody is calling")
            self._watch.order = trio.CancelScope()
            await self._audio.prepare()
            self._call.answering()
            try:
                await self._order("ATA")
            except CommandError as exc:
                self._watch.take(parse(exc.result))
                await self._watch.look()
                # Silence is no refusal: it may have been heard all the same.
                if self._call.stat is not CallStat.ACTIVE:
                    await self._audio.off()
                    raise
            await self._audio.ordered()
            self._watch.look_soon()

    async def hang_up(self) -> None:
        self._watch.order.cancel()
        async with self._turn:
            self._call.hanging_up(trio.current_time())
            if self._audio.prepared:
                await self._audio.hanging_up()
            await self._watch.spare_waiting()
            rings = not self._call.somebody_waits
            await self._module.drop_calls(ringing=rings, unseen=rings and self._call.stat is not None)
            await self._watch.look()

    async def send_dtmf(self, digits: str) -> None:
        """As fast as the module takes them. Raises: ValueError for what is no key; CommandError without a call."""
        if not KEYS.fullmatch(digits):
            raise ValueError("not keys of a telephone")
        model = self._module.model
        order = model.dtmf.partition("=")[0]
        for key in digits:
            self._need(CallStat.ACTIVE, order, "no call")
            if key not in model.keys:
                raise CommandError(order, f"this {model.noun} cannot send {key}")
            # Not again after silence: it may have been heard.
            await self._module.ask(model.dtmf.format(key=key, index=self._call.index or 1), tries=1)

    @asynccontextmanager
    async def attach(self, engine: Engine) -> AsyncIterator[AudioPort]:
        async with self._audio.attach(engine) as port:
            port.detect_dtmf(not self._module.hears_keys)
            flow = self._watch.flow_to(port.hold) if isinstance(port, PcmPort) else contextlib.nullcontext()
            with flow, self._watch.ear(port):
                yield port

    def heard(self, event: Event) -> None:
        self._watch.hear_sound(event)

    def _need(self, stat: CallStat | None, order: str, otherwise: str) -> None:
        if self._module.port.lost is not None:
            raise self._module.port.loss()
        if self.state is LineState.STARTING:
            raise CommandError(order, "the module is being restarted")
        if self._call.stat is not stat:
            raise CommandError(order, otherwise)

    async def _place(self, order: str) -> None:
        try:
            await self._order(order)
        except CommandError as exc:
            reply = parse(exc.result)
            # NO CARRIER is also what LTE says when it falls back for the call, and goes on with it. So this, and
            # silence, is news like any other: if there is no call, its end is told.
            if not isinstance(reply, CallEnded) and not isinstance(exc.__cause__, CommandTimeout):
                raise
            self._watch.take(reply)
        self._watch.look_soon()

    async def _order(self, order: str) -> None:
        """Until there is a result, a report of the call makes it needless, or somebody hangs up."""
        with self._watch.order as waiting:
            waiting.deadline = trio.current_time() + ORDER_LIMIT_S
            await self._module.ask(order, tries=1)
        if waiting.cancelled_caught:
            raise CommandError(public(order), "not sent")

    async def leave_nothing(self, ordered: bool) -> None:
        """No call that we placed or answered, as far as LEAVE_S suffices for it, and no sound."""
        self._audio.let_go()
        with trio.move_on_after(LEAVE_S - HEAR_OUT_S, shield=True), contextlib.suppress(LineLost):
            if self._audio.prepared:
                await self._audio.hanging_up()
            await self._module.drop_calls(ringing=False, unseen=ordered)
            if self._audio.prepared:
                await self._audio.off()


@asynccontextmanager
async def open_gsm(
    name: str,
    model: Model,
    *,
    at_path: str,
    pcm_path: str | None = None,
    card: str | None = None,
    pin: Pin | None = None,
    country: str | None = None,
    options: Options = ORDINARY,
) -> AsyncIterator[GsmLine]:
    """A line that is up; registered or not, as a SIM may have to wait for its network. Its calls' audio is on a tty,
    or on a sound card, by the name that ALSA gives it. `country` (ISO 3166) is that of numbers which say none.

    Leaves no call behind, whichever way it is left.

    Raises:
        LineLost: it did not come up, with a sentence for people; in an exception group, like the body's errors.
        ValueError: audio of another kind than the model has.
    """
    sound = Sound.CARD if card is not None else Sound.PCM
    if sound not in model.audio or (card is None and pcm_path is None):
        raise ValueError(f"{model.title} has its audio elsewhere")
    place: Place = Card(card or "")
    if sound is Sound.PCM:
        place = PcmTty(partial(open_tty, str(pcm_path)), model.audio[sound].chunk_bytes)
    fd = await open_tty(at_path)
    try:
        stream = trio.lowlevel.FdStream(os.dup(fd))
        async with (
            stream,
            open_gsm_on(
                stream, name, model, sound=sound, place=place, pin=pin, country=country, options=options
            ) as line,
        ):
            yield line
    finally:
        close_tty(fd)


@asynccontextmanager
async def open_gsm_on(
    stream: trio.abc.Stream,
    name: str,
    model: Model,
    *,
    sound: Sound,
    place: Place,
    pin: Pin | None = None,
    country: str | None = None,
    options: Options = ORDINARY,
) -> AsyncIterator[GsmLine]:
    """On any stream."""
    port = Port(stream, urcs=(*model.urcs, *model.noise, *URCS), name=name)
    if options.call_waiting:
        model = replace(model, after_registration=WAITING)
    module, switch = Module(name, model, port), model.audio[sound]
    call = OneCall(tells_states=model.tells_states, call_waiting=options.call_waiting)
    audio = KINDS[switch.when](module, switch, place, call)
    watch = Watch(module, Sim(module, pin), audio, call)
    line = GsmLine(module, audio, watch, home=country, hides_number=options.hide_number)
    watch.on_other = line.texts.hear
    # Also when all around is cancelled: the last commands' answers want to be heard.
    hearing, watching = trio.CancelScope(shield=True), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_within, hearing, port.listen)
        try:
            await watch.start()
            nursery.start_soon(_within, watching, watch.run, line.texts.run)
            try:
                yield line
            finally:
                # Its questions would be in the way.
                watching.cancel()
                await line.leave_nothing(watch.call.ordered)
        finally:
            hearing.cancel()
            nursery.cancel_scope.cancel()


async def _within(scope: trio.CancelScope, *tasks: Callable[[], Awaitable[None]]) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)
