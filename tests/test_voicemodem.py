"""Simulated voice modems on the line, model by model: they ring, tell who calls, go off hook, dial and hear tones."""

import pytest

from hil.voiceboard import Close, Hook, Key, Sing, VoiceFaults
from native import Caller, CallerIdKind, ToneKind, callerid
from tests.voice_rig import CALLER, MODELS, OK, Rig, off_hook, streaming, voice

# --- being called ---


@pytest.mark.parametrize(
    ("model", "in_voice"), [("cx93010", b"\x10R"), ("usr5637", b"\r\nRING\r\n"), ("v253", b"\x10R")]
)
def test_a_ring_is_a_word_in_class_0_and_where_the_model_has_it_so_a_code_in_class_8(model, in_voice):
    assert Rig(model).ring(1.5, 3.5, 1.5) == b"\r\nRING\r\n" * 2
    assert voice(model).ring(1.5, 3.5) == in_voice


def test_a_double_ring_is_one_ring():
    assert Rig().ring(0.4, 0.2, 0.4, 2.0, 0.4, 0.2, 0.4, 2.0) == b"\r\nRING\r\n" * 2


def test_cadences_are_told_if_asked_for():
    rig = Rig("cx93010", None, "AT+VDR=1,15")
    said = rig.ring(2.0, 4.0, 2.0, 4.0)
    words = [word for word in said.decode().split("\r\n") if word]
    assert words == ["RING", "DRON=20", "DROF=40", "RING", "DRON=20"]


@pytest.mark.parametrize(
    ("model", "report"),
    [
        ("usr5637", b"\r\nDATE=0721\r\n\r\nTIME=1423\r\n\r\nNMBR=0783484044\r\n\r\nNAME=A NAME\r\n"),
        ("cx93010", b"\r\nDATE = 0721\r\n\r\nTIME = 1423\r\n\r\nNMBR = 0783484044\r\n\r\nNAME = A NAME\r\n"),
    ],
)
def test_a_caller_is_told_behind_the_first_ring(model, report):
    rig = Rig(model, None, "AT+GCI=3D;+VCID=1")
    rig.ring(1.5, 0.5)
    assert rig.identify(CallerIdKind.V23) == report
    assert rig.ring(1.5, 3.5) == b"\r\nRING\r\n"
    again = rig.command("AT+VRID=0")
    assert again == report + OK


def test_a_zoom_tells_a_caller_behind_the_second_ring_at_the_earliest():
    rig = Rig("zoom3095", None, "AT+GCI=3D;+VCID=1")
    rig.ring(1.5, 0.5)
    assert rig.identify(CallerIdKind.V23) == b""
    assert rig.ring(1.5).startswith(b"\r\nRING\r\n\r\nDATE = 0721")


def test_in_class_8_the_standards_modem_reports_between_codes():
    rig = voice("v253")
    rig.ring(1.5, 0.5)
    said = rig.identify(CallerIdKind.V23, Caller(absence="P"))
    assert said == b"\x10X\r\nNMBR=P\r\n\x10."


def test_a_caller_before_the_first_ring_is_told_before_it():
    rig = Rig("usr5637", None, "AT+GCI=31;+VCID=1")
    assert rig.identify(CallerIdKind.KEYS, Caller(number="12345678"), before_ring=True) == b"\r\nNMBR=12345678\r\n"
    assert rig.ring(1.0) == b"\r\nRING\r\n"


@pytest.mark.parametrize(("set_to", "told"), [("3D", True), ("42", True), ("B5", False), ("B4", False), ("31", False)])
def test_a_modem_set_to_another_country_rings_without_telling_who_calls(set_to, told):
    rig = Rig("cx93010", None, f"AT+GCI={set_to};+VCID=1")
    assert rig.ring(1.5, 0.5) == b"\r\nRING\r\n"
    assert bool(rig.identify(CallerIdKind.V23)) == told


def test_a_line_of_a_report_or_a_ring_may_get_lost():
    rig = Rig("cx93010", VoiceFaults(lost_news={"NMBR", "RING"}), "AT+GCI=3D;+VCID=1")
    assert rig.ring(1.5, 0.5) == b""
    assert b"NMBR" not in rig.identify(CallerIdKind.V23)


def test_nobody_is_told_who_did_not_ask():
    rig = Rig("cx93010", None, "AT+GCI=3D")
    rig.ring(1.5, 0.5)
    assert rig.identify(CallerIdKind.V23) == b""


def test_a_raw_report_is_the_message_itself_with_its_checksum():
    rig = Rig("usr5637", None, "AT+GCI=3D;+VCID=2")
    rig.ring(1.5, 0.5)
    said = rig.identify(CallerIdKind.V23).decode().strip()
    message = bytes.fromhex(said.removeprefix("MESG="))
    assert sum(message) % 256 == 0
    assert callerid.read(message[:-1], CallerIdKind.V23) == CALLER


# --- the hook ---


@pytest.mark.parametrize(("model", "answered"), [("cx93010", b"VCON"), ("usr5637", b"\x10H\r\nOK"), ("v253", b"VCON")])
def test_ata_answers_with_the_models_own_word(model, answered):
    rig = voice(model)
    rig.ring(1.5, 1)
    assert rig.command("ATA").strip() == answered
    assert rig.wanted(Hook) == [Hook(True)]


