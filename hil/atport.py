"""A simulated module, as its host's AT port sees it: bytes in, bytes and orders out.

Sans-IO: nothing here waits, and time is an argument, so the same calls give the same bytes. Who runs it sends each
`Say` to the host, carries out each order in the network, and calls `elapse` when `deadline` has come:

    port = AtPort(Ec25(Profile(number="+33700000002")))
    port.receive(b"AT+CPIN?\\r", now=0.0)
    # [Say(b"AT+CPIN?\\r"), Say(b"\\r\\n+CPIN: READY\\r\\n\\r\\nOK\\r\\n")]

`hil.modem.Modem` runs one on a byte stream. What goes wrong is set on `port.faults`.
"""

from collections import deque
from dataclasses import dataclass
from functools import partial

from hil.board import Order, Release
from hil.commandline import (
    Command,
    Final,
    Kind,
    Prompted,
    Refused,
    Unknown,
    body,
    error,
    framed_info,
    framed_result,
    next_command,
)
from hil.messages import MESSAGES, answer_ussd, arrive
from hil.module import Module, Stat
from hil.network import Cause
from hil.settings import BASIC, BASIC_DEFAULTS, apply, set_basic

# V.250 5.4.1 wants 40; modules take 512 and more. The bench takes no more than the least of them.
LINE_BYTES = 512
# A search over all bands.
SCAN_S = 20.0
# News is no part of a line's echo: it waits while somebody types, who has not gone away since.
TYPING_S = 1.0
# Modems that do not shield a key tell it again so soon.
REPEAT_S = 0.07
# What a byte ends while it runs (V.250 5.6.1, 6.3.1, 6.3.5), and the result of that.
ABORTABLE = {("D", Kind.ACT): "NO CARRIER", ("A", Kind.ACT): "NO CARRIER", ("+COPS", Kind.TEST): "ABORTED"}
# The calls that go with it.
SET_UP_BY = {"D": (Stat.DIALING, Stat.ALERTING), "A": (Stat.INCOMING,)}
# 27.005 3.2.5: what +CME ERROR numbers are in a command of messages.
CMS_CODES = {3: 302, 4: 303, 10: 310, 11: 311, 12: 316, 13: 313, 14: 314, 15: 315}
RESULT_CODES = ("RING", "BUSY", "NO CARRIER", "NO ANSWER")


@dataclass(frozen=True)
class Say:
    """Bytes for the host."""

    data: bytes


Effect = Say | Order


@dataclass
class _Pending:
    """A command line whose answer is not there yet. `asked` is the last command of it."""

    infos: bytes
    final: str
    asked: Command
    # What it asks of the network when it is over.
    orders: list[Order]

    @property
    def asked_for(self) -> tuple[str, Kind]:
        return self.asked.name, self.asked.kind


