"""Simulated Huawei sticks: the bytes of modems.md A3, and the quirks that their users tell of."""

import pytest

from hil.board import AudioPath, Leftover, Press, Profile, Release
from hil.huawei import E173, E1550, E3131, Huawei
from hil.module import Stat
from hil.network import Cause
from tests.at_program import ANNA, OWN, Program

ALL = [E1550, E173, E3131]


def stick(family: type[Huawei] = E173, **profile: object) -> Program:
    return Program(family(Profile(OWN, **profile)))  # type: ignore[arg-type]


def test_an_outgoing_call_is_told_from_orig_to_cend() -> None:
    program = stick()
    assert program.ask(f"ATD{ANNA};") == ["OK", "^ORIG:1,0"]
    assert program.moved(1, Stat.ALERTING) == ["^CONF:1"]
    assert program.moved(1, Stat.ACTIVE) == ["^CONN:1,0"]
    program.now += 12.7
    assert program.ask("AT+CLCC") == [f'+CLCC: 1,0,0,0,0,"{ANNA}",145', "OK"]
    assert program.released(1, Cause.NORMAL) == ["^CEND:1,12,29,16", "NO CARRIER"]


def test_how_a_call_ended_stands_in_cend_as_far_as_the_firmware_tells() -> None:
    program = stick()
    assert program.released(program.dialed(), Cause.BUSY) == ["^CEND:1,0,29,17", "BUSY"]
    index = program.called()
    assert program.released(index, Cause.REJECTED, locally=True) == ["^CEND:1,0,104,21"]
    program = stick(E1550)
    assert program.released(program.dialed(), Cause.BUSY) == ["^CEND:1,0,29"]


def test_an_incoming_call_rings_with_its_number_and_a_withheld_one_has_no_type() -> None:
    program = stick()
    program.ask("AT+CLIP=1")
    index, said = program.offered()
    assert said == ["RING", f'+CLIP: "{ANNA}",145,"",0,"",0']
    assert program.ask("ATA") == ["OK"]
    assert program.moved(index, Stat.ACTIVE) == ["^CONN:1,0"]
    program.released(index, Cause.NORMAL)
    program.called(None)
    assert program.ask("AT+CLCC") == ['+CLCC: 1,1,4,0,0,"",,""', "OK"]


def test_one_of_them_says_cring_before_anybody_asked_for_it() -> None:
    program = stick(E3131)
    assert program.ask("AT+CRC?") == ["+CRC: 1", "OK"]
    assert program.offered()[1] == ["+CRING: VOICE"]


@pytest.mark.parametrize("family", ALL)
def test_sound_comes_by_ddsetex_in_the_call_and_not_before_it(family: type[Huawei]) -> None:
    program = stick(family)
    assert program.ask("AT^DDSETEX=2") == ["OK"]
    index = program.talking()
    assert program.module.audio is None
    assert program.ask("AT^DDSETEX=2")[-1] == "OK"
    assert program.module.audio is AudioPath.PCM
    program.released(index, Cause.NORMAL)
    index = program.talking()
    assert program.module.audio is None


def test_sound_begins_at_the_answer_or_with_the_ringing() -> None:
    for family, early in ((E1550, None), (E173, AudioPath.PCM)):
        program = stick(family)
        index = program.dialed()
        program.ask("AT^DDSETEX=2")
        assert program.module.audio is None
        program.moved(index, Stat.ALERTING)
        assert program.module.audio is early
        program.moved(index, Stat.ACTIVE)
        assert program.module.audio is AudioPath.PCM


def test_the_end_of_a_call_leaves_300_ms_of_noise_in_the_tty() -> None:
    program = stick()
    index = program.talking()
    program.ask("AT^DDSETEX=2")
    program.orders.clear()
    program.released(index, Cause.NORMAL)
    program.wait(1)
    (leftover,) = program.orders
    assert isinstance(leftover, Leftover)
    assert len(leftover.data) == 4800
    program.released(program.talking(), Cause.NORMAL)
    program.wait(1)
    assert program.orders == [leftover]


@pytest.mark.parametrize("voice", [True, False])
def test_a_stick_says_whether_it_has_voice(voice: bool) -> None:
    program = stick(voice=voice)
    assert program.ask("AT^CVOICE=?") == ["^CVOICE:(0)", "OK"]
    assert program.ask("AT^CVOICE?") == ["^CVOICE:0,8000,16,20" if voice else "^CVOICE:1", "OK"]
    assert program.ask("AT^CVOICE=0") == ["OK" if voice else "ERROR"]
    program.talking()
    assert program.ask("AT^DDSETEX=2") == ["OK" if voice else "ERROR"]


def test_keys_are_sent_by_a_command_of_its_own_and_letters_as_a_two() -> None:
    program = stick()
    assert program.ask("AT^DTMF=1,5") == ["ERROR"]
    program.talking()
    assert program.ask("AT^DTMF=1,5;^DTMF=1,#") == ["OK"]
    assert program.ask("AT^DTMF=1,C") == ["OK"]
    assert program.ask("AT^DTMF=2,5") == ["ERROR"]
    assert program.orders == [Press(1, "5"), Press(1, "#"), Press(1, "2")]