def test_in_class_0_an_answer_waits_for_a_carrier_and_any_byte_ends_it():
    rig = Rig()
    assert rig.command("ATA") == b""
    assert rig.wait(50) == b"\r\nNO CARRIER\r\n"
    assert rig.command("ATA") == b""
    assert rig.type(b"x") == b"\r\nNO CARRIER\r\n"
    assert rig.wanted(Hook) == [Hook(True), Hook(False)] * 2


def test_s0_answers_in_data_mode_by_itself():
    rig = Rig("cx93010", None, "ATS0=2")
    rig.ring(1.5, 3.5)
    assert not rig.wanted(Hook)
    rig.ring(1.5)
    assert rig.wanted(Hook) == [Hook(True)]


def test_a_usr_takes_the_line_when_the_ring_pauses():
    rig = voice("usr5637")
    rig.do(rig.modem.ring(True, rig.now))
    assert rig.command("AT+VLS=1") == b""
    assert not rig.wanted(Hook)
    assert rig.ring()[:0] + rig.do(rig.modem.ring(False, rig.now)) == b"\x10H" + OK
    assert rig.wanted(Hook) == [Hook(True)]


def test_an_order_to_go_off_hook_may_be_late_by_rings():
    rig = voice("usr5637", faults=VoiceFaults(late_rings=3))
    rig.ring(1.5, 1.0)
    assert rig.command("AT+VLS=1") == b""
    rig.wait(2.5)
    said = rig.ring(1.5, 3.5, 1.5, 3.5, 1.5)
    assert said.count(b"RING") == 3
    assert said.endswith(OK)


def test_hanging_up_may_be_acknowledged_and_not_done_until_dtr_falls():
    rig = off_hook(faults=VoiceFaults(stuck_off_hook=True))
    assert rig.command("ATH") == rig.command("AT+VLS=0") == OK
    assert rig.wanted(Hook) == [Hook(True)]
    # It knows better.
    assert rig.command("AT+VLS?") == b"\r\n1\r\n" + OK
    rig.do(rig.modem.hung_up(rig.now))
    assert rig.wanted(Hook) == [Hook(True), Hook(False)]


@pytest.mark.parametrize("helps", [True, False])
def test_a_stream_that_cannot_be_left_is_ended_by_dtr_or_by_power_alone(helps):
    rig = streaming(faults=VoiceFaults(exit_ignored=helps, wedged=not helps))
    assert rig.type(b"\x10^\x10\x03\x10!AT+VLS=0\r") == b""
    rig.do(rig.modem.hung_up(rig.now))
    assert (rig.wanted(Close) == [Close()]) == helps
    if not helps:
        rig.do(rig.modem.power_off())
        rig.do(rig.modem.power_on(rig.now))
    assert rig.wanted(Hook)[-1] == Hook(False)
    assert rig.command("AT").endswith(OK)


def test_dtr_is_of_no_concern_where_at_d0_says_so():
    rig = off_hook()
    rig.command("AT&D0")
    assert rig.modem.hung_up(rig.now) == []


def test_a_host_that_is_silent_in_voice_loses_the_line_unless_the_timer_is_off():
    rig = off_hook("v253")
    assert rig.wait(100) == b""
    rig.command("AT+VIT=10")
    rig.command("AT+VTR")
    rig.wait(8)
    rig.type(b"\x80")
    assert rig.wait(9) == b""
    assert rig.wait(2) == b"\x10\x03" + OK
    assert rig.wanted(Hook)[-1] == Hook(False)
    assert b"0" in rig.command("AT+FCLASS?")


# --- the line in a call ---


@pytest.mark.parametrize(("model", "codes"), [("usr5637", b"\x10h\x10H"), ("cx93010", b"\x10l"), ("v253", b"\x10l")])
def test_an_interrupted_loop_is_told_by_each_models_own_code(model, codes):
    for rig in (off_hook(model), streaming(model)):
        assert rig.do(rig.modem.current(False, rig.now)) + rig.do(rig.modem.current(True, rig.now)) == codes


def test_a_reversal_is_told_off_hook_by_those_that_know_the_code():
    rig = off_hook()
    assert rig.do(rig.modem.reversed(rig.now)) == b"\x10L"
    assert off_hook("usr5637").modem.reversed(0.0) == []
    assert voice().modem.reversed(0.0) == []


@pytest.mark.parametrize("model", MODELS)
def test_a_key_is_told_once_by_some_and_every_70_ms_between_its_shields_by_others(model):
    rig = streaming(model)
    said = rig.do(rig.modem.key_heard("5", rig.now)) + rig.wait(1)
    assert said == (b"\x105" if model == "usr5637" else b"\x10/\x105\x105\x10~")


def test_a_key_may_be_repeated_without_shields():
    rig = streaming(faults=VoiceFaults(key_repeats=3))
    assert rig.do(rig.modem.key_heard("5", rig.now)) + rig.wait(1) == b"\x105" * 4


