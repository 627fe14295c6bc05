"""USSD sessions of a SIM: a code, the network's menus, our answers; one at a time, and none in a call."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import trio

from drivers import ussd
from drivers.errors import CommandError, CommandTimeout
from drivers.module import Module
from drivers.ussd import News, Outcome

log = logging.getLogger(__name__)

COMMAND_LIMIT_S = 10
NETWORK_LIMIT_S = 60
LEAVE_S = 2
# As the model's `set_up` has it.
CHARSET = "GSM"


class Session:
    """`free` tells whether there is neither a call nor an order for one."""

    def __init__(self, module: Module, *, free: Callable[[], bool]) -> None:
        # A menu that nobody asked for holds the one session that there is.
        self.intruded = False
        self._module = module
        self._free = free
        # By an order, or by the end of one.
        self._turn = trio.Lock()
        self._asking = False
        self._reply: trio.MemorySendChannel[News] | None = None

    def hear(self, line: str) -> None:
        """A +CUSD line."""
        news = ussd.read(line, CHARSET)
        if news is None:
            log.info("%s: an unreadable USSD text", self._module.name)
        elif self._reply is not None:
            with contextlib.suppress(trio.WouldBlock):
                self._reply.send_nowait(news)
        elif news.outcome is Outcome.MORE:
            self.intruded = True

    async def ask(self, text: str) -> News:
        """Raises: ValueError, CommandError, LineLost."""
        written = ussd.encode(text, CHARSET, packed=self._module.model.packs_ussd)
        if self._asking:
            raise CommandError("AT+CUSD", "another USSD request is under way")
        self._asking = True
        try:
            async with self._turn:
                return await self._answer(f'AT+CUSD=1,"{written}",{ussd.CODING}')
        finally:
            self._asking = False

    async def _answer(self, command: str) -> News:
        if not self._free():
            raise CommandError("AT+CUSD", "the line is in use")
        with self._listening() as replies:
            try:
                with trio.fail_after(NETWORK_LIMIT_S):
                    # Some firmware tells the answer and no result.
                    with contextlib.suppress(CommandTimeout):
                        await self._module.port.command(command, limit_s=COMMAND_LIMIT_S)
                    return await replies.receive()
            except trio.TooSlowError:
                await self._end(replies)
                raise CommandError("AT+CUSD", f"the network did not answer in {NETWORK_LIMIT_S} s") from None

    async def leave(self) -> None:
        """The menu, if there is one. Who waits for an answer hears that it has ended."""
        if self._asking:
            await self._module.attempt("AT+CUSD=2", tries=1)
            return
        async with self._turn:
            self.intruded = False
            with self._listening() as replies:
                await self._end(replies)

    async def _end(self, replies: trio.MemoryReceiveChannel[News]) -> None:
        """Most modules tell of the end; the next answer must not be mistaken for that."""
        await self._module.attempt("AT+CUSD=2", tries=1)
        with trio.move_on_after(LEAVE_S):
            await replies.receive()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[trio.MemoryReceiveChannel[News]]:
        self._reply, replies = trio.open_memory_channel[News](1)
        try:
            yield replies
        finally:
            self._reply = None
