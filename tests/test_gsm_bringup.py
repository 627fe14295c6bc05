"""How a line comes up: what it asks, what it says of itself, and in which words it does not come up."""

import os
from pathlib import Path

import pytest
import trio

from drivers.errors import LineLost
from drivers.gsm import open_gsm
from drivers.line import Alerting, Answered, Digit, Identity, Incoming, LineState, Released, StateChanged
from drivers.port import close_tty, open_tty
from drivers.watch import SETTLE_S
from hil.board import Profile
from hil.modem import Modem
from hil.network import Network
from hil.quectel import Ec25
from hil.subscriber import Subscriber
from hil.tty import Pty
from tests.gsm_rig import (
    EC25,
    IDLE,
    IN_USE,
    OURS,
    THEIRS,
    Clock,
    Rig,
    Wire,
    attached,
    events,
    has_sound,
    make_rig,
    quiet,
    why_not,
)


@pytest.fixture
async def rig(nursery: trio.Nursery, autojump_clock: Clock) -> Rig:
    return await make_rig(nursery)


async def test_a_line_comes_up_and_knows_who_it_is(rig: Rig, autojump_clock: Clock) -> None:
    async with rig.line() as line:
        assert line.state is LineState.IDLE
        assert await events(line, 1) == [IDLE]
        assert line.identity == Identity(
            "EC25", "EC25EFAR06A06M4G", "867698040000018", "89330123456789012345", "Orange F"
        )
        assert line.signal_dbm == -65
        assert not await has_sound(line)
        await trio.sleep(1)
        asked = set(rig.wire.take())
        assert {*EC25.set_up, *EC25.survey} <= asked
        assert asked.isdisjoint(EC25.after_registration)
        await trio.sleep(SETTLE_S)
        assert {*EC25.after_registration} <= set(rig.wire.take())
        assert rig.ec25.pcm_mode is None
        rig.modem.set_signal(10)
        await trio.sleep(0.1)
        assert line.signal_dbm == -93
        await quiet(line, 300)
        assert line.recoveries.timeouts == line.recoveries.repairs == line.recoveries.resyncs == 0


async def test_a_line_without_network_is_open_and_waits_for_it(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.set_coverage(2)
    async with rig.line() as line:
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        await quiet(line, 3600)
        rig.modem.set_coverage(1)
        assert await events(line, 1) == [IDLE]
        await trio.sleep(1)
        assert line.identity.operator == "Orange F"
        rig.modem.set_coverage(3)
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        rig.modem.set_coverage(5)
        assert await events(line, 1) == [IDLE]


async def test_a_registration_whose_news_was_lost_is_found(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.set_coverage(2)
    async with rig.line() as line:
        assert await events(line, 1) == [StateChanged(LineState.SEARCHING)]
        rig.modem.module.coverage = 1
        assert await events(line, 1, within_s=15) == [IDLE]


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ({"pin": "1234"}, "the SIM asks for its PIN"),
        ({"sim": False}, "no SIM in the module"),
        ({"voice": False}, "this module reports no voice: AT+QPCMV=0: "),
    ],
)
async def test_what_a_person_must_mend_is_told_in_a_sentence(
    profile: dict[str, object], why: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, "ec25", **profile)
    assert why in await why_not(rig)
    assert not any(command.startswith("AT+CPIN=") for command in rig.wire.take())


