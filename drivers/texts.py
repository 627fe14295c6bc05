"""A SIM's short messages, beside its calls and never in their way.

What the module stores is read - when it tells of it, and every few minutes in case it did not - and handed over; it is
deleted only when whoever took it says that it is safe. Nothing is asked of the module while there is a call or an order
for one, and a prompt that a call finds open is left.
"""

import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import trio

from drivers import sms
from drivers.errors import CommandError, CommandTimeout, LineLost
from drivers.line import Received, Storage
from drivers.module import Module
from drivers.port import Entry
from drivers.session import Session
from drivers.ussd import News

log = logging.getLogger(__name__)

# Prefixes of what a module says of messages by itself.
URCS = ("+CMTI:", "+CDSI:", "+CMT:", "+CDS:", "+CBM:", "+CUSD:", "^SMMEMFULL", "+SMS FULL", "+CIEV:")

# News of messages is lost on a reset of the bus, and in busy calls.
SWEEP_S = 180
# When a sweep was refused, as by a SIM that is busy after power-on.
SWEEP_AGAIN_S = 15
# Calls and registrations come and go without a word to us.
LOOK_S = 0.5
# Each is on the SIM as long as it is not taken, and told again in the next sweep.
QUEUE = 1000

# A SIM is slow: some 100 ms a message.
_LIMITS_S = {"AT+CPMS": 20, "AT+CMGL": 30, "AT+CMGR": 10, "AT+CMGD": 20}
_LIMIT_S = 5
# Vendors allow themselves 120 s, and a network that has not said yes in a minute will not.
SEND_LIMIT_S = 60

# Stored and told of by place; reports stored, or told at once where they can't be; without reports, or told of only
# while the port is idle, as old sticks have it (27.005 3.4.1).
_ROUTES = ("2,1,0,2,0", "2,1,0,1,0", "2,1,0,0,0", "1,1,0,0,0")
# Memories of messages; "MT" is two of them under one name (27.005 3.1).
_MEMORIES = ("SM", "ME", "SR")

_STORED = re.compile(r'\+C(?:MT|DS)I: *"?(\w*)"?, *(-?\d+)')
_LISTED = re.compile(r"\+CMGL: *(\d+) *, *\"?(\d)")
_USAGE = re.compile(r"\+CPMS: *(\d+) *, *(\d+)")
_TAKEN = re.compile(r"\+CMGS: *(\d+)")


