"""64 calls at once through the whole service, from modems' PCM ports to sockets and back; all of them recorded.

The service is the command in a process of its own, its modems simulated EC25s on ptys whose sound real-time threads of
C carry (tests.bench.tap), its customer webhooks and voice servers on loopback, over real sockets. All of it shares this
machine's cores with the service.

`calls.late_ms.p999.64`: of all frames of both ways, from the PCM port to the voice server and from there to the PCM
port: how late each was, as in `latency.*` (tests.bench.service). Of a call that part counts which was over when the
machine first stood still, for a third of what the bar allows. `service.rss_mib.64`: resident memory of the service
meanwhile. `calls.lost.64`: after all have hung up at once, what is missing of each call's hangup webhook, its
phone_call.completed at the webhook, and its recording, as long as the call was. Recordings are encoded as soon as a
round is over, into the next one.

With `.bad` a third of the calls have voice servers that stall, flood or vanish (tests.bench.vandals); frames are those
of the other calls, and what is lost is of all.
"""

import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import soundfile
import trio

from hil.box import Box
from hil.customer import ANSWER, EVENTS, HANGUP, Missing, Webhooks, open_webhooks
from hil.subscriber import PhoneCall
from tests.bench import delays
from tests.bench.apart import Apart
from tests.bench.figures import Figure, percentile
from tests.bench.pauses import Pauses
from tests.bench.tap import Exchange, open_exchange
from tests.bench.vandals import KINDS

CALLS = 64
BAD_EVERY = 3
SECRET = "whsec_bench-5f0c3a9be17d4826"
READY_LIMIT_S = 60
CALL_LIMIT_S = 30
# What voice servers said while calls were being connected is their queue: they are silent until it is played.
SETTLE_S = 2.0
TALK_S, QUICK_TALK_S = 10.0, 3.0
# Of both ways together, in rounds until there are as many.
ENOUGH, QUICK_ENOUGH = 40_000, 5_000
# With fewer the machine, and not the box, was measured.
LEAST, QUICK_LEAST = 5_000, 1_000
MOST_ROUNDS = 5
# Of the machine, or of its kernel with a modem's bytes.
PAUSE_S = 0.02
# For what is lost.
LOOKS, LOOK_EVERY_S = 60, 0.5
# The box learns of an answer after the network; of an end, too, but then a recording is longer.
LENGTH_WITHIN_S = 1.5


@dataclass
class _Crowd:
    """What came of the rounds."""

    late_ms: list[float] = field(default_factory=list)
    rss_mib: float = 0
    lost: list[str] = field(default_factory=list)

    def figures(self, suffix: str, least: int) -> Iterator[Figure]:
        yield Figure(f"service.rss_mib.{suffix}", self.rss_mib)
        yield Figure(f"calls.lost.{suffix}", len(self.lost))
        if len(self.late_ms) < least:
            raise delays.NotFound(f"{len(self.late_ms)} frames: the machine stood still too often")
        yield Figure(f"calls.late_ms.p999.{suffix}", percentile(self.late_ms, 0.999))


def measure(names: set[str], directory: Path, *, quick: bool) -> Iterator[Figure]:
    failures = []
    for suffix, bad in ((f"{CALLS}", False), (f"{CALLS}.bad", True)):
        if any(name.endswith(f".{suffix}") for name in names):
            home = directory / suffix
            home.mkdir()
            crowd = _Crowd()
            trio.run(lambda home=home, crowd=crowd, bad=bad: gather(crowd, home, bad=bad, quick=quick))  # type: ignore[misc]
            for line in crowd.lost:
                print(f"lost: {line}", flush=True)
            try:
                yield from (
                    figure for figure in crowd.figures(suffix, QUICK_LEAST if quick else LEAST) if figure.name in names
                )
            except delays.NotFound as exc:
                failures.append(exc)
    if failures:
        raise failures[0]


async def gather(crowd: _Crowd, directory: Path, *, bad: bool, quick: bool) -> None:
    with Apart("tests.bench.voice", "--prompt") as voice, Apart("tests.bench.vandals") as vandals:
        url = f"ws://127.0.0.1:{voice.hear()['port']}/voice"
        worse = f"ws://127.0.0.1:{vandals.hear()['port']}"
        kinds = itertools.cycle(KINDS)
        async with (
            open_exchange(CALLS, directory) as exchange,
            open_webhooks(lambda: {"url": url}) as webhooks,
            open_webhooks(lambda: {"url": f"{worse}/{next(kinds)}"}) as bad_webhooks,
            _started(directory, exchange, webhooks) as box,
        ):
            good = [number for number in range(CALLS) if not bad or number % BAD_EVERY]
            await _link(box, exchange, webhooks, good)
            if bad:
                await _link(box, exchange, bad_webhooks, sorted({*range(CALLS)} - {*good}))
            rig = _Rig(box, exchange, (webhooks, bad_webhooks), voice, good)
            with Pauses(PAUSE_S) as pauses:
                for _ in range(1 if quick else MOST_ROUNDS):
                    await rig.round(crowd, pauses, QUICK_TALK_S if quick else TALK_S)
                    if len(crowd.late_ms) >= (QUICK_ENOUGH if quick else ENOUGH):
                        break


