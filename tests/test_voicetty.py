"""A voice modem's tty beside the dialogue on it: what is left of it when it goes away."""

import os

import pytest
import trio
import trio.testing

from drivers.errors import LineLost
from drivers.voicetty import NO_FD, open_device

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
    # Up to that number, whoever has it now.
    others = [os.open("/dev/null", os.O_RDONLY)]
    while max(others) < number:
        others.append(os.open("/dev/null", os.O_RDONLY))
    await device.aclose()
    for other in others:
        os.close(other)


async def test_a_tty_is_closed_once_though_twice_asked_and_cancelled() -> None:
    master, slave = os.openpty()
    device = await open_device(os.ttyname(slave))
    with trio.CancelScope() as scope:
        scope.cancel()
        await device.aclose()
    await device.aclose()
    assert device.fd == NO_FD
    os.close(slave)
    os.close(master)
