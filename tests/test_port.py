"""The dialogue at a port: commands in turn, refusals, silence, news, floods, and how it comes into step again."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import CommandError, CommandTimeout, LineLost
from drivers.port import HEAR_OUT_S, PROBES, URC_QUEUE, Port
from tests.at_ports import ANSWERS, URCS, polite, port_to


async def test_a_command_gives_its_lines(autojump_clock: trio.testing.MockClock) -> None:
    async with port_to(polite) as (port, _):
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def test_commands_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    pending: list[str] = []

    def answer(command: str) -> bytes | None:
        assert not pending
        return polite(command)

    async with port_to(answer) as (port, _), trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(port.command, "AT+CSQ")


async def test_a_refusal_names_what_was_tried_and_leaves_the_port_in_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(lambda c: b"\r\n+CME ERROR: 10\r\n" if c == "AT+CIMI" else polite(c)) as (port, _):
        with pytest.raises(CommandError, match=r"^AT\+CIMI: \+CME ERROR: 10$"):
            await port.command("AT+CIMI")
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.resyncs == 1


async def test_numbers_and_keys_stay_out_of_error_messages(autojump_clock: trio.testing.MockClock) -> None:
    async with port_to(lambda c: b"\r\nBUSY\r\n" if "6" in c else b"\r\nERROR\r\n" if "VTS" in c else polite(c)) as (
        port,
        _,
    ):
        with pytest.raises(CommandError, match=r"^ATD: BUSY$"):
            await port.command("ATD+33666;")
        with pytest.raises(CommandError, match=r"^AT\+VTS=: ERROR$"):
            await port.command('AT+VTS="4"')


async def test_a_pin_stands_in_no_log_though_the_module_echoes_it(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that restarted by itself does."""

    def echo(command: str) -> bytes | None:
        return command.encode() + b"\r" + (polite(command) or b"")

    caplog.set_level("DEBUG")
    async with port_to(echo) as (port, _):
        await port.command('AT+CPIN="4711"')
    assert "AT+CPIN=..." in caplog.text
    assert "4711" not in caplog.text


