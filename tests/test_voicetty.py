"""A voice modem's tty beside the dialogue on it: what is left of it when it goes away."""

import os

import pytest
import trio
import trio.testing

from drivers.errors import LineLost
from drivers.voicetty import DTR_LOW_S, open_device

Clock = trio.testing.MockClock


async def test_a_descriptor_is_closed_once_however_its_tty_goes_away(autojump_clock: Clock) -> None:
    """What is opened next has its number: another line's sound, a customer's connection."""
    master, slave = os.openpty()
    device = await open_device(os.ttyname(slave))
    number = device.fd
    os.close(slave)
    os.close(master)
    with pytest.raises(LineLost):
        await device.drop_dtr()
    others = [os.open("/dev/null", os.O_RDONLY)]
    while number not in others:
        others.append(os.open("/dev/null", os.O_RDONLY))
    await device.aclose()
    for other in others:
        os.close(other)


async def test_a_tty_that_was_cancelled_while_its_dtr_was_low_can_be_had_again(autojump_clock: Clock) -> None:
    master, slave = os.openpty()
    device = await open_device(os.ttyname(slave))
    with trio.move_on_after(DTR_LOW_S / 2):
        await device.drop_dtr()
    await device.drop_dtr()
    await device.aclose()
    await device.aclose()
    os.close(slave)
    os.close(master)