def test_a_busy_tone_is_told_when_it_is_certain_and_as_long_as_it_lasts():
    rig = streaming()
    assert rig.tone(ToneKind.BUSY, "FR", 1.9) == b""
    assert rig.wait(2.2) == b"\x10b" * 3
    assert rig.tone(None) + rig.wait(5) == b""


def test_a_firmware_knows_the_cadences_of_the_country_that_it_was_set_to():
    def heard(set_to: str, country: str, kind: ToneKind) -> bytes:
        return off_hook(country=set_to).tone(kind, country, 2.1)

    assert heard("3D", "FR", ToneKind.BUSY) == b"\x10b"
    # 500/500 in both.
    assert heard("B5", "FR", ToneKind.BUSY) == b"\x10b"
    assert heard("B4", "FR", ToneKind.BUSY) == b""
    assert heard("B5", "GB", ToneKind.DIAL) == heard("B4", "US", ToneKind.DIAL) == b"\x10d"
    assert heard("B5", "IT", ToneKind.DIAL) == b""


# --- dialing ---


def dialing(text: str, *, model: str = "cx93010", set_up: str = "ATX4", dial_tone: bool = True) -> Rig:
    rig = voice(model)
    rig.command(set_up)
    rig.command("ATD" + text)
    if dial_tone:
        rig.tone(ToneKind.DIAL)
        rig.wait(1.0)
        rig.tone(None)
    return rig


def test_a_number_is_dialed_behind_the_dial_tone_and_a_semicolon_ends_there():
    rig = dialing("T0,12;")
    assert rig.wait(5).endswith(OK)
    keys = [(at, effect.key) for at, effect in rig.log if isinstance(effect, Key)]
    assert [key for _, key in keys] == ["0", "1", "2"]
    assert keys[0][0] == 1.0
    assert keys[1][0] - keys[0][0] == pytest.approx(2.155)
    assert rig.modem.daa.off_hook


@pytest.mark.parametrize(("model", "said"), [("cx93010", b"NO DIALTONE"), ("usr5637", b"NO DIAL TONE")])
def test_no_dial_tone_is_told_and_the_line_left(model, said):
    rig = dialing("0612", model=model, dial_tone=False)
    assert rig.wait(6).strip().endswith(said)
    assert rig.wanted(Hook) == [Hook(True), Hook(False)]
    assert not rig.wanted(Key)


def test_x3_dials_blindly():
    rig = dialing("0612;", set_up="ATX3", dial_tone=False)
    assert rig.wait(4) == OK
    assert len(rig.wanted(Key)) == 4


def test_busy_ends_the_dialing_and_hangs_up():
    rig = dialing("0612")
    assert rig.wait(1) == b""
    assert b"\r\nBUSY\r\n" in rig.tone(ToneKind.BUSY, "FR", 3)
    assert rig.wanted(Hook)[-1] == Hook(False)


def test_connected_is_a_guess_by_two_timers():
    never = dialing("0612")
    assert never.wait(0.7 + 9) == b""
    assert never.wait(1) == b"\r\nVCON\r\n"
    rings = dialing("0612")
    said = rings.tone(ToneKind.RINGBACK, "FR", 20)
    assert said.count(b"RINGING") == 4
    assert b"VCON" not in said
    assert rings.tone(None) + rings.wait(6) == b"\r\nVCON\r\n"


def test_with_a_hasty_timer_it_says_connected_between_two_rings():
    rig = dialing("0612", set_up="AT+VRA=10")
    assert b"VCON" in rig.tone(ToneKind.RINGBACK, "FR", 4.5)


def test_nobody_answers_within_s7():
    rig = dialing("0612", set_up="ATS7=20")
    assert b"NO ANSWER" in rig.tone(ToneKind.RINGBACK, "FR", 30)
    assert rig.wanted(Hook)[-1] == Hook(False)


def test_a_byte_typed_while_it_dials_hangs_up():
    rig = dialing("061234567")
    assert rig.type(b"\r") == b"\r\nNO CARRIER\r\n"
    assert rig.wanted(Hook)[-1] == Hook(False)
    assert rig.command("AT") == OK


def test_tones_are_keys_or_any_two_frequencies_and_what_follows_waits():
    rig = off_hook()
    assert rig.command("AT+VTS=1,{5,30},[350,440,100];+VLS?") == b""
    assert rig.wait(5) == b"\r\n1\r\n" + OK
    keys = [(effect.key, effect.ms) for effect in rig.wanted(Key)]
    assert keys == [("1", 100), ("5", 300)]
    [sung] = rig.wanted(Sing)
    assert [(step.hz, step.ms) for step in sung.cadence] == [((350.0, 440.0), 1000)]
    assert rig.command("AT+VTS=[1,2") == b"\r\nERROR\r\n"


def test_a_flash_opens_the_loop_for_s29():
    rig = off_hook()
    rig.command("ATS29=10")
    assert rig.command("AT+VTS=!") == b""
    assert rig.wait(0.1) == OK
    opened, closed = [at for at, effect in rig.log if isinstance(effect, Hook)][1:]
    assert closed - opened == pytest.approx(0.1)