async def test_a_silent_command_is_over_at_its_limit_and_its_late_answer_is_nobodys(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(lambda c: None if c == "AT+CLCC" else polite(c)) as (port, device):
        began = trio.current_time()
        with pytest.raises(CommandTimeout, match=r"AT\+CLCC: no answer in 5 s"):
            await port.command("AT+CLCC", limit_s=5)
        assert trio.current_time() - began == pytest.approx(5)
        await device.send_all(b'\r\n+CLCC: 1,0,0,0,0,"1",129\r\n\r\nOK\r\n')
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert (port.counters.timeouts, port.counters.resyncs) == (1, 2)


@pytest.mark.parametrize("late_s", [0, 0.1, 0.25, 1, 3.1, 3.3, 5, 7])
async def test_an_answer_that_comes_in_the_middle_of_the_resynchronisation_misleads_nobody(
    late_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    """The module works on one command at a time, and was busy with the first for so long."""
    host, device = trio.testing.memory_stream_pair()

    async def far_end() -> None:
        typed, hung = b"", False
        async for data in device:
            *lines, typed = (typed + bytes(data)).split(b"\r")
            for line in lines:
                command = line.decode("latin-1").removeprefix("\x1b")
                if command == "AT+SLOW" and not hung:
                    hung = True
                    await trio.sleep(5 + late_s)
                await device.send_all(polite(command) or b"")

    async with trio.open_nursery() as nursery:
        port = Port(host, urcs=URCS)
        nursery.start_soon(port.listen)
        nursery.start_soon(far_end)
        await port.synchronise()
        with pytest.raises(CommandTimeout):
            await port.command("AT+SLOW", limit_s=5)
        for _ in range(10):
            assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
            assert await port.command("AT+CLIP=1") == []
        nursery.cancel_scope.cancel()


async def test_a_module_that_stays_silent_is_lost_in_about_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    deaf: list[bool] = []
    async with port_to(lambda c: None if deaf else polite(c)) as (port, _):
        deaf.append(True)
        with pytest.raises(CommandTimeout):
            await port.command("AT+CSQ", limit_s=1)
        began = trio.current_time()
        with pytest.raises(LineLost, match="no answer to AT commands"):
            await port.command("AT+CSQ")
        assert trio.current_time() - began < 10
        with pytest.raises(LineLost):
            await port.command("AT+CSQ")


async def test_a_loss_tells_since_when_the_module_was_silent(autojump_clock: trio.testing.MockClock) -> None:
    deaf: list[bool] = []
    async with port_to(lambda c: None if deaf else polite(c)) as (port, _):
        deaf.append(True)
        await trio.sleep(100)
        silent_since = trio.current_time()
        for _ in range(2):
            with pytest.raises((CommandTimeout, LineLost)):
                await port.command("AT+CSQ", limit_s=1)
        assert port.loss().silent_since == silent_since


async def test_silence_that_ends_is_measured(autojump_clock: trio.testing.MockClock) -> None:
    async with port_to(lambda c: None if c == "AT+SLOW" else polite(c)) as (port, _):
        with pytest.raises(CommandTimeout):
            await port.command("AT+SLOW", limit_s=5)
        await trio.sleep(2)
        await port.command("AT+CSQ")
        assert port.silent_since is None
        assert 7 <= port.counters.silent_s < 8


async def test_a_result_too_many_puts_the_port_in_step_before_the_next_command(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(lambda c: b"\r\nOK\r\n" + ANSWERS[PROBES[2]] if c == "AT+CREG?" else polite(c)) as (port, _):
        assert await port.command("AT+CREG?") == []
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.resyncs == 2


async def test_a_cancelled_command_is_heard_out(autojump_clock: trio.testing.MockClock) -> None:
    async with port_to(lambda c: None if c == "AT+SLOW" else polite(c)) as (port, device), trio.open_nursery() as n:
        with trio.move_on_after(1):
            n.start_soon(_later, 2, device, b"\r\nOK\r\n")
            await port.command("AT+SLOW", limit_s=5)
        assert trio.current_time() >= 2
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.timeouts == 0


async def test_a_cancelled_command_that_stays_silent_is_not_heard_out_for_its_whole_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(lambda c: None if c == "AT+SLOW" else polite(c)) as (port, _):
        with pytest.raises(CommandTimeout), trio.move_on_after(1):
            await port.command("AT+SLOW", limit_s=90)
        assert trio.current_time() < 1 + 2 * HEAR_OUT_S
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.resyncs == 2


async def test_a_module_that_takes_no_extended_command_behind_basic_ones_is_woken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(lambda c: b"\r\nERROR\r\n" if c.startswith("ATE0V1Q0+") else polite(c)) as (port, _):
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def _later(delay_s: float, stream: trio.abc.SendStream, data: bytes) -> None:
    await trio.sleep(delay_s)
    await stream.send_all(data)


async def test_a_stuck_prompt_half_a_line_and_stale_answers_are_left_behind_at_the_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(polite, synchronised=False) as (port, device):
        await device.send_all(b"\r\nOK\r\n\r\n+CSQ: 1,99\r\n\r\nOK\r\n+CLC\r\n> ")
        await port.synchronise()
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def test_a_module_that_is_slow_in_everything_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    host, device = trio.testing.memory_stream_pair()

    async def far_end() -> None:
        typed = b""
        async for data in device:
            *lines, typed = (typed + bytes(data)).split(b"\r")
            for line in lines:
                await trio.sleep(2.5 if line.startswith(b"AT") else 0)
                await device.send_all(polite(line.decode("latin-1").removeprefix("\x1b")) or b"")

    async with trio.open_nursery() as nursery:
        port = Port(host, urcs=URCS)
        nursery.start_soon(port.listen)
        nursery.start_soon(far_end)
        await port.synchronise()
        for _ in range(3):
            with pytest.raises(CommandTimeout):
                await port.command("AT+CLIP=1", limit_s=1)
            assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        nursery.cancel_scope.cancel()


async def test_a_module_left_without_results_by_another_program_is_woken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    quiet = [True]

    def answer(command: str) -> bytes | None:
        if command.startswith("ATE0V1Q0"):
            quiet.clear()
        return None if quiet else polite(command)

    async with port_to(answer) as (port, _):
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]


async def test_news_in_the_middle_of_an_answer_reaches_the_channel(autojump_clock: trio.testing.MockClock) -> None:
    def answer(command: str) -> bytes | None:
        if command == "AT+CNUM":
            return b"\r\nRING\r\n\r\n+CNUM: 1\r\n\r\n+QTONEDET: 56\r\n\r\nOK\r\n\r\nNO CARRIER\r\n"
        return polite(command)

    async with port_to(answer) as (port, _):
        assert await port.command("AT+CNUM") == ["+CNUM: 1"]
        assert [port.urcs.receive_nowait() for _ in range(3)] == ["RING", "+QTONEDET: 56", "NO CARRIER"]


async def test_a_flood_neither_stops_answers_nor_grows_and_noise_displaces_no_news(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(polite) as (port, device):
        before = port.counters.noise
        await device.send_all(b"\r\n^RSSI:12\r\n" * 50_000)
        await device.send_all(b"\r\nNO CARRIER\r\n")
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.noise - before == 50_000
        assert port.urcs.receive_nowait() == "NO CARRIER"
        await device.send_all(b"\r\nRING\r\n" * 10_000)
        assert await port.command("AT+CSQ") == ["+CSQ: 21,99"]
        assert port.counters.urcs_lost == 10_000 - URC_QUEUE


async def test_a_consumer_that_takes_all_there_is_loses_nothing_in_a_flood(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with port_to(polite) as (port, device), trio.open_nursery() as nursery:
        heard = 0

        async def consume() -> None:
            nonlocal heard
            async for _ in port.urcs:
                heard += 1
                with suppress(trio.WouldBlock):
                    while True:
                        port.urcs.receive_nowait()
                        heard += 1

        nursery.start_soon(consume)
        await device.send_all(b"RDY\n" * 20_000)
        await trio.testing.wait_all_tasks_blocked()
        assert (heard, port.counters.urcs_lost) == (20_000, 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["before", "pending", "idle"])
async def test_a_port_that_goes_away_is_lost_at_once_for_everybody(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with port_to(lambda c: None if c == "AT+SLOW" else polite(c), synchronised=how != "before") as (port, device):
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def lost(ask: Callable[[], Awaitable[object]]) -> None:
                with pytest.raises(LineLost, match="the device is gone"):
                    await ask()

            if how == "before":
                nursery.start_soon(lost, port.synchronise)
            if how == "pending":
                nursery.start_soon(lost, lambda: port.command("AT+SLOW", limit_s=90))
            await trio.testing.wait_all_tasks_blocked()
            await device.aclose()
        await lost(lambda: port.command("AT+CSQ"))
        with pytest.raises(trio.EndOfChannel):
            await port.urcs.receive()
        assert trio.current_time() - began < 2


async def test_a_device_that_takes_no_bytes_does_not_hold_us(autojump_clock: trio.testing.MockClock) -> None:
    class Wedged(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.sleep_forever()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        port = Port(Wedged(), urcs=URCS)
        nursery.start_soon(port.listen)
        with pytest.raises(LineLost):
            await port.synchronise()
        assert trio.current_time() < 10
        nursery.cancel_scope.cancel()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PROBES), st.binary(max_size=40)), max_size=8))
def test_whatever_bytes_come_a_command_ends_and_the_port_recovers(steps: list[tuple[str, bytes]]) -> None:
    async def main() -> None:
        noise: list[bytes] = []
        async with port_to(lambda c: (noise.pop() if noise else b"") + (polite(c) or b"")) as (port, _):
            for command, data in steps:
                noise.append(data)
                try:
                    await port.command(command)
                except (CommandError, CommandTimeout):
                    continue
            noise.clear()
            for _ in range(2):
                try:
                    lines = await port.command("AT+CIMI", limit_s=1)
                except CommandTimeout:
                    continue
            assert lines == []

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
