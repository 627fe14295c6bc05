"""The words of simulated voice modems, model by model: what they are asked, what they list, refuse and answer late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.plans import PLANS
from hil.voiceboard import Close, Hook, Open, VoiceFaults
from hil.voicestream import Mode
from native import COUNTRIES, ToneKind, VoiceFormat
from tests.voice_rig import MODELS, OK, Rig, off_hook, voice


@pytest.mark.parametrize(
    ("model", "asked", "answer"),
    [
        ("usr5637", "ATI", b"5601"),
        ("usr5637", "AT+FCLASS=?", b"(0,1,1.0,8)"),
        ("cx93010", "ATI", b"56000"),
        ("cx93010", "ATI3", b"CX93001-EIS_V0.2013-V92"),
        ("cx93010", "AT+GMI", b"CONEXANT"),
        ("cx93010", "AT+FCLASS=?", b"0,1,1.0,2,8"),
        ("zoom3095", "ATI", b"56000"),
        ("v253", "AT+FCLASS=?", b"(0,1,8)"),
        ("v253", "ATS7?", b"050"),
        ("v253", "AT+GCI?", b"+GCI: B5"),
    ],
)
def test_each_model_says_who_it_is(model, asked, answer):
    assert Rig(model).command(asked) == b"\r\n" + answer + b"\r\n" + OK


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("usr5637", b'129,"16-BIT LINEAR",(7200,8000,11025)'),
        ("cx93010", b'131,"Mu-Law",8,0,8000,0,0'),
        ("zoom3095", b'1,"UNSIGNED PCM",8,0,8000,0,0'),
        ("v253", b'+VSM: 4,"G.711U",8,0,(8000),(0),(0)'),
    ],
)
def test_sample_formats_are_listed_in_each_models_shape_and_in_class_8_only(model, listed):
    rig = Rig(model)
    assert rig.command("AT+VSM=?") == b"\r\nERROR\r\n"
    rig.command("AT+FCLASS=8")
    assert b"\r\n" + listed + b"\r\n" in rig.command("AT+VSM=?")


@pytest.mark.parametrize(
    ("model", "command", "format"),
    [
        ("usr5637", "AT", VoiceFormat.L16),
        ("usr5637", "AT+VSM=131,8000", VoiceFormat.PCMU),
        ("usr5637", "AT+VSM=128,8000,0,0", VoiceFormat.U8),
        ("cx93010", "AT+VSM=131,8000,0,0", VoiceFormat.PCMU),
        ("cx93010", "AT+VSM=132", VoiceFormat.PCMA),
        ("zoom3095", "AT+VSM=1,8000,0,0", VoiceFormat.U8),
        ("v253", "AT+VSM=5,8000", VoiceFormat.PCMA),
    ],
)
def test_a_stream_is_in_the_format_that_was_chosen(model, command, format):
    rig = off_hook(model)
    assert rig.command(command) == OK
    rig.command("AT+VTR")
    assert rig.wanted(Open) == [Open(Mode.DUPLEX, format)]


@pytest.mark.parametrize("command", ["AT+VSM=131", "AT+VSM=129,16000,0,0", "AT+VSM=77,8000", "AT+VSM=131,8000,0,0,0"])
def test_a_format_or_rate_that_is_not_listed_is_refused(command):
    usr = off_hook("usr5637")
    # 131 has one rate, so it is enough by itself.
    assert usr.command(command) == (OK if command == "AT+VSM=131" else b"\r\nERROR\r\n")
    assert usr.command("AT+VSM=129") == b"\r\nERROR\r\n"


@pytest.mark.parametrize("model", MODELS)
def test_a_firmware_without_voice_does_not_list_class_8_and_refuses_it(model):
    rig = Rig(model, VoiceFaults(no_voice=True))
    assert b"8" not in rig.command("AT+FCLASS=?").replace(b"OK", b"")
    assert rig.command("AT+FCLASS=8") == b"\r\nERROR\r\n"


@pytest.mark.parametrize("model", MODELS)
def test_what_acts_has_no_test_form_and_wants_the_line_off_hook(model):
    rig = voice(model)
    for command in ("AT+VTR=?", "AT+VTR", "AT+VTX", "AT+VRX", "AT+VTS=5"):
        assert rig.command(command) == b"\r\nERROR\r\n"
    rig.command("AT+VLS=1")
    assert rig.command("AT+VTR=?") == b"\r\nERROR\r\n"
    assert rig.command("AT+VTR") == b"\r\nCONNECT\r\n"


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_tells_its_range_and_its_value(model):
    rig = voice(model)
    for name in ("+VGR", "+VGT", "+VRA", "+VRN", "+VTD", "+VNH", "+VPR", "+VIT", "+VSD"):
        assert b"(" in rig.command(f"AT{name}=?")
        assert rig.command(f"AT{name}?").endswith(OK)
    assert rig.command("AT+VGT=127;+VGT?").strip(b"\r\nOK+VGT: ") == b"127"


def test_the_codes_of_conexants_own_are_nobody_elses():
    assert Rig("cx93010").command("AT-SCID=1;+VCID=1;-STE=3") == OK
    assert Rig("usr5637").command("AT-STE=3") == b"\r\nERROR\r\n"


def test_echo_goes_on_until_it_is_switched_off():
    rig = Rig()
    assert rig.type(b"ATE1\r") == OK
    assert rig.type(b"AT") == b"AT"
    assert rig.type(b"\r\n") == b"\r" + OK


def test_class_and_caller_id_last_until_atz():
    rig = voice()
    assert rig.command("ATZ") == OK
    assert rig.type(b"AT+FCLASS?\r") == b"AT+FCLASS?\r\r\n0\r\n" + OK
    assert b"\r\n0\r\n" in rig.type(b"AT+VCID?\r")


# --- faults of its words ---


def test_answers_may_be_late_refused_or_never_come():
    faults = VoiceFaults(delay_s=1.0, refused={"+VGT": 3})
    rig = voice(faults=faults)
    rig.wait(10)
    assert rig.command("AT+VGR=120") == b""
    assert rig.wait(1) == OK
    faults.delay_s = 0.0
    assert rig.command("AT+VGT=120") == b"\r\nERROR\r\n"
    faults.hung.add("+VLS")
    assert rig.command("AT+VLS=1") == b""
    assert rig.wanted(Hook) == [Hook(True)]
    faults.deaf = True
    assert rig.command("AT") == b""


TYPED = (
    "AT+FCLASS=8", "AT+VLS=1", "AT+VLS=0", "AT+VTR", "AT+VTX", "AT+VRX", "ATA", "ATDT12", "ATDT1;", "AT+VTS=1,!",
    "ATH", "ATZ", "\x10^", "\x10\x03", "\x10!", "\x80" * 9, "AT+VSM=?", "ATX3", "~",
)  # fmt: skip


@given(
    typed=st.lists(st.sampled_from(TYPED), max_size=25),
    model=st.sampled_from(MODELS),
    tone=st.sampled_from([None, *ToneKind]),
    country=st.sampled_from(COUNTRIES),
)
def test_whatever_was_typed_dtr_leaves_the_line_and_the_next_command_is_answered(typed, model, tone, country):
    rig = Rig(model)
    for text in typed:
        rig.type(text.encode("latin-1") + b"\r")
        if rig.modem.daa.off_hook:
            rig.tone(tone and PLANS[country].tone(tone), country)
        rig.wait(1.3)
    rig.do(rig.modem.hung_up(rig.now))
    hooks = [effect.off for effect in rig.wanted(Hook)]
    assert hooks == [at % 2 == 0 for at in range(len(hooks))]
    assert len(hooks) % 2 == 0
    streams = rig.wanted(Open, Close)
    assert [type(each) for each in streams] == [Open, Close] * (len(streams) // 2)
    assert rig.command("ATE0").endswith(OK)
