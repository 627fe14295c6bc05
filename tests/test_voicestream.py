"""The streams of simulated voice modems: how each model's ends, what stands in it beside sound, and who hears whom."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.voiceboard import Close, Drop, Hook, Play, PlayOut, Say, VoiceFaults
from hil.voicemodels import VOICE_MODELS
from hil.voicestream import Forget, Mode, Over, Sound, VoiceStream
from tests.voice_rig import MODELS, OK, off_hook, streaming

DUPLEX_END = {"usr5637": b"\x10\x03", "cx93010": b"\x10^", "zoom3095": b"\x10^", "v253": b"\x10^"}


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


def test_spurious_codes_are_said_while_it_plays():
    rig = streaming(mode="VTX", faults=VoiceFaults(spurious="bd"))
    assert rig.wait(3.5) == b"\x10b\x10d\x10b"
