"""A SIM's PIN: entered by itself, and never so that the SIM could be blocked by it."""

import errno
from dataclasses import dataclass, field

import pytest
import trio

from drivers.errors import LineBlocked
from drivers.sim import Pin
from hil.radio import Pin as Asked
from tests.gsm_rig import BENCH, IDLE, SEARCHING, Clock, Rig, events, make_rig, why_not

NOT_ACCEPTED = "the SIM does not accept the PIN of the configuration"


@dataclass
class Shelf:
    """Where a PIN's doubt is kept, with all that was ever kept there."""

    kept: list[bool] = field(default_factory=list)

    async def keep(self, doubted: bool) -> None:
        await trio.lowlevel.checkpoint()
        self.kept.append(doubted)

    def pin(self, code: str, *, doubted: bool = False) -> Pin:
        return Pin(code, doubted=doubted, keep=self.keep)


def sent(rig: Rig) -> list[str]:
    return [command for command in rig.wire.take() if command.startswith("AT+CPIN=")]


async def comes_up(rig: Rig, pin: Pin | None) -> None:
    async with rig.line(pin) as line:
        while (told := await events(line, 1)) != [IDLE]:
            assert told == [SEARCHING]


@pytest.fixture(params=BENCH)
async def rig(request: pytest.FixtureRequest, nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery, request.param, pin="1234")


async def test_the_pin_is_entered_once_and_noted_before(rig: Rig, autojump_clock: Clock) -> None:
    shelf = Shelf()
    pin = shelf.pin("1234")
    await comes_up(rig, pin)
    assert sent(rig) == ['AT+CPIN="1234"']
    assert shelf.kept == [True, False]
    assert not pin.doubted
    assert "1234" not in repr(pin)


async def test_a_wrong_pin_is_never_sent_again(rig: Rig, autojump_clock: Clock) -> None:
    shelf = Shelf()
    assert NOT_ACCEPTED in await why_not(rig, shelf.pin("9999"))
    assert len(sent(rig)) == 1
    for _ in range(3):
        await rig.plug()
        # As after a restart of the service.
        why = await why_not(rig, shelf.pin("9999", doubted=shelf.kept[-1]))
        assert "did not accept the PIN of the configuration, and is not sent it again" in why
        assert sent(rig) == []
    assert rig.modem.module.pin_tries == 2
    # Another one is not doubted.
    await rig.plug()
    await comes_up(rig, shelf.pin("1234"))
    assert rig.modem.module.pin_tries == 3 or rig.modem.module.pin is Asked.READY


async def test_the_last_try_is_left_to_a_person(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.module.pin_tries = 1
    assert "takes one more PIN before it is blocked" in await why_not(rig, Pin("1234"))
    assert sent(rig) == []


async def test_a_blocked_sim_says_so(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.module.pin_tries, rig.modem.module.pin = 0, Asked.PUK
    assert "asks for its PUK" in await why_not(rig, Pin("1234"))
    assert sent(rig) == []


async def test_without_a_pin_in_the_configuration_none_is_tried(rig: Rig, autojump_clock: Clock) -> None:
    assert "the SIM asks for its PIN" in await why_not(rig)
    assert sent(rig) == []


@pytest.fixture
async def ec25(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery, pin="1234")


async def test_a_module_that_does_not_count_is_sent_a_pin_all_the_same_and_once(
    ec25: Rig, autojump_clock: Clock
) -> None:
    ec25.modem.faults.refused.update({"+QPINC": 4, "+CPINR": 4})
    pin = Pin("9999")
    assert NOT_ACCEPTED in await why_not(ec25, pin)
    await ec25.plug()
    assert "is not sent it again" in await why_not(ec25, pin)
    assert ec25.modem.module.pin_tries == 2


async def test_a_pin_whose_result_is_lost_was_right_when_the_sim_is_ready(ec25: Rig, autojump_clock: Clock) -> None:
    async def keep(doubted: bool) -> None:
        await shelf.keep(doubted)
        ec25.modem.faults.lost_finals = int(doubted)

    shelf = Shelf()
    await comes_up(ec25, Pin("1234", keep=keep))
    assert shelf.kept == [True, False]
    assert len(sent(ec25)) == 1


async def test_who_was_cut_off_before_it_was_sent_may_send_it(ec25: Rig, autojump_clock: Clock) -> None:
    """All tries are left: nothing wrong was sent."""
    await comes_up(ec25, Pin("1234", doubted=True))


async def test_what_cannot_be_noted_is_not_sent(ec25: Rig, autojump_clock: Clock) -> None:
    async def keep(doubted: bool) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOSPC, "No space left on device")

    assert "No space left on device" in await why_not(ec25, Pin("1234", keep=keep))
    assert sent(ec25) == []


async def test_a_sim_that_is_put_in_again_is_sent_its_pin_again(ec25: Rig, autojump_clock: Clock) -> None:
    pin = Pin("1234")
    async with ec25.line(pin) as line:
        while await events(line, 1) != [IDLE]:
            pass
        sent(ec25)
        ec25.modem.module.pin = Asked.PIN
        ec25.modem.inject(b"\r\n+CPIN: SIM PIN\r\n")
        await trio.sleep(5)
        assert ec25.modem.module.pin is Asked.READY
        assert sent(ec25) == ['AT+CPIN="1234"']
        assert line.identity.iccid


async def test_a_pin_is_not_logged(ec25: Rig, autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    assert NOT_ACCEPTED in await why_not(ec25, Pin("4711"))
    assert "office > b'AT+CPIN=..." in caplog.text
    assert "4711" not in caplog.text


async def test_only_a_person_can_help_with_a_pin(ec25: Rig, autojump_clock: Clock) -> None:
    for pin in (None, Pin("9999")):
        with pytest.raises(ExceptionGroup) as caught:
            async with ec25.line(pin):
                pass
        assert caught.group_contains(LineBlocked)
        await ec25.plug()