@pytest.mark.parametrize(("family", "answer"), [(E1550, "ERROR"), (E173, "OK"), (E3131, "ERROR")])
def test_vts_may_be_refused(family: type[Huawei], answer: str) -> None:
    program = stick(family)
    program.talking()
    assert program.ask("AT+VTS=1") == [answer]


def test_keys_are_heard_where_the_firmware_can() -> None:
    program = stick(E173)
    program.talking()
    assert program.pressed("7") == ""
    assert program.ask("AT^DDTMFCFG=0,1") == ["OK"]
    assert program.pressed("7") == "\r\n^DDTMF: 7\r\n"
    program.ask("AT^DDTMFCFG=1,0")
    assert program.pressed("7") == ""
    assert stick(E1550).ask("AT^DDTMFCFG=0,1") == ["COMMAND NOT SUPPORT"]


def test_refusals_have_words_of_their_own() -> None:
    program = stick()
    assert program.ask("AT+NOSUCH") == ["COMMAND NOT SUPPORT"]
    assert program.ask("AT+CEREG?") == ["COMMAND NOT SUPPORT"]
    assert program.ask("AT+CLIP=1,2,3,4") == ["TOO MANY PARAMETERS"]
    assert program.ask("AT+CRC=9") == ["+CME ERROR: 50"]


def test_noise_comes_every_few_seconds_and_between_a_command_and_its_answer() -> None:
    program = stick(E3131)
    said = program.wait(30.5)
    assert said.count("^BOOT:37364192,0,0,0,6") == 10
    assert said.count("^RSSI:19") == 3
    assert said.count('^HCSQ:"WCDMA",40,33,58') == 4
    program.called()
    assert program.write("ATA") == ""
    assert "^BOOT:37364192,0,0,0,6" in (said := program.wait(3))
    assert said[-1] == "OK"


def test_noise_can_be_switched_off_and_the_news_of_27007_goes_on() -> None:
    program = stick()
    assert program.ask("AT^CURC=0") == ["OK"]
    assert program.wait(20) == []
    assert program.offered()[1] == ["RING"]
    program.released(1, Cause.NORMAL)
    assert program.ask("AT^CURC=1;^PORTSEL=0") == ["OK"]
    assert program.wait(20) == []
    assert program.ask("AT^PORTSEL=1") == ["OK"]
    assert "^RSSI:19" in program.wait(20)


def test_ata_takes_an_e3131_longer_than_two_seconds() -> None:
    program = stick(E3131)
    program.called()
    program.orders.clear()
    assert program.write("ATA") == ""
    assert "OK" not in program.wait(2.9)
    assert "OK" in program.wait(0.2)


def test_dropping_a_call_by_its_index_before_conf_kills_an_e1550() -> None:
    program = stick(E1550)
    index = program.dialed()
    assert program.write("AT+CHLD=11") == ""
    assert program.write("AT") == ""
    assert program.moved(index, Stat.ALERTING) == []
    assert set(program.wait(20)) == {"^BOOT:37364192,0,0,0,6", "^RSSI:19"}
    program.port.power_off()
    program.lines(program.port.power_on(program.now))
    program.wait(1)
    assert program.ask("ATE0")[-1] == "OK"
    for family in (E1550, E173):
        program = stick(family)
        index = program.dialed()
        if family is E1550:
            program.moved(index, Stat.ALERTING)
        assert program.ask("AT+CHLD=11") == ["OK"]
        assert program.orders == [Release(index, 16)]


def test_an_e1550_is_deaf_for_a_moment_behind_a_hang_up() -> None:
    program = stick(E1550)
    program.talking()
    assert program.ask("AT+CHUP") == ["OK"]
    assert program.write("AT+CLCC") == ""
    program.now += 0.02
    program.released(1, Cause.NORMAL, locally=True)
    assert program.ask("AT+CHUP=?") == ["OK"]
    assert program.ask("AT+CHUP") == ["OK"]
    assert program.ask("AT") == ["OK"]


def test_a_sim_is_told_of_and_its_tries_are_counted() -> None:
    program = stick(pin="1234")
    assert program.ask("AT^CPIN?") == ["^CPIN: SIM PIN,3,10,3,10,3", "OK"]
    assert program.ask("AT+CPIN=0000") == ["+CME ERROR: 16"]
    assert program.ask("AT^CPIN?") == ["^CPIN: SIM PIN,2,10,2,10,3", "OK"]
    assert program.ask("AT+CPIN=1234") == ["OK", "+CPIN: READY", "^SIMST:1"]
    assert program.ask("AT^ICCID?") == ["^ICCID: 89330123456789012345", "OK"]
    program.module.set_sim(False)
    assert program.lines(program.port.elapse(program.now)) == ["^SIMST:255"]


@pytest.mark.parametrize(
    ("family", "product", "pcm", "at"), [(E1550, 0x1001, 1, 2), (E173, 0x1436, 3, 4), (E3131, 0x1506, 2, 3)]
)
def test_interfaces_have_their_roles(family: type[Huawei], product: int, pcm: int, at: int) -> None:
    usb = family.usb
    assert usb is not None
    assert (usb.vendor, usb.product) == (0x12D1, product)
    assert (usb.roles[pcm], usb.roles[at]) == ("pcm", "at")
    assert family.chunk_bytes == 320
