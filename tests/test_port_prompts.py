"""Texts that a module asks for by a prompt: entered, withdrawn, refused, and given up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from drivers.errors import CommandError
from drivers.port import HEAR_OUT_S, PROMPT_LIMIT_S, Entry, Port
from tests.at_ports import URCS, polite, port_to


@asynccontextmanager
async def sender(*, prompt: bytes = b"\r\n> ") -> AsyncIterator[tuple[Port, list[bytes]]]:
    """A port to a module that takes messages; and what was entered at its prompt, with the byte that ended it."""
    host, device = trio.testing.memory_stream_pair()
    entered: list[bytes] = []

    async def far_end() -> None:
        typed, prompted = b"", False
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for data in device:
                for byte in bytes(data):
                    typed += bytes([byte])
                    if prompted and byte in b"\x1a\x1b":
                        entered.append(typed)
                        answer = b"\r\n+CMGS: 7\r\n" if byte == 0x1A else b""
                        typed, prompted = b"", False
                        await device.send_all(answer + b"\r\nOK\r\n")
                    elif byte == 0x0D and not prompted:
                        prompted = b"CMGS" in typed and bool(prompt)
                        line = typed[:-1].decode().removeprefix("\x1b")
                        reply = prompt if b"CMGS" in typed else polite(line)
                        typed = b""
                        await device.send_all(reply or b"")

    async with trio.open_nursery() as nursery:
        port = Port(host, urcs=URCS)
        nursery.start_soon(port.listen)
        nursery.start_soon(far_end)
        await port.synchronise()
        yield port, entered
        nursery.cancel_scope.cancel()


async def test_a_text_is_entered_at_the_prompt(autojump_clock: trio.testing.MockClock) -> None:
    async with sender() as (port, entered):
        assert await port.command("AT+CMGS=3", entry=Entry("000102", lambda: True)) == ["+CMGS: 7"]
        assert entered == [b"000102\x1a"]
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def test_a_prompt_is_left_when_the_text_is_not_wanted_any_more(autojump_clock: trio.testing.MockClock) -> None:
    async with sender() as (port, entered):
        with pytest.raises(CommandError, match="withdrawn"):
            await port.command("AT+CMGS=3", entry=Entry("000102", lambda: False))
        assert entered == [b"\x1b"]
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.resyncs == 1


async def test_a_prompt_that_does_not_come_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with sender(prompt=b"") as (port, entered):
        began = trio.current_time()
        with pytest.raises(CommandError, match="no prompt"):
            await port.command("AT+CMGS=3", limit_s=60, entry=Entry("000102", lambda: True))
        assert trio.current_time() - began <= PROMPT_LIMIT_S + HEAR_OUT_S
        assert entered == []
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def test_a_refusal_in_place_of_a_prompt_is_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with port_to(lambda line: b"\r\n+CMS ERROR: 302\r\n" if "CMGS" in line else polite(line)) as (port, _):
        with pytest.raises(CommandError, match="302"):
            await port.command("AT+CMGS=3", entry=Entry("000102", lambda: True))
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def test_cancelled_before_the_prompt_nothing_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with sender() as (port, entered):
        with trio.move_on_after(0.05) as scope:
            with suppress(CommandError):
                await port.command("AT+CMGS=3", entry=Entry("000102", lambda: True))
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert entered == [b"\x1b"]
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