class GsmTexts:
    """drivers.line.Texts. Somebody has to `run` it, and to let it `hear` the module's news.

    `free` tells whether there is neither a call nor an order for one, `registered` whether there is a network.
    """

    def __init__(self, module: Module, *, free: Callable[[], bool], registered: Callable[[], bool]) -> None:
        self.storage: dict[str, Storage] = {}
        self._module = module
        self._port = module.port
        self._free = free
        self._registered = registered
        self._moved = trio.Event()
        # What was told of, by memory and index, and not read yet.
        self._places: dict[tuple[str, int], None] = {}
        self._sweep_due = 0.0
        # Handed over; True when it may be deleted, and has not been.
        self._handed: dict[Received, bool] = {}
        # Read, and not whole.
        self._doubted: set[Received] = set()
        self._direct = 0
        # The module's choice of memory for reading and deleting is kept from one command to the next.
        self._turn = trio.Lock()
        self._memories: tuple[str, ...] | None = None
        self._memory = ""
        # 27.005 3.2.1: in phase 2+ who takes a message directly acknowledges it.
        self._acknowledges = False
        self._session = Session(module, free=free)
        self._tell, self._told = trio.open_memory_channel[Received](QUEUE)

    # --- news ---

    def hear(self, line: str) -> None:
        """Something that the module said unasked; most is not of messages. Does not wait."""
        header, _, pdu = line.partition("\n")
        if stored := _STORED.match(line):
            memory, index = stored[1], int(stored[2])
            if memory and index >= 0:
                self._places[memory, index] = None
            else:
                # As has been seen: `+CMTI: ,-1`.
                self._sweep_due = 0
        elif header.startswith(("+CMT:", "+CDS:")):
            # Half of one is not thanked for, and comes again; where nobody is thanked it is all there will be.
            if is_whole(header, pdu) or not self._acknowledges:
                self._direct += 1
                self._hand_over(Received(pdu, "", self._direct))
        elif line.startswith("+CUSD:"):
            self._session.hear(line)
        elif "FULL" in line.upper():
            log.warning("%s: the storage for messages is full", self._module.name)
            self._sweep_due = 0
        self._moved.set()
        self._moved = trio.Event()

    def _hand_over(self, received: Received) -> None:
        if received in self._handed:
            return
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._tell.send_nowait(received)
            self._handed[received] = False

    # --- what comes ---

    async def receive(self) -> Received:
        try:
            return await self._told.receive()
        except trio.EndOfChannel:
            raise self._port.loss() from None

    async def forget(self, received: Received) -> None:
        if not received.memory:
            self._handed.pop(received, None)
            if self._acknowledges:
                await self._attempt("AT+CNMA")
            return
        self._handed[received] = True
        await self._until(self._free)
        async with self._turn:
            # A sweep may have been faster, and the place be another message's by now.
            if received in self._handed:
                await self._delete(received)

    async def _delete(self, received: Received) -> None:
        """What is refused, or not answered, is tried again when a sweep has seen that it is there."""
        if await self._select(received.memory) and await self._attempt(f"AT+CMGD={received.index}") is not None:
            self._handed.pop(received, None)

    async def run(self) -> None:
        """Until the line is lost."""
        try:
            while True:
                await self._until(self._free)
                await self._tend()
                with trio.move_on_at(self._sweep_due):
                    while not (self._places or self._session.intruded or self._is_due):
                        await self._moved.wait()
        except LineLost:
            self._tell.close()

    @property
    def _is_due(self) -> bool:
        return trio.current_time() >= self._sweep_due

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._port.lost is not None:
                raise self._port.loss()
            await trio.sleep(LOOK_S)

    async def _tend(self) -> None:
        if self._session.intruded:
            await self._session.leave()
        async with self._turn:
            if self._memories is None and not await self._set_up():
                self._sweep_due = trio.current_time() + SWEEP_AGAIN_S
                return
            while self._places and self._free():
                memory, index = next(iter(self._places))
                del self._places[memory, index]
                if self._memories and memory in self._memories:
                    await self._read(memory, index)
                else:
                    # Another name of a place that a sweep finds too: deleted under both, it would cost the message
                    # that came there in between.
                    self._sweep_due = 0
            if self._is_due and self._free():
                await self._sweep()

    async def _set_up(self) -> bool:
        if await self._attempt("AT+CMGF=0") is None or (known := await self._attempt("AT+CPMS=?")) is None:
            return False
        self._acknowledges = await self._attempt("AT+CSMS=1") is not None
        # Before anything is sent: a module that has no route for a report drops it.
        await self._route()
        # The first list is of memories to read and to delete from.
        choices = re.findall(r"\w\w", "".join(known).partition("(")[2].partition(")")[0])
        self._memories = tuple(memory for memory in _MEMORIES if memory in choices) or tuple(choices[:1])
        return True

    async def _route(self) -> None:
        """Anew with each sweep: a module that missed an acknowledgement stops to tell of messages (27.005 3.4.4)."""
        for route in _ROUTES:
            if await self._attempt(f"AT+CNMI={route}") is not None:
                return

    async def _read(self, memory: str, index: int) -> None:
        if await self._select(memory):
            lines = await self._attempt(f"AT+CMGR={index}") or ()
            for header, pdu in pairwise(lines):
                if header.startswith("+CMGR:"):
                    self._hand_over_whole(header, Received(pdu, memory, index))

    def _hand_over_whole(self, header: str, received: Received) -> None:
        """News may land in the midst of a PDU, whose half must not be taken for it, or the rest be deleted. What is as
        long as its header says is whole; what is not, but twice the same, is of a firmware that counts in its own way.
        """
        if is_whole(header, received.pdu) or received in self._doubted:
            self._doubted.discard(received)
            self._hand_over(received)
        else:
            self._doubted.add(received)
            self._sweep_due = min(self._sweep_due, trio.current_time() + SWEEP_AGAIN_S)

    async def _sweep(self) -> None:
        self._sweep_due = trio.current_time() + SWEEP_S
        await self._route()
        for memory in self._memories or ():
            self._memory = ""
            if not self._free():
                # A call is in the way: what is left is done after it.
                self._sweep_due = 0
                return
            if await self._select(memory):
                await self._sweep_selected(memory)
            else:
                self._sweep_due = trio.current_time() + SWEEP_AGAIN_S

    async def _sweep_selected(self, memory: str) -> None:
        storage = self.storage.get(memory)
        if storage is not None and storage.used == 0:
            return
        if (lines := await self._attempt("AT+CMGL=4")) is None:
            self._sweep_due = trio.current_time() + SWEEP_AGAIN_S
            return
        listed = _listed(memory, lines)
        for received, header in listed.items():
            if self._handed.get(received):
                await self._delete(received)
            elif received not in self._handed:
                self._hand_over_whole(header, received)
        for received in [each for each in self._handed if each.memory == memory and each not in listed]:
            del self._handed[received]
        if storage is not None and storage.used >= storage.total and not listed:
            log.warning("%s: %s is full of messages that are not ours", self._module.name, memory)

    async def _select(self, memory: str) -> bool:
        if self._memory == memory:
            return True
        lines = await self._attempt(f'AT+CPMS="{memory}"')
        self._memory = memory if lines is not None else ""
        for line in lines or ():
            if usage := _USAGE.match(line):
                self.storage[memory] = Storage(int(usage[1]), int(usage[2]))
        return lines is not None

    # --- what goes ---

    async def send(self, pdu: str) -> int:
        length = sms.tpdu_length(pdu)
        entered = False

        def wanted() -> bool:
            nonlocal entered
            entered = self._free()
            return entered

        while True:
            await self._until(lambda: self._memories is not None and self._free() and self._registered())
            try:
                lines = await self._ask(f"AT+CMGS={length}", SEND_LIMIT_S, Entry(pdu, wanted))
                break
            except CommandError as exc:
                if exc.result != "withdrawn":
                    raise
            except LineLost as exc:
                if not entered:
                    raise
                # Perhaps because of it: a module that starts anew over a message must not be given it for ever.
                raise CommandError("AT+CMGS", "the line was lost") from exc
        return next((int(taken[1]) for line in lines if (taken := _TAKEN.match(line))), 0)

    # --- USSD: the other thing that a SIM says in words ---

    async def ussd(self, text: str) -> News:
        return await self._session.ask(text)

    async def cancel_ussd(self) -> None:
        await self._session.leave()

    # --- the module ---

    async def _ask(self, command: str, limit_s: float, entry: Entry | None = None) -> list[str]:
        """Raises: CommandError, also for silence; LineLost."""
        try:
            return await self._port.command(command, limit_s=limit_s, entry=entry)
        except CommandTimeout as exc:
            self._memory = ""
            raise CommandError(command.partition(",")[0], "no answer") from exc

    async def _attempt(self, command: str) -> list[str] | None:
        """None when it was refused. Raises: LineLost."""
        try:
            return await self._ask(command, _LIMITS_S.get(command[:7], _LIMIT_S))
        except CommandError as exc:
            log.debug("%s: %s", self._module.name, exc)
            return None


def _listed(memory: str, lines: Sequence[str]) -> dict[Received, str]:
    """With their headers; what somebody wrote and left there (<stat> 2 and 3) is not ours."""
    found = ((_LISTED.match(header), header, pdu) for header, pdu in pairwise(lines))
    return {
        Received(pdu, memory, int(match[1])): header
        for match, header, pdu in found
        if match and match[2] in "01" and not pdu.startswith("+")
    }


def is_whole(header: str, pdu: str) -> bool:
    """<length>, the last field of +CMGL, +CMGR, +CMT and +CDS, is the TPDU's."""
    length = re.split(r"[,: ]", header)[-1]
    try:
        return length.isdecimal() and int(length) == sms.tpdu_length(pdu)
    except sms.Unreadable:
        return False
