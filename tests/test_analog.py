"""The one call of an analog line, by what is heard of it: every sign in every state."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.analog import (
    ACTIVE,
    ALERTING,
    AUDIBLE_PEAK,
    DIALING,
    LINE_SETTLES_S,
    AnalogCall,
    Report,
    report,
)
from drivers.countries import PROFILES, AnalogLine, Country
from drivers.line import Alerting, Answered, Incoming, LineEvent, Released
from drivers.replies import CallStat
from drivers.voicemodels import VOICE_MODELS, offers
from native import Caller, CallerIdKind, ToneKind, VoiceFormat, callerid

FR, GB = AnalogLine(PROFILES["FR"]), AnalogLine(PROFILES["GB"])
RINGING = CallStat.INCOMING


def call_in(stat: CallStat, line: AnalogLine = FR) -> AnalogCall:
    """Since 100 s ago, of a clock that has come to 100."""
    call = AnalogCall(line, loop_codes="lh")
    if stat is RINGING:
        call.ring(0)
        call.tick(4)
        call.ring(98)
        return call
    call.dialing(0)
    if stat is not DIALING:
        call.tone(ToneKind.RINGBACK, 0)
    if stat is ACTIVE:
        call.voice(0) or call.code("L", 1)
        call.level(AUDIBLE_PEAK, 0, 99)
    assert call.stat is stat
    return call


def after(call: AnalogCall, *signs: str, every_s: float = 1.0, speaking: bool = False) -> list[LineEvent]:
    """What they make of it, and of an end we are told when we are on-hook."""
    events: list[LineEvent] = []
    for at, sign in enumerate(signs):
        events += call.code(sign, 100 + at * every_s, speaking=speaking)
    return [*events, *(call.released() if call.over else [])]


NOTHING: list[LineEvent] = []
SIGNS: dict[str, dict[CallStat, list[LineEvent]]] = {
    "b": {DIALING: [Released(17)], ALERTING: [Released(17)], ACTIVE: [Released(16)]},
    "K": {DIALING: [Released(34)], ALERTING: [Released(34)], ACTIVE: [Released(16)]},
    "d": {DIALING: NOTHING, ALERTING: NOTHING, ACTIVE: [Released(16)]},
    "l": {DIALING: NOTHING, ALERTING: NOTHING, ACTIVE: [Released(16)]},
    "h": {DIALING: NOTHING, ALERTING: NOTHING, ACTIVE: [Released(16)]},
    "r": {DIALING: [Alerting()], ALERTING: NOTHING, ACTIVE: NOTHING},
    "J": {DIALING: [Released(31)], ALERTING: [Released(31)], ACTIVE: NOTHING},
    "R": {DIALING: NOTHING, ALERTING: NOTHING, ACTIVE: [Released(41)]},
    "L": {DIALING: NOTHING, ALERTING: NOTHING, ACTIVE: NOTHING},
}


@pytest.mark.parametrize("stat", [DIALING, ALERTING, ACTIVE])
@pytest.mark.parametrize("code", [*SIGNS, *"HPpasqmceftTuovVwQSEYi"])
def test_every_code_in_every_state(code: str, stat: CallStat) -> None:
    assert after(call_in(stat), code, code, code) == SIGNS.get(code, {}).get(stat, NOTHING)
    assert after(call_in(RINGING), *(code * 3 if code != "R" else "")) == NOTHING
    assert after(AnalogCall(FR, loop_codes="lh"), *(code * 3 if code != "R" else "")) == NOTHING


def test_what_a_modem_takes_for_a_tone_counts_when_it_is_repeated_and_we_are_silent() -> None:
    for code in "bKd":
        assert after(call_in(ACTIVE), code, code) == []
        assert after(call_in(ACTIVE), code, code, code, every_s=6) == []
        assert after(call_in(ACTIVE), *code * 9, speaking=True) == []
    assert after(call_in(ACTIVE), "l", speaking=True) == [Released(16)]


@pytest.mark.parametrize("stat", [DIALING, ALERTING, ACTIVE])
def test_polarity_counts_where_the_line_has_it(stat: CallStat) -> None:
    line = replace(FR, polarity=True)
    expected = [Released(16)] if stat is ACTIVE else [Answered()]
    assert after(call_in(stat, line), "L") == expected
    if stat is not ACTIVE:
        assert call_in(stat, line).voice(100) == []
        ringing = call_in(stat, line)
        ringing.tone_ended(ToneKind.RINGBACK, 100)
        assert ringing.tick(1000) == []


def test_the_lines_current_settles_first() -> None:
    call = call_in(ALERTING)
    assert call.voice(100) == [Answered()]
    assert call.code("l", 100 + LINE_SETTLES_S / 2) == []
    assert not call.over
    call.code("l", 100 + 2 * LINE_SETTLES_S)
    assert call.over
    recalled = call_in(ACTIVE)
    recalled.disturbed(100)
    recalled.code("h", 100.1)
    assert not recalled.over


TONES = {
    ToneKind.BUSY: {DIALING: 17, ALERTING: 17, ACTIVE: 16},
    ToneKind.CONGESTION: {DIALING: 34, ALERTING: 34, ACTIVE: 16},
    ToneKind.DIAL: {DIALING: 28, ALERTING: 16, ACTIVE: 16},
}


@pytest.mark.parametrize("stat", [DIALING, ALERTING, ACTIVE])
@pytest.mark.parametrize("kind", list(TONES))
def test_every_tone_in_every_state(kind: ToneKind, stat: CallStat) -> None:
    call = call_in(stat)
    assert call.tone(kind, 100) == []
    assert call.over
    assert call.released() == [Released(TONES[kind][stat])]
    assert call.stat is None
    ringing = call_in(RINGING)
    ringing.tone(kind, 100)
    assert not ringing.over


def test_ringback_that_ends_is_an_answer_unless_a_busy_tone_follows() -> None:
    call = call_in(ALERTING)
    call.tone_ended(ToneKind.RINGBACK, 100)
    assert call.tick(100 + FR.country.busy_s - 0.1) == []
    assert call.tick(100 + FR.country.busy_s) == [Answered()]
    refused = call_in(ALERTING)
    refused.tone_ended(ToneKind.RINGBACK, 100)
    refused.tone(ToneKind.BUSY, 102)
    assert refused.released() == [Released(17)]
    ringing = call_in(ALERTING)
    ringing.tone_ended(ToneKind.RINGBACK, 100)
    ringing.tone(ToneKind.RINGBACK, 101)
    assert ringing.tick(1000) == []


@pytest.mark.parametrize("code", PROFILES)
def test_by_then_busy_and_congestion_have_been_told(code: str) -> None:
    country = PROFILES[code]
    assert 1 < country.busy_s < 5.5
    assert 6 <= country.abandoned_s <= 8
    assert country.abandoned_s > country.ring_s


def test_a_far_end_that_speaks_has_answered() -> None:
    assert call_in(ALERTING).voice(100) == [Answered()]
    assert call_in(DIALING).voice(100) == [Answered()]
    assert call_in(ACTIVE).voice(100) == []
    assert call_in(RINGING).voice(100) == []


# --- rings and numbers


def test_any_ring_opens_one_call() -> None:
    call = AnalogCall(FR, loop_codes="")
    assert call.ring(0) == []
    assert call.hear(Report("NMBR", "0159133354"), 1) == [Incoming("0159133354")]
    assert call.ring(5) == call.code("R", 10) == call.hear(Report("DRON", "15"), 12) == []
    assert call.hear(Report("NMBR", "0159133355"), 13) == []
    assert call.due == 12 + FR.country.abandoned_s
    assert call.tick(call.due) == [Released(16)]
    assert call.due == float("inf")


def test_a_number_that_does_not_come_is_waited_for_until_after_the_second_ring() -> None:
    call = AnalogCall(FR, loop_codes="")
    call.ring(0)
    assert call.due == 4
    assert call.tick(4) == [Incoming(None)]
    late = AnalogCall(FR, loop_codes="", number_after_rings=2)
    late.ring(0)
    assert late.tick(4) == []
    late.ring(5)
    assert late.due == 5.5
    assert late.tick(5.5) == [Incoming(None)]


def test_a_number_before_the_ring_waits_for_it_but_not_for_long() -> None:
    call = AnalogCall(GB, loop_codes="")
    assert call.hear(Report("NMBR", "02079460000"), 0) == []
    assert not call.told
    assert call.ring(1) == [Incoming("02079460000")]
    late = AnalogCall(GB, loop_codes="")
    late.hear(Report("NMBR", "02079460000"), 0)
    late.ring(20)
    assert late.tick(21) == [Incoming(None)]


@pytest.mark.parametrize("value", ["P", "O", "PRIVATE", ""])
def test_withheld_is_a_value(value: str) -> None:
    call = AnalogCall(FR, loop_codes="")
    call.ring(0)
    assert call.hear(Report("NMBR", value), 1) == [Incoming(None)]


def test_the_lines_of_a_report() -> None:
    assert report("NMBR=5551234567") == report("NMBR = 5551234567") == Report("NMBR", "5551234567")
    assert report("NAME=JOHN = DOE") == Report("NAME", "JOHN = DOE")
    assert report("NMBR") is report("RING") is None
    call = AnalogCall(FR, loop_codes="")
    call.ring(0)
    for line in ("DATE=0721", "TIME=1423", "NAME=JOHN", "MESG=zz", "MESG=820103", "DROF=40"):
        told = report(line)
        assert told is not None
        assert call.hear(told, 1) == []


def test_a_message_that_the_modem_did_not_decode_has_the_number_too() -> None:
    content = b"\x01\x0807211423\x02\x0a0159133354"
    message = bytes((0x80, len(content))) + content
    assert callerid.read(message, CallerIdKind.BELL202) == Caller(number="0159133354", time="07211423")
    call = AnalogCall(FR, loop_codes="")
    call.ring(0)
    assert call.hear(Report("MESG", message.hex().upper()), 1) == [Incoming("0159133354")]


def test_a_call_that_was_declined_rings_on_and_is_told_at_its_end() -> None:
    call = call_in(RINGING)
    assert call.decline()
    assert not call.over
    assert call.ring(100) == []
    assert call.tick(call.due) == [Released(21)]
    assert not AnalogCall(FR, loop_codes="").decline()


def test_while_we_answer_the_bell_may_be_silent() -> None:
    call = call_in(RINGING)
    call.answering()
    assert call.due == float("inf")
    assert call.answered(200) == [Answered()]
    given_up = call_in(RINGING)
    given_up.answering()
    given_up.unanswered(100)
    assert given_up.tick(given_up.due) == [Released(16)]


# --- what passes with time


def test_silence_and_the_ceiling_end_a_call_and_0_is_never() -> None:
    call = call_in(ACTIVE, replace(FR, silence_s=30.0))
    call.level(AUDIBLE_PEAK - 1, AUDIBLE_PEAK - 1, 120)
    assert call.due == 99 + 30
    call.level(0, AUDIBLE_PEAK, 125)
    assert call.tick(129) == []
    call.tick(155)
    assert call.released() == [Released(102)]
    for line in (replace(FR, silence_s=0.0, ceiling_s=50.0), replace(FR, silence_s=0.0, ceiling_s=0.0)):
        endless = call_in(ACTIVE, line)
        assert endless.due == line.ceiling_s or endless.due == float("inf")
        endless.tick(10**6)
        assert endless.over is bool(line.ceiling_s)


@given(heard_at=st.floats(0, 10**6), silence_s=st.integers(5, 3600), after_s=st.floats(0, 100))
def test_when_it_is_due_there_is_something_to_tell(heard_at: float, silence_s: int, after_s: float) -> None:
    """Or whoever waits for it waits no more, and asks for ever: 52.34 + 20 - 52.34 is not 20."""
    call = AnalogCall(replace(FR, silence_s=float(silence_s)), loop_codes="")
    call.dialing(heard_at)
    call.voice(heard_at)
    call.tick(call.due)
    assert call.over
    ringing = AnalogCall(GB, loop_codes="")
    ringing.ring(heard_at)
    ringing.tick(ringing.due)
    assert ringing.told
    ringing.tick(ringing.due)
    assert ringing.stat is None
    asked = call_in(ALERTING)
    asked.tone_ended(ToneKind.RINGBACK, heard_at + after_s)
    assert asked.tick(asked.due) == [Answered()]


def test_an_end_is_told_once_and_its_first_reason_counts() -> None:
    call = call_in(ACTIVE)
    call.tone(ToneKind.BUSY, 100)
    call.end(41)
    assert call.due == float("inf")
    assert call.code("l", 101) == call.voice(101) == call.tick(10**6) == []
    assert call.released() == [Released(16)]
    assert call.released() == []
    withdrawn = call_in(DIALING)
    withdrawn.withdrawn()
    assert withdrawn.released() == []


# --- data


@pytest.mark.parametrize(
    ("country", "number", "dialed"),
    [
        ("FR", "+33159133354", "0159133354"),
        ("FR", "+442079460000", "00442079460000"),
        ("GB", "+442079460000", "02079460000"),
        ("DE", "+493023125000", "03023125000"),
        ("US", "+12025550143", "12025550143"),
        ("US", "+33159133354", "01133159133354"),
        ("IN", "+911123456789", "01123456789"),
        ("FR", "112", "112"),
        ("FR", "*21#", "*21#"),
        ("FR", "+1", "1"),
    ],
)
def test_numbers_are_dialed_as_people_there_do(country: str, number: str, dialed: str) -> None:
    assert PROFILES[country].dialable(number) == dialed


CONEXANT = [
    '0,"SIGNED PCM",8,0,8000,0,0',
    '1,"UNSIGNED PCM",8,0,8000,0,0',
    '129,"IMA ADPCM",4,0,8000,0,0',
    '131,"Mu-Law",8,0,8000,0,0',
    '132,"A-Law Companded PCM",8,0,(8000),0,0',
    '133,"14 bit PCM",14,0,8000,0,0',
]
USR = ['+VSM:128,"8-BIT LINEAR",(7200,8000,11025)', '+VSM: 129,"16-BIT LINEAR",(7200,8000,11025)', "OK", ""]
STANDARD = ['4,"G.711U",8,0,(8000),(0),(0)', '5,"G.711A",8,0,(8000)', '0,"SIGNED PCM",16,0,(8000)']


def test_formats_are_known_by_name_in_either_shape() -> None:
    u8, l16, pcmu, pcma = VoiceFormat.U8, VoiceFormat.L16, VoiceFormat.PCMU, VoiceFormat.PCMA
    assert offers(CONEXANT) == {u8: 1, pcmu: 131, pcma: 132}
    assert offers(USR) == {u8: 128, l16: 129}
    assert offers(STANDARD) == {pcmu: 4, pcma: 5, l16: 0}
    assert offers(['1,"UNSIGNED PCM",8,0,(7200,11025)', '2,"UNSIGNED PCM",16,0,8000']) == {}
    assert offers(['3,"u-Law"', '4,"ALAW",8', '5,"8-BIT ULAW",(8000)', '1,"16 BIT LINEAR"']) == {
        pcmu: 3,
        pcma: 4,
        l16: 1,
    }


def test_every_limit_has_a_row() -> None:
    for model in VOICE_MODELS.values():
        assert model.limit_s("AT+VLS=1") == 20
        assert model.limit_s("AT+VLS=0") == 5
        assert model.limit_s("ATDT112;") == 30


def test_every_country_that_has_tones_has_a_row_and_a_flash_that_is_one() -> None:
    for country in PROFILES.values():
        assert isinstance(country, Country)
        assert 80 <= country.flash_ms <= 700
        assert country.flash_ms % 10 == 0
