"""A call from one line of the box to another: placed, answered, chirps said both ways, hung up.

It is no customer's call: no event tells it, nothing is recorded, and it stands among the test calls, not the calls. It
begins only where both lines are idle, and is ended at once when anybody wants one of them.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import structlog
import trio

from appliance.diagnosis import End, Outcome, TestCall, Way
from appliance.media import Media
from appliance.numbers import caller_id, country_of
from appliance.soundcheck import received_s
from appliance.trunk import Lost, Seizure, Trunk, TrunkBusy, TrunkDown
from drivers.errors import CommandError, LineError, LineLost
from drivers.line import Alerting, Answered, Incoming, LineState, Released
from native import RATE_HZ, DeviceStats, Engine, Finished, PcmStats, Player, Port, Recorder

log = structlog.get_logger(__name__)

# From our order to the ring at the other line: mobile networks page for 10 s and fall back from LTE before it.
RING_LIMIT_S = 40
# A caller whose number is not told is ours if our own call is told to ring within this.
BELIEF_LIMIT_S = 10
ANSWER_LIMIT_S = 20
# After the callee's answer, until the caller learns of it; an analog line hears it at the first word.
LEARN_LIMIT_S = 2
# Sound is switched on behind the answer, and buffers find their depth.
SETTLE_S = 1.0
HANG_UP_LIMIT_S = 12
# In front of the chirps, that no tick between two orders to the engine cuts them; and behind, for what is under way.
LEAD_S, TAIL_S = 0.2, 1.3
# Beyond the sound's own length: an engine that stands still is no reason to wait.
PATIENCE_S = 3.0

GAVE_WAY = "somebody wanted the line"


class TestCalls:
    """`ring` is told of every incoming call; those that are no test are passed on to `otherwise`.

    `permit` says why a line must not dial a number, for people; None: it may. `country` is for numbers in national
    form.
    """

    __test__ = False

    def __init__(
        self,
        media: Media,
        *,
        otherwise: Callable[[Seizure, Incoming], None],
        permit: Callable[[Trunk, str], Awaitable[str | None]],
        country: str,
    ) -> None:
        self._media = media
        self._otherwise = otherwise
        self._permit = permit
        self._country = country
        # By the callee.
        self._attempts: dict[Trunk, _Attempt] = {}

    def ring(self, seizure: Seizure, incoming: Incoming) -> None:
        attempt = self._attempts.get(seizure.trunk)
        if attempt is None or not attempt.offered(seizure, incoming):
            self._otherwise(seizure, incoming)

    async def call(self, caller: Trunk, callee: Trunk) -> TestCall:
        attempt = _Attempt(caller, callee, self._media, self._otherwise, self._country)
        # It brings numpy, which takes its time to load.
        attempt.words = await trio.to_thread.run_sync(_words)
        if (why := await self._permit(caller, callee.number)) is not None:
            return attempt.result(Outcome.NOT_TESTED, why)
        for trunk in (caller, callee):
            if trunk.state is not LineState.IDLE or trunk in self._attempts:
                return attempt.result(Outcome.NOT_TESTED, f"{trunk.name} is {trunk.state.value}")
        try:
            seizure = caller.seize()
        except (TrunkBusy, TrunkDown):
            return attempt.result(Outcome.NOT_TESTED, f"{caller.name} is in use")
        log.info("test call", caller=caller.name, callee=callee.name)
        self._attempts[callee] = attempt
        try:
            with closing(seizure):
                done = await attempt.run(seizure)
        finally:
            del self._attempts[callee]
        log.info("test call ended", caller=caller.name, callee=callee.name, outcome=done.outcome.value)
        worn = await _worn(caller, callee)
        # Half a second of a Pi's: beside the event loop.
        ways = await trio.to_thread.run_sync(_ways, attempt.takes)
        return replace(done, ways=ways, worn=worn)


@dataclass(frozen=True)
class Take:
    """One direction, as recorded: what was said, twice, with what was heard there and here at the same time."""

    speaker: str
    listener: str
    there: bytes
    here: bytes


class _Attempt:
    def __init__(
        self,
        caller: Trunk,
        callee: Trunk,
        media: Media,
        otherwise: Callable[[Seizure, Incoming], None],
        country: str,
    ) -> None:
        self.takes: list[Take] = []
        # What is said.
        self.words = b""
        self._caller = caller
        self._callee = callee
        self._media = media
        self._otherwise = otherwise
        self._country = country_of(callee.number) or country
        self._scope = trio.CancelScope()
        self._alerting = trio.Event()
        self._answered = trio.Event()
        self._arrived = trio.Event()
        self._taken = trio.Event()
        # At the callee: one that is ours, and one that may be.
        self._far: Seizure | None = None
        self._doubtful: tuple[Seizure, Incoming] | None = None
        self._dialed_at = self._taken_at = 0.0
        self._set_up_s: float | None = None
        self._ends: dict[str, End] = {}
        self._done: TestCall | None = None

    def result(self, outcome: Outcome, detail: str = "", *, lost: str = "") -> TestCall:
        """The first thing that goes wrong is what is told."""
        if self._done is None:
            self._done = TestCall(
                self._caller.name,
                self._callee.name,
                self._callee.number,
                outcome,
                detail,
                lost=lost,
                set_up_s=self._set_up_s,
                ends=self._ends,
            )
        return self._done

    def _stop(self, outcome: Outcome, detail: str = "", *, lost: str = "") -> None:
        self.result(outcome, detail, lost=lost)
        self._scope.cancel()

    # --- the callee's ring ---

    def offered(self, seizure: Seizure, incoming: Incoming) -> bool:
        """Whether it is taken, now or perhaps later."""
        if self._far is not None or self._doubtful is not None or self._scope.cancel_called:
            return False
        number = caller_id(incoming.number, self._country)
        if number == self._caller.number:
            self._take(seizure)
        elif incoming.number is None:
            self._doubtful = seizure, incoming
            self._nursery.start_soon(self._believe)
        else:
            who = f"{number} called {self._callee.name} meanwhile; is that {self._caller.name}'s own number?"
            self._stop(Outcome.NOT_TESTED, who)
            return False
        return True

    async def _believe(self) -> None:
        with trio.move_on_after(BELIEF_LIMIT_S):
            await self._alerting.wait()
            assert self._doubtful is not None
            (seizure, _), self._doubtful = self._doubtful, None
            self._take(seizure)
            return
        self._stop(Outcome.NOT_TESTED, f"somebody without a number called {self._callee.name} meanwhile")

    def _take(self, seizure: Seizure) -> None:
        seizure.gives_way = True
        self._far = seizure
        self._set_up_s = round(trio.current_time() - self._dialed_at, 1)
        self._arrived.set()

    # --- the call ---

    async def run(self, seizure: Seizure) -> TestCall:
        seizure.gives_way = True
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._hear_caller, seizure)
                    self._nursery.start_soon(self._give_way, seizure)
                    await self._carry(seizure)
                    self._nursery.cancel_scope.cancel()
        finally:
            # Also when cancelled: a line left off-hook costs money.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + HANG_UP_LIMIT_S):
                await self._hang_up(seizure)
            if self._far is not None:
                self._far.close()
            if self._doubtful is not None:
                self._otherwise(*self._doubtful)
        talked_s = trio.current_time() - self._taken_at if self._taken_at else 0.0
        return replace(self.result(Outcome.NOT_TESTED, "cut short"), talked_s=round(talked_s, 1))

    async def _carry(self, seizure: Seizure) -> None:
        self._dialed_at = trio.current_time()
        try:
            await seizure.line.dial(self._callee.number)
            async with seizure.sound(self._media) as here:
                await self._wait_for_ring()
                if self._far is not None and await self._answer(self._far):
                    async with self._far.sound(self._media) as there:
                        await self._talk(here, there)
        except LineLost:
            self._stop(Outcome.LINE_LOST, lost=self._caller.name)
        except CommandError as exc:
            outcome = Outcome.NO_DIAL_TONE if exc.result.startswith("NO DIAL") else Outcome.REFUSED
            self._stop(outcome, exc.result)
        except LineError as exc:
            # Its end is on its way.
            with trio.move_on_after(SETTLE_S):
                await trio.sleep_forever()
            self._stop(Outcome.REFUSED, str(exc))

    async def _wait_for_ring(self) -> None:
        with trio.move_on_after(RING_LIMIT_S):
            await self._arrived.wait()
            return
        self._stop(Outcome.ANSWERED_ELSEWHERE if self._answered.is_set() else Outcome.NOT_ARRIVED)

    async def _answer(self, far: Seizure) -> bool:
        self._nursery.start_soon(self._hear_callee, far)
        self._nursery.start_soon(self._give_way, far)
        try:
            await far.line.answer()
            with trio.move_on_after(ANSWER_LIMIT_S):
                await self._taken.wait()
                return True
            why = f"no answer in {ANSWER_LIMIT_S} s"
        except LineLost:
            self._stop(Outcome.LINE_LOST, lost=self._callee.name)
            return False
        except LineError as exc:
            why = str(exc)
        self._stop(Outcome.NOT_ANSWERED, why)
        return False

    async def _talk(self, here: Port, there: Port) -> None:
        with trio.move_on_after(LEARN_LIMIT_S):
            await self._answered.wait()
        await trio.sleep(SETTLE_S)
        try:
            # The callee first: a caller on an analog line hears that it was answered.
            await self._say(self._callee.name, there, self._caller.name, here)
            await self._say(self._caller.name, here, self._callee.name, there)
        finally:
            self._ends |= {self._caller.name: _end(here), self._callee.name: _end(there)}
        self.result(Outcome.DONE)

    async def _say(self, speaker: str, mouth: Port, listener: str, ear: Port) -> None:
        engine = self._media.engine
        with ExitStack() as stack:
            there, here = (stack.enter_context(closing(engine.recorder())) for _ in range(2))
            player = stack.enter_context(closing(engine.player(self.words)))
            _record(engine, player, ear, there)
            _record(engine, player, mouth, here)
            engine.connect(player, mouth)
            with self._media.events_of(player) as events, trio.move_on_after(self._length_s + PATIENCE_S):
                async for event in events:
                    if isinstance(event, Finished):
                        break
            self.takes.append(Take(speaker, listener, there.read(), here.read()))

    @property
    def _length_s(self) -> float:
        return len(self.words) / 2 / RATE_HZ

    async def _hang_up(self, seizure: Seizure) -> None:
        async with trio.open_nursery() as nursery:
            for each in (seizure, self._far):
                if each is not None:
                    nursery.start_soon(_put_down, each)

    # --- what the lines tell ---

    async def _hear_caller(self, seizure: Seizure) -> None:
        async for told in seizure.told:
            match told:
                case Alerting():
                    self._alerting.set()
                case Answered():
                    self._alerting.set()
                    self._answered.set()
                case Released(cause):
                    self._ended(cause)
                case Lost():
                    self._stop(Outcome.LINE_LOST, lost=self._caller.name)

    async def _hear_callee(self, seizure: Seizure) -> None:
        async for told in seizure.told:
            match told:
                case Answered():
                    self._taken_at = trio.current_time()
                    self._taken.set()
                case Released(cause):
                    self._ended(cause)
                case Lost():
                    self._stop(Outcome.LINE_LOST, lost=self._callee.name)

    def _ended(self, cause: int) -> None:
        """By somebody else than us."""
        if not self._arrived.is_set() and self._callee.state is LineState.IN_USE:
            self._stop(Outcome.NOT_TESTED, f"{self._callee.name} is in use")
        elif self._taken_at:
            after_s = trio.current_time() - self._taken_at
            self._stop(Outcome.REFUSED, f"the call was cut after {after_s:.0f} s (Q.850 cause {cause})")
        else:
            self._stop(Outcome.REFUSED, f"the network ended the call (Q.850 cause {cause})")

    async def _give_way(self, seizure: Seizure) -> None:
        await seizure.wanted.wait()
        self._stop(Outcome.NOT_TESTED, GAVE_WAY)


async def _worn(*trunks: Trunk) -> tuple[str, ...]:
    """A module whose sound suffered from a call is restarted as soon as that is over."""
    worn = []

    async def watch(trunk: Trunk) -> None:
        await trunk.until(lambda it: it.state is LineState.STARTING)
        worn.append(trunk.name)

    with trio.move_on_after(SETTLE_S):
        async with trio.open_nursery() as nursery:
            for trunk in trunks:
                nursery.start_soon(watch, trunk)
    return tuple(worn)


async def _put_down(seizure: Seizure) -> None:
    with contextlib.suppress(LineError):
        await seizure.line.hang_up()


def _words() -> bytes:
    from appliance import chirp

    lead, tail = (bytes(2 * round(s * RATE_HZ)) for s in (LEAD_S, TAIL_S))
    return lead + chirp.probe().tobytes() + tail


def _record(engine: Engine, player: Player, ear: Port, recorder: Recorder) -> None:
    engine.connect(player, recorder.left)
    engine.connect(ear, recorder.right)


def _end(port: Port) -> End:
    stats = port.stats()
    heard_s = sent_s = None
    if isinstance(stats, PcmStats | DeviceStats):
        heard_s = round(received_s(stats), 1)
    if isinstance(stats, PcmStats):
        sent_s = round(stats.sent_bytes / stats.sample_bytes / RATE_HZ, 1)
    return End(heard_s, sent_s, stats.most_yielded)


def _ways(takes: Sequence[Take]) -> tuple[Way, ...]:
    import numpy as np

    from appliance import chirp

    def channels(recorded: bytes) -> tuple[chirp.Sound, chirp.Sound]:
        samples = np.frombuffer(recorded, np.int16)
        return samples[0::2], samples[1::2]

    return tuple(
        Way(take.speaker, take.listener, chirp.heard(*channels(take.there)), chirp.echo(*channels(take.here)))
        for take in takes
    )
