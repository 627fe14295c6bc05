"""Simulated voice modems: their words, their streams, and what they make of the line, model by model."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.exchange import Identify
from hil.plans import PLANS
from hil.voiceboard import Close, Drop, Effect, Hook, Key, Open, Play, PlayOut, Say, Sing, VoiceFaults
from hil.voicemodels import VOICE_MODELS
from hil.voicemodem import VoiceModem
from hil.voicestream import Forget, Mode, Over, Sound, VoiceStream
from native import COUNTRIES, Caller, CallerIdKind, ToneKind, VoiceFormat, callerid

DLE = b"\x10"
OK = b"\r\nOK\r\n"
MODELS = sorted(VOICE_MODELS)
DUPLEX_END = {"usr5637": b"\x10\x03", "cx93010": b"\x10^", "zoom3095": b"\x10^", "v253": b"\x10^"}
CALLER = Caller(number="0783484044", name="A NAME", time="07211423")


class Rig:
    """A modem with its clock, and all that it said and asked for."""

    def __init__(self, model: str = "cx93010", faults: VoiceFaults | None = None, *set_up: str) -> None:
        self.modem = VoiceModem(VOICE_MODELS[model], faults)
        self.now = 0.0
        self.log: list[tuple[float, Effect]] = []
        for command in ("ATE0", *set_up):
            self.command(command)

    def do(self, effects: list[Effect]) -> bytes:
        """What the host was told."""
        self.log += [(round(self.now, 3), effect) for effect in effects]
        return b"".join(effect.data for effect in effects if isinstance(effect, Say))

    def type(self, data: bytes) -> bytes:
        return self.do(self.modem.receive(data, self.now))

    def command(self, text: str) -> bytes:
        return self.type(text.encode() + b"\r")

    def wait(self, seconds: float) -> bytes:
        said, until = b"", self.now + seconds
        while self.modem.deadline <= until:
            self.now = max(self.now, self.modem.deadline)
            said += self.do(self.modem.elapse(self.now))
        self.now = until
        return said

    def ring(self, *times: float) -> bytes:
        """On and off by turns, for so long each."""
        said = b""
        for at, seconds in enumerate(times):
            said += self.do(self.modem.ring(at % 2 == 0, self.now)) + self.wait(seconds)
        return said

    def identify(self, kind: CallerIdKind, caller: Caller = CALLER, *, before_ring: bool = False) -> bytes:
        return self.do(self.modem.identified(Identify(kind, caller, before_ring, 0.6), self.now)) + self.wait(0.6)

    def tone(self, kind: ToneKind | None, country: str = "FR", seconds: float = 0.0) -> bytes:
        return self.do(self.modem.tone(kind, country, self.now)) + self.wait(seconds)

    def wanted(self, *kinds: type) -> list[Effect]:
        return [effect for _, effect in self.log if isinstance(effect, kinds)]


def voice(model: str = "cx93010", *, faults: VoiceFaults | None = None, country: str = "3D") -> Rig:
    """In class 8, on hook."""
    return Rig(model, faults, f"AT+GCI={country}", "AT+VCID=1", "AT+FCLASS=8", "AT+VSD=128,0", "AT+VIT=0")


def off_hook(model: str = "cx93010", *, faults: VoiceFaults | None = None, country: str = "3D") -> Rig:
    rig = voice(model, faults=faults, country=country)
    assert rig.command("AT+VLS=1").endswith(OK)
    return rig


def streaming(model: str = "cx93010", mode: str = "VTR", *, faults: VoiceFaults | None = None) -> Rig:
    rig = off_hook(model, faults=faults)
    assert rig.command(f"AT+{mode}") == b"\r\nCONNECT\r\n"
    return rig


# --- words ---


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


# --- the stream ---


@pytest.mark.parametrize("sequence", [b"\x10\x03", b"\x10^", b"\x10!", b"\x10\x1b", b"\x10\x18"])
@pytest.mark.parametrize("model", MODELS)
def test_the_duplex_stream_ends_by_the_models_own_sequence_and_by_no_other(model, sequence):
    rig = streaming(model)
    said = rig.type(b"\x80" + sequence)
    ends = sequence == DUPLEX_END[model]
    assert said == (b"\x10\x03" + OK if ends else b"")
    assert bool(rig.wanted(Close)) == ends


@pytest.mark.parametrize("model", MODELS)
def test_reception_ends_by_an_exclamation_mark_and_not_by_can(model):
    rig = streaming(model, "VRX")
    assert rig.type(b"\x10\x18\x10\x03") == b""
    # Swallowed: it is still a stream.
    assert rig.type(b"AT+VLS=0\r") == b""
    assert rig.type(b"\x10!") == b"\x10\x03" + OK


@pytest.mark.parametrize("model", MODELS)
def test_transmission_ends_when_all_was_played(model):
    rig = streaming(model, "VTX")
    rig.type(b"\x80" * 100)
    dles = 3 if model == "zoom3095" else 1
    if dles == 3:
        assert rig.type(b"\x10\x03") == b""
        assert not rig.wanted(PlayOut)
    assert rig.type(b"\x10" * dles + b"\x03AT\r") == b""
    assert rig.wanted(PlayOut)
    assert rig.do(rig.modem.played(rig.now)) == OK + OK


def test_three_dles_before_the_end_are_a_byte_of_sound_to_all_but_a_zoom():
    for model in MODELS:
        stream = VoiceStream(Mode.TRANSMIT, VOICE_MODELS[model])
        assert stream.receive(b"\x80\x10\x10\x10\x03") == [Sound(b"\x80\x10\x10"), Over(b"")]


def test_bytes_behind_the_end_of_a_stream_are_commands():
    rig = streaming()
    assert rig.type(b"abc\x10^AT+VLS=0\r") == b"\x10\x03" + OK + OK
    assert rig.wanted(Play, Close, Hook) == [Hook(True), Play(b"abc"), Close(), Hook(False)]


def test_sound_keeps_its_shields_and_can_voids_what_waits():
    rig = streaming()
    rig.type(b"ab\x10\x10\x10\x1acd\x10\x18ef")
    assert rig.wanted(Play, Drop) == [Drop(), Play(b"ef")]
    rig.type(b"g\x10\x10\x10\x1ah")
    assert rig.wanted(Play)[-1] == Play(b"g\x10\x10\x10\x1ah")


# What means something behind a <DLE>, more often than by chance.
Byte = st.one_of(st.sampled_from([0x10, 0x10, 0x18, 0x1A, 0x03, 0x5E, 0x21]), st.integers(0, 255))
Stream = st.lists(Byte, max_size=60)


@given(
    data=Stream,
    cuts=st.lists(st.integers(0, 60), max_size=6),
    model=st.sampled_from(MODELS),
    mode=st.sampled_from(Mode),
)  # fmt: skip
def test_a_stream_in_pieces_is_the_stream_in_one(data, cuts, model, mode):
    def taken(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
        stream, sound = VoiceStream(mode, VOICE_MODELS[model]), b""
        for at, piece in enumerate(pieces):
            for found in stream.receive(piece):
                match found:
                    case Sound(more):
                        sound += more
                    case Forget():
                        sound = b""
                    case Over(rest):
                        return sound, rest + b"".join(pieces[at + 1 :])
        return sound, None

    whole = bytes(data)
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(ends)]
    assert taken(pieces) == taken([whole])


@given(pairs=st.lists(st.sampled_from([b"\x10\x10", b"\x80", b"\x03"]), max_size=40), cuts=st.lists(st.integers(0, 80)))
def test_a_code_never_stands_within_a_pair(pairs, cuts):
    whole = b"".join(pairs)
    stream = VoiceStream(Mode.DUPLEX, VOICE_MODELS["usr5637"])
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    said = b""
    for begin, end in itertools.pairwise(ends):
        said += stream.send(whole[begin:end]) + b"\x10u"
    # As a host reads it.
    sound, rest = bytearray(), iter(said)
    for byte in rest:
        code = next(rest) if byte == 0x10 else None
        if code != ord("u"):
            sound.append(byte)
    assert bytes(sound) == whole.replace(b"\x10\x10", b"\x10")


def test_conexant_packs_two_dles_of_sound():
    assert streaming().do(streaming().modem.heard(b"\x10\x10\x10\x10\x80", 0.0)) == b"\x10\x1a\x80"
    assert streaming("usr5637").modem.heard(b"\x10\x10\x10\x10", 0.0) == [Say(b"\x10\x10\x10\x10")]


def test_while_it_plays_the_host_is_sent_no_sound_and_while_it_records_none_is_played():
    assert streaming(mode="VTX").modem.heard(b"\x80", 0.0) == []
    rig = streaming(mode="VRX")
    rig.type(b"\x80")
    assert not rig.wanted(Play)


def test_a_stream_that_runs_dry_or_over_is_told():
    rig = streaming()
    assert rig.do(rig.modem.ran_dry(rig.now)) == b"\x10u"
    assert rig.do(rig.modem.ran_over(rig.now)) == b"\x10o"
    recording = streaming(mode="VRX")
    assert recording.do(recording.modem.ran_dry(recording.now)) == b""


def test_silence_is_told_once_as_no_sound_at_all_or_the_end_of_a_message():
    rig = off_hook()
    rig.command("AT+VSD=128,20")
    rig.command("AT+VTR")

    def look(*louds: bool) -> bytes:
        said = b""
        for loud in louds:
            said += rig.wait(0.1) + rig.do(rig.modem.sound(loud, rig.now))
        return said

    assert look(*[False] * 50) == b"\x10s"
    assert look(*[True] * 3, *[False] * 50) == b"\x10q"


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


def test_spurious_codes_are_said_while_it_plays():
    rig = streaming(mode="VTX", faults=VoiceFaults(spurious="bd"))
    assert rig.wait(3.5) == b"\x10b\x10d\x10b"


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
