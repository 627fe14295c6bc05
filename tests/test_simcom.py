"""Simulated SIMCom modules: the bytes of modems.md A5, the audio that wears out, and an answer that is none (A6)."""

import pytest

from hil.board import AudioPath, Profile, Restart
from hil.module import Stat
from hil.network import Cause
from hil.simcom import A7672, Sim800, Sim7600, Sim7600V2, SimCom
from tests.at_program import ANNA, OWN, Program

OFF, ON = "AT+CPCMREG=0,1", "AT+CPCMREG=1"


def module(family: type[SimCom] = Sim7600, **profile: object) -> Program:
    return Program(family(Profile(OWN, **profile)))  # type: ignore[arg-type]


def settled(program: Program) -> None:
    program.now += 0.1


def test_an_outgoing_call_is_told_by_clcc_and_by_voice_call() -> None:
    program = module()
    assert program.ask("AT+CLCC=1") == ["OK"]
    assert program.ask("AT+CLCC?") == ["+CLCC: 1", "OK"]
    listed = [f'+CLCC: 1,0,{stat},0,0,"{ANNA}",145' for stat in range(7)]
    assert program.ask(f"ATD{ANNA};") == ["OK", listed[2]]
    assert program.moved(1, Stat.ALERTING) == [listed[3]]
    assert program.moved(1, Stat.ACTIVE) == [listed[0], "VOICE CALL: BEGIN", listed[0]]
    program.now += 75
    assert program.ask("AT+CLCC") == [listed[0], "OK"]
    assert program.released(1, Cause.NORMAL) == [listed[6], "VOICE CALL: END: 000075", "NO CARRIER"]


def test_a_call_that_nobody_answered_is_missed() -> None:
    program = module()
    program.ask("AT+CLIP=1")
    index, said = program.offered("07712345678")
    assert said == ["RING", '+CLIP: "07712345678",129,"",0,"",0']
    program.now += 60
    assert program.released(index, Cause.NORMAL) == [
        "VOICE CALL: END",
        "MISSED_CALL: 12:01PM 07712345678",
        "NO CARRIER",
    ]


def test_an_a7672_leaves_the_space_out() -> None:
    program = module(A7672)
    assert program.released(program.talking(), Cause.NORMAL)[0] == "VOICE CALL:END: 000000"


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (Sim7600, "\r\r\n+RXDTMF: 8\r\r\n"),
        (Sim7600V2, "\r\n+RXDTMF: 8\r\n"),
        (Sim800, "\r\n+DTMF: 8\r\n"),
        (A7672, "\r\n+RXDTMF: 8\r\n"),
    ],
)
def test_keys_are_told_in_the_frames_of_the_build(family: type[SimCom], said: str) -> None:
    program = module(family)
    program.talking()
    assert program.pressed("8") == ""
    program.ask("AT+DDET=1")
    assert program.pressed("8") == said


# --- the audio of a SIM7600 ---


def test_the_stream_opens_in_a_call_only_and_100_ms_behind_its_last_change() -> None:
    program = module()
    assert program.ask(ON) == ["ERROR"]
    index = program.dialed()
    assert program.ask(ON) == ["ERROR"]
    program.now += 0.09
    assert program.ask(ON) == ["ERROR"]
    program.now += 0.01
    assert program.ask(ON) == ["OK"]
    assert program.ask("AT+CPCMREG?") == ["+CPCMREG: 1", "OK"]
    assert program.module.audio is AudioPath.PCM
    program.moved(index, Stat.ACTIVE)
    assert program.module.audio is AudioPath.PCM
    assert program.ask(OFF) == ["OK"]
    assert program.module.audio is None


def test_a_call_that_rings_is_none_yet_for_the_stream() -> None:
    program = module()
    program.called()
    settled(program)
    assert program.ask(ON) == ["ERROR"]


def test_after_one_open_and_close_the_first_order_is_refused_and_sound_stutters() -> None:
    program = module()
    for opened in (False, True):
        index = program.talking()
        settled(program)
        assert program.ask(ON) == (["ERROR"] if opened else ["OK"])
        if opened:
            assert program.ask(ON) == ["OK"]
        assert program.module.choppy is opened
        program.ask(OFF)
        program.released(index, Cause.NORMAL)


@pytest.mark.parametrize(("reset", "cured"), [("AT+CFUN=1,1", False), ("AT+CRESET", True)])
def test_only_creset_and_power_cure_it(reset: str, cured: bool) -> None:
    program = module()
    program.talking()
    settled(program)
    program.ask(ON)
    program.ask(OFF)
    program.released(1, Cause.NORMAL)
    program.orders.clear()
    assert program.ask(reset) == ["OK"]
    program.wait(1)
    assert program.orders.pop() == Restart(again=True)
    program.port.power_off()
    program.lines(program.port.power_on(program.now))
    program.wait(2)
    program.ask("ATE0")
    program.talking()
    settled(program)
    assert program.ask(ON) == (["OK"] if cured else ["ERROR"])


