"""Hours of chance on the lines of a town: calls and messages both ways, and all that can go wrong, by a seed.

What happens is written down twice: here, as the network and its phones had it, and in the service's database. When all
is quiet again, `Soak.wrong` says where the two do not agree, which line was stuck, and what never came.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import httpx
import structlog
import trio

from appliance.contracts.sfvopi import order
from appliance.exchange import NotDialed
from appliance.message import Message
from drivers.line import LineState
from hil import mishaps
from hil.modem import Modem
from hil.network import Call, State
from hil.storage import Slot, Status
from hil.subscriber import Behaviour, Subscriber
from tests.reckoning import Carried, Row, times, wrong_calls, wrong_posts, wrong_texts
from tests.rig import speech
from tests.town import APP, NOON, URL, Town

log = structlog.get_logger(__name__)

# What a line needs to be idle again, from when nothing is wrong with it any more.
BOUND_S = 120
LOOK_S = 2
# Messages that were refused rest for half an hour at most (appliance/message.py), and are sent again.
QUIET_S = 2400
# Each line's: the mean of what passes between two things that happen on it.
PAUSE_S = 150
# Far ends that nobody hears are not known to have answered, on analog lines: everybody says something.
HELLO = speech(2, 1)
PHONES = ("+33783484044", "+33783484045", "+33783484046", "+33783484047")
# A message of somebody else's on a SIM, known by its being this object.
FOREIGN = "0001000B913387434840F40000"
EMOJI = " \N{GRINNING FACE} " * 40

# Name as in hil/mishaps.py, value, and how long it lasts at most.
GSM: tuple[tuple[str, str, float], ...] = (
    *(("hung", name, 60) for name in ("+CLCC", "+CHUP", "H", "D", "A", "+CSQ", "+CREG", "+CEER", "+CMGF")),
    *(("hung", name, 60) for name in ("+CMGS", "+CMGL", "+CMGD", "+CPMS", "+CNMI", "+QPCMV", "^DDSETEX", "+CPCMREG")),
    *(("refused", f"{name}=14", 60) for name in ("+CLCC", "+CMGL", "+CMGS", "+CHUP", "+CPMS", "+CMGD", "D", "A")),
    *(("lost-news", text, 120) for text in ("NO CARRIER", "RING", "+CMTI", "+CLIP", "^C", "VOICE CALL")),
    *(("lost-finals", number, 60) for number in ("1", "2", "5")),
    ("deaf", "", 120),
    ("delay-s", "1.5", 60),
    ("slow", "A=4", 60),
    ("slow", "D=8", 60),
    ("before-answer", r"\xff\x00+CL", 5),
    ("splice", r"4:\r\nRING\r\n", 5),
    ("cut-at", "3", 5),
    ("list-lag-s", "2", 120),
    ("no-list-s", "5", 10),
    ("news-behind-list", "", 60),
    ("early-answer", "", 120),
    ("false-no-carrier", "", 120),
    ("audio-refused", "", 120),
    ("choppy", "", 120),
    ("key-repeats", "3", 120),
    ("flood-per-s", "40", 30),
    ("nmea", "", 60),
    ("noise-dbfs", "-45", 120),
    ("drift-ppm", "150", 300),
    ("stall-s", "0.5", 60),
    ("leftover-ms", "300", 5),
    ("no-sound", "", 60),
    ("release-s", "4", 120),
    ("sim-removed", "", 60),
    ("network-lost", "searching", 120),
    ("network-lost", "denied", 120),
    ("signal", "2", 120),
    ("unplug", "", 60),
    ("restart", "", 5),
    ("full", "", 120),
)
ANALOG: tuple[tuple[str, str, float], ...] = (
    *(("hung", name, 60) for name in ("D", "A", "H", "+VLS", "+VTR", "+FCLASS", "+VSM")),
    *(("lost-finals", number, 60) for number in ("1", "3")),
    ("deaf", "", 120),
    ("delay-s", "1", 60),
    ("drift-ppm", "150", 300),
    ("noise-dbfs", "-50", 120),
    ("stall-s", "0.5", 60),
    ("no-sound", "", 60),
    ("exit-ignored", "", 120),
    ("wedged", "", 60),
    ("late-rings", "2", 120),
    ("stuck-off-hook", "", 60),
    ("no-loop-code", "", 120),
    ("no-caller-id", "", 120),
    ("busy-only", "", 120),
    ("unplug", "", 60),
)


class Soak:
    def __init__(self, town: Town, *, seed: int) -> None:
        self.town = town
        self.happened: Counter[str] = Counter()
        self.longest: dict[str, float] = defaultdict(float)
        self._seed = seed
        self._chance = Random(seed)
        self._phones = [self._phone(number) for number in PHONES]
        # Calls by the network's own, while they last, and all there were.
        self._open: dict[Call, Carried] = {}
        self._carried: list[Carried] = []
        self._texted: dict[str, tuple[str, str]] = {}
        self._posted: dict[str, tuple[str, Subscriber]] = {}
        self._wired = {name for name, socket in town.sockets.items() if not isinstance(socket.place.modem, Modem)}
        # Nothing is wrong with a line from then on.
        self._well_at: dict[str, float] = dict.fromkeys(town.sockets, 0.0)
        self._stuck: list[str] = []
        self._serial = 0
        town.bench.network.observers.append(self._observe)
        town.answer = self._answer

    def _phone(self, number: str) -> Subscriber:
        return self.town.bench.subscriber(number, behaviour="answer", answers_after_s=2, says=HELLO)

    # --- chance -----------------------------------------------------------------------------------------------------

    async def run(self, hours: float, *, at_a_third: Callable[[], None]) -> None:
        """With the quiet time behind it."""
        until = trio.current_time() + 3600 * hours

        async def pause() -> None:
            await trio.sleep(1200 * hours)
            at_a_third()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(pause)
            with trio.move_on_at(until):
                async with trio.open_nursery() as fates:
                    for place, name in enumerate(self.town.sockets):
                        fates.start_soon(self._fate, name, Random(f"{self._seed} {place}"))
            for name in self.town.sockets:
                self._mend(name)
            for phone in self._phones:
                phone.behaviour = Behaviour.ANSWER
            self.town.bench.network.centre.release(trio.current_time())
            await self._settle()
            nursery.cancel_scope.cancel()

    async def _settle(self) -> None:
        """Bounds are over, and what rests is sent."""
        await trio.sleep(2 * BOUND_S)
        with trio.move_on_after(QUIET_S):
            while self.town.bench.network.centre.waiting or await self._restless():  # noqa: ASYNC110 - jumps
                await trio.sleep(30)

    async def _restless(self) -> bool:
        query = "SELECT 1 FROM message_parts WHERE state IN ('queued', 'sending', 'sent') OR message IS NULL LIMIT 1"
        return bool(await self.town.database.read(lambda connection: connection.execute(query).fetchall()))

    async def _fate(self, name: str, chance: Random) -> None:
        """What happens to one line."""
        is_gsm = isinstance(self.town.sockets[name].place.modem, Modem)
        acts = [self._call_in, self._call_in, self._call_out, self._call_out, self._trouble, self._trouble]
        if is_gsm:
            acts += [self._text, self._text, self._post]
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(chance.expovariate(1 / PAUSE_S))
                nursery.start_soon(chance.choice(acts), name, chance)

    async def _call_in(self, name: str, chance: Random) -> None:
        phone, line = chance.choice(self._phones), self.town.bench.line(name)
        self.happened["calls in"] += 1
        call = phone.dial(line.number, withheld=chance.random() < 0.2, play=HELLO)
        with trio.move_on_after(chance.choice((3, 8, 30, 90))):
            await call.ended()
        call.hang_up()
        self._tidy()

    async def _call_out(self, name: str, chance: Random) -> None:
        phone, trunk = chance.choice(self._phones), self.town.trunks[name]
        phone.behaviour = chance.choice((*(Behaviour.ANSWER,) * 4, *Behaviour))
        self._serial += 1
        wanted = {"from": trunk.number, "to": phone.number, "answer_url": f"{URL}answer", "ring_timeout": 20}
        self.happened["calls out"] += 1
        try:
            placed = order(json.dumps(wanted).encode(), country="FR")
            await self.town.control.place(placed, APP, f"sfv_ob_req_{self._serial}")
        except NotDialed as exc:
            self._stuck.append(f"{name}: not dialed: {exc}")
        self.town.stir()
        await trio.sleep(chance.choice((5, 20, 60)))
        for call in phone.calls:
            if call.call.caller is self.town.bench.line(name).modem:
                call.hang_up()
        self._tidy()

    def _tidy(self) -> None:
        """A phone remembers all that it heard."""
        for phone in self._phones:
            phone.calls[:] = [call for call in phone.calls if call.state is not State.ENDED]

    def _answer(self, request: httpx.Request) -> object:
        """The customer's server: one call in four is to go on until the far end has enough, others are short."""
        if not request.url.path.startswith("/answer"):
            return {}
        if self._chance.random() < 0.25:
            return {"stream": {"url": "ws://127.0.0.1:1/", "keep_call_alive": True}}
        return self._chance.choice((0.5, 4, 9, 60))

    # --- messages ---

    def _body(self, chance: Random) -> str:
        self._serial += 1
        rest = chance.choice(("", "a word. " * 30, "a longer text, " * 40, EMOJI))
        return f"[{self._serial}] {rest}"

    async def _text(self, name: str, chance: Random) -> None:
        """To a line: at times held back, and then in any order, and twice."""
        centre, number = self.town.bench.network.centre, self.town.bench.line(name).number
        centre.holding = mixed = chance.random() < 0.3
        for _ in range(chance.choice((1, 1, 1, 3, 12))):
            phone, body = chance.choice(self._phones), self._body(chance)
            self._texted[body] = (phone.number, name)
            phone.text(number, body)
            self.happened["messages in"] += 1
        if mixed:
            await trio.sleep(chance.uniform(0, 30))
            chance.shuffle(centre.held)
            centre.held += chance.sample(centre.held, len(centre.held) // 4)
            centre.release(trio.current_time())

    async def _post(self, name: str, chance: Random) -> None:
        phone, body = chance.choice(self._phones), self._body(chance)
        number = self.town.bench.line(name).number
        message = await self.town.postbox.post(number, phone.number, body, report=True, validity_s=86400)
        self._posted[body] = (message.id, phone)
        self.happened["messages out"] += 1

    # --- what goes wrong ---

    async def _trouble(self, name: str, chance: Random) -> None:
        if self._well_at[name] > trio.current_time():
            return
        socket = self.town.sockets[name]
        device = socket.place.modem
        kinds = GSM if isinstance(device, Modem) else ANALOG
        fault, value, longest_s = chance.choice(kinds)
        self._well_at[name] = float("inf")
        for call, carried in self._open.items():
            carried.clean &= carried.line != name or call.state is State.ENDED
        self.happened["faults"] += 1
        self.happened[f"  {fault} {value}"] += 1
        log.info("fault", line=name, fault=fault, value=value)
        try:
            if fault == "unplug":
                await socket.unplug()
            elif fault == "restart" and isinstance(device, Modem):
                device.module.restart(again=True)
                device.faults_changed()
            elif fault == "full" and isinstance(device, Modem):
                self._fill(device)
            else:
                mishaps.begin(device, fault, value)
            await trio.sleep(chance.uniform(1, longest_s))
        finally:
            self._mend(name)

    def _mend(self, name: str) -> None:
        socket = self.town.sockets[name]
        device = socket.place.modem
        mishaps.end(device)
        if isinstance(device, Modem):
            self._empty(device)
        socket.plug()
        self._well_at[name] = min(self._well_at[name], trio.current_time() + BOUND_S)
        log.info("mended", line=name)

    def _fill(self, device: Modem) -> None:
        """With what the owner of the SIM wrote, and the box leaves alone."""
        storage = device.module.storage
        for memory in storage:
            for index in range(storage.capacities[memory]):
                storage[memory].setdefault(index, Slot(Status.SENT, FOREIGN))

    def _empty(self, device: Modem) -> None:
        storage = device.module.storage
        for memory in storage:
            for index in [index for index, slot in storage[memory].items() if slot.pdu is FOREIGN]:
                del storage[memory][index]
        device.faults_changed()

    # --- what was seen ----------------------------------------------------------------------------------------------

    def _observe(self, call: Call, state: State) -> None:
        now = trio.current_time()
        if call not in self._open:
            places = {socket.place.modem: name for name, socket in self.town.sockets.items()}
            ours = call.caller if call.caller in places else call.callee
            if ours not in places or state is State.ENDED:
                return
            incoming = ours is not call.caller
            name = places[ours]
            clean = self._well_at[name] <= now and (self.town.trunks[name].state is LineState.IDLE or not incoming)
            self._open[call] = carried = Carried(name, incoming, call.presented, clean)
            self._carried.append(carried)
        self._open[call].at[state] = now
        if state is State.ENDED:
            del self._open[call]

    async def _watch(self) -> None:
        """Lines that are not idle though nothing is wrong, and nobody calls."""
        since: dict[str, float] = {}
        while True:
            await trio.sleep(LOOK_S)
            now = trio.current_time()
            for name, trunk in self.town.trunks.items():
                busy = bool(self.town.sockets[name].place.modem.calls) or self._well_at[name] == float("inf")
                if trunk.state is LineState.IDLE or busy:
                    since.pop(name, None)
                    continue
                lasted_s = now - since.setdefault(name, now)
                self.longest[name] = max(self.longest[name], lasted_s)
                if BOUND_S <= lasted_s < BOUND_S + LOOK_S:
                    self._stuck.append(f"{name}: {trunk.state.value} for {BOUND_S} s at {now:.0f} ({trunk.problem})")

    # --- the reckoning ----------------------------------------------------------------------------------------------

    async def wrong(self) -> list[str]:
        rows = await self._rows()
        messages = await self._messages()
        self.happened["sent twice"] = sum(times(phone, body) > 1 for body, (_, phone) in self._posted.items())
        return [
            *self._stuck,
            *wrong_calls(rows, self._carried, self._wired),
            *wrong_texts(messages, self._texted),
            *wrong_posts(messages, self._posted),
        ]

    async def _rows(self) -> list[Row]:
        query = "SELECT uuid, line, direction, started_at, answered_at, ended_at, reason FROM calls ORDER BY id"
        found = await self.town.database.read(lambda connection: connection.execute(query).fetchall())

        def seconds(text: str | None) -> float | None:
            if text is None:
                return None
            return self.town.began_at + (datetime.fromisoformat(text) - NOON) / timedelta(seconds=1)

        return [
            Row(uuid, line, way == "inbound", seconds(started) or 0, seconds(answered), seconds(ended), reason)
            for uuid, line, way, started, answered, ended, reason in found
        ]

    async def _messages(self) -> list[Message]:
        found: list[Message] = []
        before = None
        while page := await self.town.store.mailbox.messages(line=None, direction=None, before=before, limit=200):
            found += page
            before = page[-1].seq
        return found
