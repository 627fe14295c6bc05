"""Sound cards: found by name and opened, through ALSA, as a port of the engine.

ALSA is asked on threads of its own, as a sick driver may keep one for ever: that costs its line, and no other.
"""

import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Generic, TypeVar

import outcome
import trio

from drivers.errors import LineAbsent, LineBlocked, LineLost
from native import TICK_S, DeviceLine, DevicePort, Engine, SoundCard, SoundDevice, SoundError, sound_devices, sound_ways

# A stream that does not run from the start, as ALSA's plugin for PulseAudio has one now and then, is begun anew. The
# last is let be, since a modem's card may stand still until the call is up.
STARTS = 3
START_LIMIT_S = 1.0
# Of a card that is well; PulseAudio on a busy machine is the slowest.
ANSWER_LIMIT_S = 10
CLOSE_LIMIT_S = 5

# What ALSA and its plugins define everywhere: it may be asked for, but leads to cards that have names of their own,
# and to try them all would take these, for a moment, from whoever opens one.
GENERAL = {
    *("default", "sysdefault", "modem", "phoneline", "pulse", "jack", "oss", "lavrate", "samplerate", "speexrate"),
    *("a52", "speex", "upmix", "vdownmix", "usbstream"),
}

# What has kept a thread beyond that, and keeps it: nothing more is asked of it.
_stuck: set[str] = set()

log = logging.getLogger(__name__)

T = TypeVar("T")


@contextlib.asynccontextmanager
async def open_sound(
    engine: Engine, name: str, *, rate_hz: int = 8000, latency_s: float = TICK_S
) -> AsyncIterator[DevicePort]:
    """`name` is the device's, as ALSA tells it, or a part of it that no other has; it plays and captures.

        USB Audio Device: USB Audio (hw:1,0)    a card's, and its device's
        modem                                   pcm.modem of ALSA's configuration

    Raises:
        LineLost: there is no such device, or it does not do what is asked of it.
        ValueError: a rate that no sound card has.
    """
    for start in range(1, STARTS + 1):
        port = engine.device(rate_hz)
        try:
            opening = partial(_open, name, port.open_line(), rate_hz, latency_s)
            card = await _ask(name, opening, SoundCard.close)
        except BaseException:
            port.close()
            raise
        try:
            if start == STARTS or await trio.to_thread.run_sync(_runs, port):
                yield port
                return
            log.warning("%s: its stream does not run, and is begun anew", name)
        finally:
            # First, as the end of its stream is no news then.
            port.close()
            await _close(name, card)


def _runs(port: DevicePort) -> bool:
    """The card's own time, whatever clock the rest goes by."""
    give_up_at = time.monotonic() + START_LIMIT_S
    while not port.stats().captured_s:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(TICK_S / 2)
    return True


async def need_sound(name: str) -> None:
    """Raises: LineLost: `open_sound` would not find it."""
    await _ask(name, partial(_find, name))


# --- threads that a driver may keep ---


class _Question(Generic[T]):
    """What a thread asks; an answer that comes when nobody waits for it any more is undone."""

    def __init__(self, name: str, ask: Callable[[], T], undo: Callable[[T], object]) -> None:
        self._name = name
        self._ask = ask
        self._undo = undo
        self._turn = threading.Lock()
        self._dropped = False
        self._answer: outcome.Outcome[T] | None = None

    def work(self) -> None:
        answer = outcome.capture(self._ask)
        with self._turn:
            if not self._dropped:
                self._answer = answer
                return
        if isinstance(answer, outcome.Value):
            self._undo(answer.value)
        _stuck.discard(self._name)

    async def wait(self, limit_s: float) -> T:
        """Raises: LineLost: no answer within the limit; what asking raises."""
        # From here on the thread is begun, whatever comes.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            with trio.move_on_after(limit_s):
                # A limiter of its own, as those that are kept would use up the one that all share.
                limiter = trio.CapacityLimiter(1)
                await trio.to_thread.run_sync(self.work, abandon_on_cancel=True, limiter=limiter)
        except trio.Cancelled:
            if isinstance(answer := self._drop(), outcome.Value):
                threading.Thread(target=self._undo, args=(answer.value,), daemon=True).start()
            raise
        if (answer := self._drop()) is None:
            raise LineLost(f"{self._name}: its driver has not answered within {limit_s:g} s")
        return answer.unwrap()

    def _drop(self) -> outcome.Outcome[T] | None:
        with self._turn:
            self._dropped = True
            if self._answer is None:
                _stuck.add(self._name)
            return self._answer


async def _ask(name: str, ask: Callable[[], T], undo: Callable[[T], object] = lambda _: None) -> T:
    if name in _stuck:
        raise LineLost(f"{name}: its driver has not come back from what it was asked before")
    return await _Question(name, ask, undo).wait(ANSWER_LIMIT_S)


async def _close(name: str, card: SoundCard) -> None:
    with trio.CancelScope(shield=True):
        try:
            await _Question(name, card.close, lambda _: None).wait(CLOSE_LIMIT_S)
        except LineLost as exc:
            log.warning("%s", exc)


# --- what a thread asks ---


def _open(name: str, line: DeviceLine, rate_hz: int, latency_s: float) -> SoundCard:
    device = _find(name)
    try:
        return SoundCard(line, device, rate_hz, latency_s)
    except SoundError as exc:
        raise LineLost(f"{name}: {exc}") from exc


def _find(name: str) -> SoundDevice:
    """Of those that play and capture: one that comes or goes may do neither."""
    try:
        devices = sound_devices()
    except SoundError as exc:
        raise LineBlocked(str(exc)) from exc
    found = [each for each in devices if name in each.name and all(sound_ways(each))]
    found = [each for each in found if each.name == name] or found
    if len(found) == 1:
        return found[0]
    # A card is there though another program has it; what is configured may lead to nothing.
    known = (each for each in devices if each.name not in GENERAL or name in each.name)
    there = [each.name for each in known if not each.configured or any(sound_ways(each))]
    if not found and any(name in each for each in there):
        raise LineAbsent(f'audio device "{name}" does not play and capture, or another program has it')
    names = ", ".join(f'"{each}"' for each in there) or "none"
    raise LineAbsent(f'{"several are" if found else "no such"} audio device "{name}"; there are: {names}')