def test_pulled_out_and_put_in_it_is_as_new() -> None:
    program = module()
    program.talking()
    settled(program)
    program.ask(ON)
    program.ask(OFF)
    assert isinstance(program.module, Sim7600)
    assert program.module.worn
    program.port.power_off()
    program.port.power_on(program.now)
    assert not program.module.worn


def test_worn_beyond_stuttering_it_refuses_each_time() -> None:
    program = module()
    program.faults.audio_refused = True
    program.talking()
    settled(program)
    assert [program.ask(ON) for _ in range(6)] == [["ERROR"]] * 6


def test_what_was_not_closed_is_open_in_the_next_call() -> None:
    program = module()
    index = program.talking()
    settled(program)
    program.ask(ON)
    program.released(index, Cause.NORMAL)
    assert program.module.audio is None
    program.talking()
    assert program.module.audio is AudioPath.PCM


def test_a_firmware_wants_to_be_told_how_to_flush() -> None:
    assert module(Sim7600).ask("AT+CPCMREG=0") == ["OK"]
    program = module(Sim7600V2)
    assert program.ask("AT+CPCMREG=0") == ["ERROR"]
    assert program.ask(OFF) == ["OK"]


def test_it_has_8_khz_only_and_says_so_by_an_error() -> None:
    program = module()
    assert program.ask("AT+CPCMFRM=?") == ["+CME ERROR: 58"]
    assert program.ask("AT+CPCMFRM=0") == ["OK"]
    assert program.ask("AT+CPCMFRM=1") == ["ERROR"]


def test_without_voice_no_form_is_taken() -> None:
    program = module(voice=False)
    assert [program.ask(f"AT+CPCMREG{form}") for form in ("=?", "?", "=1", "=0,1")] == [["ERROR"]] * 4


# --- analog audio ---


@pytest.mark.parametrize("family", [Sim800, A7672])
def test_analog_audio_is_wired_to_a_sound_card(family: type[SimCom]) -> None:
    program = module(family)
    assert program.module.audio_paths == {AudioPath.CARD}
    index = program.dialed()
    assert program.module.audio is None
    program.moved(index, Stat.ALERTING)
    assert program.module.audio is AudioPath.CARD
    assert program.ask("AT+CPCMREG=1")[0].startswith("+CME ERROR")


def test_a_sim800_knows_no_lte_and_tells_nothing_of_voice_calls() -> None:
    program = module(Sim800)
    assert program.ask("AT+CEREG?") == ["+CME ERROR: 58"]
    assert program.ask("AT+CREG=2;+CREG?")[0] == '+CREG: 2,1,"1A2B","01C3D4E5",0'
    assert program.released(program.talking(), Cause.NORMAL) == ["NO CARRIER"]
    assert Sim800.usb is None


# --- an answer that is none (A6) ---


def test_a_burst_at_ringback_looks_like_an_answer() -> None:
    program = module(A7672)
    program.faults.early_answer = True
    program.ask("AT+CLCC=1;+COLP=1")
    assert program.ask(f"ATD{ANNA};") == ["OK"]
    listed = [f'+CLCC: 1,0,{stat},0,0,"{ANNA}",145' for stat in range(7)]
    assert program.moved(1, Stat.ALERTING) == [
        *(listed[2], listed[3], listed[0], "VOICE CALL: BEGIN", listed[0]),
        f'+COLP: "{ANNA}",145',
    ]
    assert program.moved(1, Stat.ACTIVE) == []
    program.now += 20
    assert program.released(1, Cause.NO_ANSWER) == [listed[6], "VOICE CALL:END: 000020", "NO ANSWER"]


def test_a_fall_back_begins_with_no_carrier_and_goes_on() -> None:
    program = module(A7672)
    program.faults.false_no_carrier = True
    assert program.ask(f"ATD{ANNA};") == ["NO CARRIER"]
    assert program.ask("AT+CLCC") == [f'+CLCC: 1,0,2,0,0,"{ANNA}",145', "OK"]
    assert program.moved(1, Stat.ALERTING) == []
    assert program.moved(1, Stat.ACTIVE) == ["VOICE CALL: BEGIN"]


# --- who it is ---


@pytest.mark.parametrize("family", [Sim7600, Sim800, A7672])
def test_the_sim_and_its_tries(family: type[SimCom]) -> None:
    program = module(family, pin="1234")
    tries = "AT+SPIC" if family is Sim800 else "AT+CPINC?"
    assert program.ask("AT+CPIN=1111") == ["+CME ERROR: 16"]
    assert program.ask(tries)[0].split(": ")[1].startswith("2,")
    assert program.ask("AT+CPIN=1234")[0] == "OK"
    assert program.ask("AT+CICCID") == ["+ICCID: 89330123456789012345", "OK"]


def test_interfaces_of_a_sim7600() -> None:
    assert Sim7600.usb is not None
    assert (Sim7600.usb.vendor, Sim7600.usb.product) == (0x1E0E, 0x9001)
    assert Sim7600.usb.roles == {0: "diag", 1: "nmea", 2: "at", 3: "modem", 4: "pcm", 5: "net"}