@asynccontextmanager
async def _started(directory: Path, exchange: Exchange, webhooks: Webhooks) -> AsyncIterator[Box]:
    box = Box(directory, exchange.lines, events_url=webhooks.url + EVENTS, secret=SECRET)
    try:
        await box.create_key()
        await box.start()
        await box.idle(within_s=READY_LIMIT_S)
        yield box
        await box.stop()
    finally:
        await box.kill()


async def _link(box: Box, exchange: Exchange, webhooks: Webhooks, numbers: list[int]) -> None:
    app, _ = await box.post(
        "/apps", {"name": "Crowd", "answer_url": webhooks.url + ANSWER, "hangup_url": webhooks.url + HANGUP}
    )
    for number in numbers:
        await box.post(f"/apps/{app['app_id']}/numbers", {"voip_number": exchange.lines[number].number})


class _Rig:
    """A box with all its lines linked, and everybody around it. `good` are the lines whose voice server is."""

    def __init__(
        self, box: Box, exchange: Exchange, webhooks: tuple[Webhooks, ...], voice: Apart, good: list[int]
    ) -> None:
        self._box = box
        self._exchange = exchange
        self._webhooks = webhooks
        self._voice = voice
        self._good = good

    async def round(self, crowd: _Crowd, pauses: Pauses, talk_s: float) -> None:
        before = self._completed()
        self._voice.ask("play")
        calls = [
            phone.dial(line.number) for line, phone in zip(self._exchange.lines, self._exchange.phones, strict=True)
        ]
        with _in_time(CALL_LIMIT_S, "all calls answered and connected"):
            for call in calls:
                await call.answered()
            await trio.to_thread.run_sync(self._voice.ask, "await", str(len(self._good)), abandon_on_cancel=True)
        self._voice.ask("pause")
        await trio.sleep(SETTLE_S)
        self._voice.ask("play")
        await trio.sleep(SETTLE_S)
        self._voice.ask("forget")
        await trio.sleep(talk_s)
        talked = await trio.to_thread.run_sync(self._voice.ask, "dump")
        crowd.rss_mib = max(crowd.rss_mib, self._box.rss_mib)
        for call in calls:
            call.hang_up()
        await self._box.idle(within_s=READY_LIMIT_S)
        takes = [self._exchange.lines[number].takes[-1] for number in self._good]
        for talk in talked:
            take = delays.take_of(talk, takes)
            until = min(pauses.first(take.begun), take.held_up(take.begun, PAUSE_S))
            crowd.late_ms += delays.line_to_socket_ms(take, talk, until)
            crowd.late_ms += delays.socket_to_line_ms(take, talk, until)
        crowd.lost += await self._lost(calls, before)

    async def _lost(self, calls: list[PhoneCall], before: set[tuple[str, int]]) -> list[str]:
        """In words. From each phone this round's call is the last; `before` are events of earlier rounds."""
        numbers = [phone.number for phone in self._exchange.phones]
        lasted_s = {number: _lasted_s(call) for number, call in zip(numbers, calls, strict=True)}
        ids = await self._ids()
        lost: list[str] = []
        for _ in range(LOOKS):
            hung_up, completed = self._hung_up(), {number for number, _ in self._completed() - before}
            recorded_s = {number: self._recorded_s(id_) for number, id_ in ids.items()}
            lost = [f"the call of {number}" for number in numbers if number not in ids]
            lost += [f"the hangup webhook of {number}" for number, id_ in ids.items() if id_ not in hung_up]
            lost += [f"the event of {number}" for number in numbers if number not in completed]
            lost += [
                f"of {number}'s recording: {seconds:.1f} of {lasted_s[number]:.1f} s are there"
                for number, seconds in recorded_s.items()
                if seconds < lasted_s[number] - LENGTH_WITHIN_S
            ]
            if not lost:
                break
            await trio.sleep(LOOK_EVERY_S)
        return lost

    async def _ids(self) -> dict[str, str]:
        """Of each phone's last call."""
        headers = {"X-API-Key": self._box.key}
        async with httpx.AsyncClient(base_url=self._box.url, headers=headers, timeout=30, trust_env=False) as client:
            page = (await client.get("/box/v1/calls", params={"limit": CALLS})).json()
        return {call["from"]: call["id"] for call in reversed(page["calls"])}

    def _hung_up(self) -> set[str]:
        return {post.json["call_uuid"] for webhooks in self._webhooks for post in webhooks.posts(HANGUP)}

    def _completed(self) -> set[tuple[str, int]]:
        """Whose calls the events tell the end of, and which of his."""
        events = [post.json for webhooks in self._webhooks for post in webhooks.posts(EVENTS)]
        return {(e["data"]["from"], e["data"]["id"]) for e in events if e["type"] == "phone_call.completed"}

    def _recorded_s(self, id_: str) -> float:
        """Whether it is small already or not."""
        for kind in ("wav", "mp3"):
            with contextlib.suppress(soundfile.LibsndfileError):
                return float(soundfile.info(self._box.recordings / f"{id_}.{kind}").duration)
        return 0.0


def _lasted_s(call: PhoneCall) -> float:
    assert call.answered_at is not None
    assert call.ended_at is not None
    return call.ended_at - call.answered_at


@contextmanager
def _in_time(limit_s: float, what: str) -> Iterator[None]:
    """Raises: Missing."""
    began = time.monotonic()
    with trio.move_on_after(limit_s) as scope:
        yield
    if scope.cancelled_caught:
        raise Missing(f"expected {what} within {time.monotonic() - began:.0f} s")
