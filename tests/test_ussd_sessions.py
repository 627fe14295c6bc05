"""USSD by the driver, over every family that the bench has: codes, menus, and who leaves them."""

import pytest
import trio

from drivers.errors import CommandError
from drivers.line import Incoming
from drivers.ussd import News, Outcome
from tests.gsm_rig import OURS, Clock
from tests.text_rig import FAMILIES, event, line_of


@pytest.mark.parametrize("name", FAMILIES)
async def test_codes_and_menus_in_every_family(autojump_clock: Clock, name: str) -> None:
    async with line_of(name) as (_, line):
        text = "Your balance is 5.00 EUR. Valid until 31/12."
        news = await line.texts.ussd("*123#")
        assert (news.outcome, news.text) == (Outcome.DONE, text)
        assert (await line.texts.ussd("*101#")).text == "Баланс: 5 €"
        menu = await line.texts.ussd("*100#")
        assert (menu.outcome, menu.text) == (Outcome.MORE, "1. Balance\n2. Top up\n0. Exit")
        assert (await line.texts.ussd("1")).text == "5.00 EUR"
        await line.texts.ussd("*100#")
        await line.texts.cancel_ussd()
        assert (await line.texts.ussd("1")).outcome is Outcome.UNSUPPORTED


async def test_a_network_without_an_answer_is_given_up(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_news.add("+CUSD")
        with trio.fail_after(80), pytest.raises(CommandError, match="did not answer"):
            await line.texts.ussd("*123#")
        rig.modem.faults.lost_news.clear()
        assert (await line.texts.ussd("*123#")).text.startswith("Your balance")


async def test_one_session_at_a_time_and_none_in_a_call(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.texts.ussd, "*123#")
            await trio.sleep(0.1)
            with pytest.raises(CommandError, match="under way"):
                await line.texts.ussd("*123#")
        rig.phone.dial(OURS)
        await event(line, Incoming)
        with pytest.raises(CommandError, match="in use"):
            await line.texts.ussd("*123#")


async def test_a_menu_may_be_left_while_its_answer_is_waited_for(autojump_clock: Clock) -> None:
    async with line_of() as (_, line):
        await line.texts.ussd("*100#")
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.texts.ussd, "1")
                await trio.sleep(0.1)
                await line.texts.cancel_ussd()
        assert (await line.texts.ussd("*123#")).outcome is Outcome.DONE


async def test_an_answer_without_a_result_is_an_answer(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.modem.faults.lost_finals = 1
        assert (await line.texts.ussd("*123#")).text.startswith("Your balance")


async def test_a_menu_that_nobody_asked_for_is_left(autojump_clock: Clock) -> None:
    async with line_of() as (rig, line):
        rig.wire.take()
        rig.modem.inject(b'\r\n+CUSD: 1,"Win a car!\r\n1. Yes",15\r\n')
        await trio.sleep(2)
        assert "AT+CUSD=2" in rig.wire.take()
        assert (await line.texts.ussd("*123#")) == News(
            Outcome.DONE, text := "Your balance is 5.00 EUR. Valid until 31/12.", text
        )


async def test_what_is_no_code_is_refused(autojump_clock: Clock) -> None:
    async with line_of() as (_, line):
        with pytest.raises(ValueError, match="USSD"):
            await line.texts.ussd('*1"\r')