class AtPort:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.faults = module.faults
        self._typed = bytearray()
        # How much of it was echoed, and until when more is expected.
        self._echoed = 0
        self._typing_until = 0.0
        self._effects: list[Effect] = []
        self._pending: _Pending | None = None
        # Whose prompt is open, and what it does with the text.
        self._prompted: tuple[Command, Prompted] | None = None
        # What is typed until then is lost: some need a rest behind a hang-up.
        self._rests_until = 0.0
        # What AT+CLCC listed from when on, newest first: more than any lag reaches back.
        self._lists: deque[tuple[float, list[str]]] = deque(maxlen=64)

    @property
    def deadline(self) -> float:
        """When `elapse` is due; infinite when nothing is."""
        return self.module.agenda.deadline

    # --- from the host ---

    def receive(self, data: bytes, now: float) -> list[Effect]:
        self.module.now = now
        if self.faults.deaf or self.module.dead or now < self._rests_until:
            return []
        if self._pending and self._pending.asked_for in ABORTABLE and data:
            # The byte that aborts is no part of a command.
            data = data[1:]
            self._abort(self._pending)
        self._typed += data
        self._work()
        if self._echoed:
            self._typing_until = now + TYPING_S
            self.module.agenda.at(self._typing_until, lambda: None)
        return self._settled()

    # --- from the world ---

    def elapse(self, now: float) -> list[Effect]:
        self.module.now = now
        self.module.agenda.run(now)
        return self._settled()

    def power_on(self, now: float) -> list[Effect]:
        """It comes up from nothing: boot URCs follow as time elapses."""
        self.module.now = now
        self._typed.clear()
        self._echoed = 0
        self._pending, self._prompted, self._rests_until = None, None, 0.0
        self.module.power_on()
        return self.elapse(now)

    def power_off(self) -> None:
        self.module.power_off()

    def refuses(self) -> Cause | None:
        """Why the network can offer it no call now."""
        module = self.module
        if not module.callable:
            return Cause.ABSENT
        calls = len(list(module.voice))
        return Cause.BUSY if calls > 1 or (calls == 1 and not (module.waits and module.legs(Stat.ACTIVE))) else None

    def offered(self, number: str | None, now: float) -> tuple[int, list[Effect]]:
        """A call comes in: its index in +CLCC, by which all else calls it."""
        self.module.now = now
        index = self.module.free_index()
        self.module.offered(index, number)
        return index, self._settled()

    def moved(self, index: int, stat: Stat, now: float) -> list[Effect]:
        """The network moved a call on, to alerting or active."""
        self.module.now = now
        self.module.moved(index, stat)
        if stat is Stat.ALERTING and self.faults.early_answer:
            self.module.moved(index, Stat.ACTIVE)
        return self._settled()

    def released(self, index: int, cause: int, now: float, *, locally: bool) -> list[Effect]:
        self.module.now = now
        self.module.released(index, cause, locally=locally)
        return self._settled()

    def pressed(self, key: str, now: float) -> list[Effect]:
        """The far end's key was heard in the call."""
        self.module.now = now
        self.module.pressed(key)
        for count in range(1, self.faults.key_repeats + 1):
            self.module.agenda.at(now + count * REPEAT_S, partial(self.module.pressed, key))
        return self._settled()

    def buffer_full(self, full: bool, now: float) -> list[Effect]:
        """The host wrote faster than real time, or may go on."""
        self.module.now = now
        self.module.buffer_filled(full)
        return self._settled()

    def message(self, pdu: str, now: float) -> tuple[bool, list[Effect]]:
        """The network delivers a short message: whether it was taken."""
        self.module.now = now
        taken = arrive(self.module, pdu)
        return taken, self._settled()

    def menu(self, outcome: int, text: str, now: float) -> list[Effect]:
        """The network answers in a USSD session."""
        self.module.now = now
        answer_ussd(self.module, outcome, text)
        return self._settled()

    def set_coverage(self, stat: int, now: float) -> list[Effect]:
        """What the antenna finds, as a 27.007 7.2 <stat>: 1 home, 2 searching, 3 denied, 5 roaming."""
        self.module.now = now
        self.module.set_coverage(stat)
        return self._settled()

    def set_signal(self, rssi: int, now: float) -> list[Effect]:
        self.module.now = now
        self.module.set_signal(rssi)
        return self._settled()

    # --- one command line after the other ---

    def _basic(self, letter: str) -> str:
        return self.module.setting(letter, BASIC_DEFAULTS.get(letter, "0"))

    @property
    def _verbose(self) -> bool:
        return self._basic("V") == "1"

    def _say(self, data: bytes) -> None:
        if data:
            self._effects.append(Say(data))

    def _work(self) -> None:
        """Echo is what was typed, line by line, as a line may switch it off for the next."""
        while self._typed and self._pending is None:
            if self._prompted is not None:
                if not self._enter(*self._prompted):
                    return
                continue
            end = self._typed.find(b"\r") + 1
            typed = bytes(self._typed[: end or len(self._typed)])
            # A host that ends lines by CR LF: the LF is neither command nor echo.
            fresh = typed[self._echoed :]
            self._say(fresh.lstrip(b"\n") if self._basic("E") == "1" else b"")
            if not end:
                # Too long a line stays so, and takes no more room.
                del self._typed[LINE_BYTES + 1 :]
                self._echoed = len(self._typed)
                return
            self._echoed = 0
            del self._typed[:end]
            self._perform(typed)

    def _enter(self, asked: Command, prompted: Prompted) -> bool:
        """27.005 3.5.1: what is typed at a prompt ends with Ctrl-Z, or for nothing with ESC. False: not yet."""
        end = next((place for place, byte in enumerate(self._typed) if byte in b"\x1a\x1b"), None)
        typed = bytes(self._typed[self._echoed : end if end is None else end + 1])
        self._say(typed if self._basic("E") == "1" else b"")
        self._echoed = len(self._typed)
        if end is None:
            return False
        entered, how = bytes(self._typed[:end]), self._typed[end]
        del self._typed[: end + 1]
        self._echoed, self._prompted = 0, None
        infos, final = b"", "OK"
        if how == 0x1A:
            try:
                for line in prompted.take(entered.decode("latin-1").strip()):
                    infos += framed_info(line, verbose=self._verbose)
            except Refused as exc:
                final = self._refusal(asked, exc)
        self._finish(asked, infos, final)
        return True

    def _refusal(self, asked: Command, refused: Refused) -> str:
        cmee = int(self.module.setting("+CMEE", self.module.settings["+CMEE"].default))
        if cmee and refused.code is not None and asked.name in MESSAGES and asked.name != "+CUSD":
            return f"+CMS ERROR: {CMS_CODES.get(refused.code, refused.code)}"
        return self.module.refusal(refused) or error(refused.code, cmee)

    def _perform(self, typed: bytes) -> None:
        text = body(_edited(typed[:-1]).decode("latin-1"))
        if text is None:
            return
        infos, final, asked, hung = b"", "OK", Command(""), False
        try:
            if len(typed) > LINE_BYTES:
                raise Refused
            while text:
                asked, text = next_command(text)
                hung = hung or asked.name in self.faults.hung
                for line in self._lines(asked):
                    infos += framed_info(line, verbose=self._verbose)
        except Refused as exc:
            final = self._refusal(asked, exc)
        except Prompted as exc:
            if not hung:
                self._prompted = asked, exc
                self._say(b"\r\n> ")
            return
        except Final as exc:
            final = exc.text
        if hung or self.module.dead:
            return
        self._finish(asked, infos, final)

    def _finish(self, asked: Command, infos: bytes, final: str) -> None:
        """The answer, as late as it comes."""
        delay = self.faults.delay_s + self.faults.slow.get(asked.name, 0.0) + self.module.delays_s.get(asked.name, 0.0)
        if _is(asked, "+COPS", Kind.TEST) and final == "OK":
            delay += SCAN_S
        if not delay:
            self._answer(asked, infos, final)
            return
        held = self.module.orders.copy() if asked.name == "A" else []
        del self.module.orders[: len(held)]
        pending = self._pending = _Pending(infos, final, asked, held)
        self.module.agenda.at(self.module.now + delay, lambda: self._ripe(pending))

    def _lines(self, asked: Command) -> list[str]:
        # A message is refused by its network, when it is there.
        if (code := self.faults.refused.get(asked.name)) is not None and asked.name != "+CMGS":
            raise Refused(code)
        lines = perform(self.module, asked)
        if not _is(asked, "+CLCC", Kind.ACT):
            return lines
        self._note_list()
        return self.faults.listed(self._lists, self.module.now)

    def _note_list(self) -> None:
        lines = perform(self.module, Command("+CLCC"))
        if not self._lists or self._lists[0][1] != lines:
            self._lists.appendleft((self.module.now, lines))

    def _answer(self, asked: Command, infos: bytes, final: str) -> None:
        quiet = self._basic("Q") == "1"
        said = self.faults.spoil(infos, b"" if quiet else framed_result(final, verbose=self._verbose))
        if self.faults.news_behind_list and _is(asked, "+CLCC", Kind.ACT):
            said += self._news()
        self._say(said)
        if any(isinstance(order, Release) for order in self.module.orders):
            self._rests_until = self.module.now + self.module.rest_s
        # What the command brought about shows behind its result.
        self._flush()

    def _ripe(self, pending: _Pending) -> None:
        if self._pending is pending:
            self._pending = None
            self.module.orders += pending.orders
            self._answer(pending.asked, pending.infos, pending.final)
            self._work()

    def _abort(self, pending: _Pending) -> None:
        self._pending = None
        # A call that is up by now is no command's any more.
        for leg in self.module.legs(*SET_UP_BY.get(pending.asked.name, ())):
            self.module.order_release(leg, Cause.NORMAL)
        self._answer(pending.asked, b"", ABORTABLE[pending.asked_for])

    # --- out ---

    def _news(self) -> bytes:
        said = b""
        for line in self.module.news:
            if isinstance(line, bytes):
                said += line
            elif not self.faults.loses(line):
                framed = framed_result if line in RESULT_CODES else framed_info
                said += framed(line, verbose=self._verbose)
        self.module.news.clear()
        return said

    def _flush(self) -> None:
        module = self.module
        typing = self._echoed and self._basic("E") == "1" and module.now < self._typing_until
        if not self.faults.news_behind_list and not typing:
            self._say(self._news())
        for order in module.orders:
            if isinstance(order, Release) and self.faults.release_s:
                module.agenda.at(module.now + self.faults.release_s, partial(self._order, order))
            else:
                self._order(order)
        module.orders.clear()

    def _order(self, order: Order) -> None:
        self._effects.append(order)

    def _settled(self) -> list[Effect]:
        self._flush()
        self._note_list()
        effects, self._effects = self._effects, []
        return effects


def perform(module: Module, asked: Command) -> list[str]:
    """The info lines of one command.

    Raises:
        Refused: it failed, or is not known.
        Final: the line ends here with another result than OK.
    """
    if asked.name in module.commands:
        return module.commands[asked.name](module, asked)
    if asked.name in module.settings:
        return apply(module, asked, module.settings[asked.name])
    if asked.name in BASIC:
        return set_basic(module, asked)
    raise Unknown


def _is(asked: Command, name: str, kind: Kind) -> bool:
    return asked.name == name and asked.kind is kind


def _edited(typed: bytes) -> bytes:
    """S5: a backspace takes back the byte before it."""
    line = bytearray()
    for byte in typed:
        if byte == 0x08:
            del line[-1:]
        else:
            line.append(byte)
    return bytes(line)
