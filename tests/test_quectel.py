"""What the Quectels do otherwise than an EC25 with its PCM tty, which test_ec25.py and test_ec25_calls.py have."""

import pytest

from hil.board import AudioPath, Profile
from hil.module import Stat
from hil.network import Cause
from hil.quectel import Ec20, Ec21, Ec25, Eg25, Eg91, Eg95, Ep06, Quectel, Uc20
from tests.at_program import ANNA, OWN, Program

ALL = [Uc20, Ec20, Ec21, Ec25, Eg25, Eg91, Eg95, Ep06]


def module(family: type[Quectel] = Ec25, **profile: object) -> Program:
    return Program(family(Profile(OWN, **profile)))  # type: ignore[arg-type]


def restarted(program: Program) -> None:
    assert program.ask("AT+CFUN=1,1") == ["OK"]
    program.wait(1)
    program.port.power_off()
    program.lines(program.port.power_on(program.now))
    program.wait(1)
    program.ask("ATE0")


@pytest.mark.parametrize("family", ALL)
def test_each_is_driven_like_an_ec25(family: type[Quectel]) -> None:
    program = module(family)
    assert program.ask("AT+CGMM")[-1] == "OK"
    assert program.ask("AT^DSCI=1;+QPCMV=0;+QPCMV=1,0") == ["OK"]
    assert program.ask(f"ATD{ANNA};") == ["OK", f"^DSCI: 1,0,2,0,{ANNA},145"]
    assert program.moved(1, Stat.ALERTING) == [f"^DSCI: 1,0,7,0,{ANNA},145"]
    assert program.moved(1, Stat.ACTIVE) == [f"^DSCI: 1,0,3,0,{ANNA},145"]
    assert program.module.audio is AudioPath.PCM
    assert program.released(1, Cause.NORMAL) == [f"^DSCI: 1,0,6,0,{ANNA},145", "NO CARRIER"]


def test_a_firmware_tells_of_a_caller_by_clip_and_ccinfo_only() -> None:
    program = module(Eg25)
    program.ask('AT+CLIP=1;+CRC=1;+QINDCFG="ccinfo",1,0')
    assert program.offered()[1] == [f'+QIND: "ccinfo",1,1,4,0,0,"{ANNA}",145', f'+CLIP: "{ANNA}",145,"",0,"",0']
    assert program.wait(5.5) == [f'+CLIP: "{ANNA}",145,"",0,"",0']


def test_an_ep06_has_no_ccinfo_and_wedges_on_qhup() -> None:
    program = module(Ep06)
    assert program.ask('AT+QINDCFG="ccinfo",1,0') == ["+CME ERROR: 50"]
    program.talking()
    assert program.write("AT+QHUP=16,1") == ""
    assert program.write("AT") == ""


def test_a_uc20_is_of_umts() -> None:
    program = module(Uc20, ims=False)
    assert program.ask("AT+CEREG?") == ["+CME ERROR: 58"]
    assert program.ask('AT+QCFG="ims"') == ["ERROR"]
    assert program.ask("AT+COPS?") == ['+COPS: 0,0,"Orange F",2', "OK"]
    assert program.ask(f"ATD{ANNA};")[0] == "OK"


def test_a_test_form_may_list_its_numbers() -> None:
    assert module(Ec20).ask("AT+QPCMV=?") == ["+QPCMV: (0,1),(0,1,2)", "OK"]


# --- a sound card of its own ---


def test_with_uac_the_sound_is_on_the_card() -> None:
    program = module(uac=True)
    assert program.module.audio_paths == {AudioPath.PCM, AudioPath.CARD}
    assert program.ask('AT+QCFG="usbcfg"') == ['+QCFG: "usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,1', "OK"]
    assert program.ask("AT+QPCMV=0;+QPCMV=1,2") == ["OK"]
    program.talking()
    assert program.module.audio is AudioPath.CARD
    assert program.ask("AT+QPCMV?") == ["+QPCMV: 1,2", "OK"]


def test_uac_is_there_after_its_flag_was_set_and_a_restart() -> None:
    program = module()
    assert program.ask('AT+QCFG="usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,1') == ["OK"]
    assert program.module.audio_paths == {AudioPath.PCM}
    assert program.module.usb is not None
    assert "audio" not in program.module.usb.roles.values()
    restarted(program)
    assert program.module.audio_paths == {AudioPath.PCM, AudioPath.CARD}
    assert "audio" in program.module.usb.roles.values()


def test_a_composition_without_nmea_has_no_serial_voice() -> None:
    program = module()
    program.ask('AT+QCFG="usbcfg",0x2C7C,0x0125,1,0,1,1,1,0,0')
    restarted(program)
    assert program.module.audio_paths == frozenset()
    program.ask("AT+QPCMV=1,0")
    program.talking()
    assert program.module.audio is None


@pytest.mark.parametrize("flags", ["1,1", "1,1,1,1,1,0,2", "1,1,1,1,1,0,1,1"])
def test_flags_that_are_none_are_refused(flags: str) -> None:
    assert module().ask(f'AT+QCFG="usbcfg",0x2C7C,0x0125,{flags}') == ["+CME ERROR: 50"]


# --- the SIM, and floods ---


def test_a_sim_that_is_taken_out_and_put_in() -> None:
    program = module()
    program.ask("AT+CREG=1")
    program.module.set_sim(False)
    assert program.lines(program.port.elapse(program.now)) == ["+CPIN: NOT READY", "+CREG: 0"]
    assert program.ask("AT+CPIN?") == ["+CME ERROR: 10"]
    assert program.port.refuses() is Cause.ABSENT
    program.module.set_sim(True)
    assert [line for line in program.wait(2) if "QIND" not in line] == [
        *("+CPIN: READY", "+QUSIM: 1", "+CREG: 2", "+CREG: 1"),
    ]
    assert program.port.refuses() is None


def test_another_sim_wants_its_pin() -> None:
    program = module()
    program.module.lock("9999")
    assert "+CPIN: SIM PIN" in program.wait(2)
    assert program.ask("AT+CPIN=1234") == ["+CME ERROR: 16"]
    assert program.ask("AT+CPIN=9999")[0] == "OK"


def test_a_flood_goes_on_until_it_is_over() -> None:
    program = module()
    program.faults.flood_per_s = 100
    program.module.flood()
    program.module.flood()
    assert len(program.wait(1)) in (100, 101, 102)
    program.faults.flood_per_s = 0
    program.wait(1)
    assert program.wait(5) == []


def test_keys_may_be_told_again_and_again() -> None:
    program = module()
    program.ask("AT+QTONEDET=1")
    program.talking()
    program.faults.key_repeats = 3
    assert program.pressed("8") == "\r\n+QTONEDET: 56\r\n"
    assert program.wait(0.3) == ["+QTONEDET: 56"] * 3