async def test_a_module_that_says_nothing_is_lost_in_seconds(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.deaf = True
    began = trio.current_time()
    assert "no answer to AT commands" in await why_not(rig)
    assert trio.current_time() - began < 12


async def test_a_sim_that_is_busy_after_power_on_is_waited_for(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    rig = await make_rig(nursery, boot_s=12)
    rig.modem.unplug()
    await trio.sleep(1)
    await rig.plug()
    async with rig.line() as line:
        assert (await events(line, 1))[0] in (IDLE, StateChanged(LineState.SEARCHING))
        await trio.sleep(30)
        assert line.state is LineState.IDLE


async def test_a_call_left_by_a_crash_is_hung_up_and_the_audio_reset(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone()
    await rig.wire.send_all(b"AT+QPCMV=1,0\r")
    await rig.wire.send_all(f"ATD{THEIRS};\r".encode())
    await trio.sleep(5)
    assert len(rig.modem.calls) == 1
    async with rig.line() as line:
        assert rig.modem.calls == []
        assert rig.ec25.pcm_mode is None
        assert await events(line, 1) == [IDLE]
        await line.dial(THEIRS)
        assert await events(line, 3) == [IN_USE, Alerting(), Answered()]
        assert rig.modem.module.audible


async def test_a_call_that_rings_while_the_line_comes_up_is_not_lost(rig: Rig, autojump_clock: Clock) -> None:
    rig.phone().dial(OURS)
    await trio.sleep(1)
    async with rig.line() as line:
        assert await events(line, 3) == [IDLE, Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]


async def test_a_setting_that_is_refused_while_the_sim_is_busy_is_made_later(rig: Rig, autojump_clock: Clock) -> None:
    rig.modem.faults.refused["+QTONEDET"] = 14
    rig.modem.faults.refused["+QSIDET"] = 515
    async with rig.idle_line() as line:
        rig.modem.faults.refused.pop("+QTONEDET")
        await trio.sleep(1000)
        asked = rig.wire.take()
        assert asked.count("AT+QTONEDET=1") == 1
        # Refused for good.
        assert asked.count("AT+QSIDET=0") < 5
        call = rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
        await line.answer()
        assert await events(line, 1) == [Answered()]
        await call.press("5")
        assert await events(line, 1) == [Digit("5")]


class Meddler(Wire):
    """Has the module say something between one command of many and its answer."""

    def __init__(self, wire: Wire, modem: Modem, place: int, news: bytes) -> None:
        super().__init__(wire)
        self._modem, self._place, self._news = modem, place, news

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._place == 0:
            self._modem.faults.before_answer = self._news
        self._place -= 1
        await super().send_all(data)

    @property
    def done(self) -> bool:
        return self._place < 0


@pytest.mark.parametrize(
    "news",
    [
        b"\r\nRING\r\n",
        b"\r\nNO CARRIER\r\n",
        b'\r\n+CREG: 1,"1A2B","01C3D4E5",7\r\n',
        b"\r\n+QPCMV: 0\r\n",
        b"\r\n> ",
        b"\xff\x00\r\n",
    ],
)
async def test_news_before_any_answer_of_the_bring_up_disturbs_nothing(
    news: bytes, rig: Rig, autojump_clock: Clock
) -> None:
    await disturbed_everywhere(rig, news)


# Of calls that are none, of the network, and of nothing.
MUCH_NEWS = ("RING", "^CEND:1,0,29", "VOICE CALL: END", "NO CARRIER", "+CREG: 1", "+CPIN: READY")


@pytest.mark.parametrize("name", ["e1550", "e173", "e3131", "uc20", "ep06", "sim7600", "sim800", "a7672", "generic"])
async def test_news_before_any_answer_of_any_familys_bring_up_disturbs_nothing(
    name: str, nursery: trio.Nursery, autojump_clock: Clock
) -> None:
    rig = await make_rig(nursery, name)
    known = [news for news in MUCH_NEWS if news.startswith(rig.model.urcs)]
    news = "".join(f"\r\n{line}\r\n" for line in (*known, *(f"{noise} 0" for noise in rig.model.noise)))
    await disturbed_everywhere(rig, news.encode())


async def disturbed_everywhere(rig: Rig, news: bytes) -> None:
    place, wire = 0, rig.wire
    while True:
        rig.wire = meddler = Meddler(wire, rig.modem, place, news)
        async with rig.line() as line:
            if not meddler.done:
                break
            assert await events(line, 1) == [IDLE]
            assert line.identity.imei == rig.modem.module.profile.imei
            assert line.identity.model == rig.modem.module.title
            await quiet(line, 5)
        # The same module is opened again on the same port.
        wire.aclose = trio.lowlevel.checkpoint  # type: ignore[method-assign]
        place += 1
    assert place > 20


@pytest.mark.parametrize(
    "name",
    ["+CMEE", "+CFUN", "+CPIN", "+QURCCFG", "+QINDCFG", "^DSCI", "+CLIP", "+CGMM", "+CGSN", "+QCCID", "+CSQ", "+QCFG"],
)
async def test_a_command_of_the_bring_up_that_hangs_costs_time_or_is_told(
    name: str, rig: Rig, autojump_clock: Clock
) -> None:
    rig.modem.faults.hung.add(name)
    if name == "+CPIN":
        assert await why_not(rig) == "the SIM is not ready: no answer"
        return
    async with rig.line() as line:
        assert await events(line, 1) == [IDLE]
        rig.phone().dial(OURS)
        assert await events(line, 2) == [Incoming(THEIRS), IN_USE]


async def test_a_line_on_real_ttys_rings_answers_and_is_unplugged(tmp_path: Path, nursery: trio.Nursery) -> None:
    network = Network()
    modem = Modem(Ec25(Profile(OURS)), network)
    with Pty(tmp_path / "at") as at, Pty(tmp_path / "pcm") as pcm:
        nursery.start_soon(modem.serve_at, trio.lowlevel.FdStream(os.dup(at.master)))
        os.write(pcm.master, b"stale")
        with trio.fail_after(20):
            async with open_gsm("office", EC25, at_path=str(at.link), pcm_path=str(pcm.link)) as line:
                assert await events(line, 1) == [IDLE]
                Subscriber(THEIRS, network, nursery).dial(OURS)
                assert await events(line, 2) == [Incoming(THEIRS), IN_USE]
                await line.answer()
                async with attached(line) as (engine, port):
                    engine.tick(4)
                    assert port.stats().received_bytes == 0
                with pytest.raises(LineLost, match="pcm: in use by another program"):
                    await open_tty(str(pcm.link))
                assert await events(line, 1) == [Answered()]
                await line.hang_up()
                assert await events(line, 2) == [Released(16), IDLE]
                close_tty(await open_tty(str(pcm.link)))


async def test_a_missing_tty_is_told_in_plain_words(tmp_path: object) -> None:
    with pytest.raises(LineLost, match="no such device"):
        async with open_gsm("office", EC25, at_path=f"{tmp_path}/at", pcm_path=f"{tmp_path}/pcm"):
            pass
