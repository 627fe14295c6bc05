"""Who calls, told by an analog line: through noise, by all three kinds, and messages that say nothing or are broken."""

from dataclasses import replace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import Caller, CallerId, CallerIdKind, Engine, Player
from native.callerid import read, sound

FSK = [CallerIdKind.BELL202, CallerIdKind.V23]
CALLER = Caller(number="0159133354", name="Zoé & Co", time="11201423")
SILENCE = bytes(2 * 4000)


def heard(samples: bytes, kind: CallerIdKind) -> list[Caller]:
    with Engine() as engine:
        player = engine.player(samples)
        player.detect_caller_id(kind)
        engine.tick(len(samples) // 320 + 1)
        return [event.caller for event in engine.events() if isinstance(event, CallerId)]


def through_noise(samples: bytes, snr_db: float, seed: int) -> bytes:
    clean = numpy.frombuffer(samples, "<i2").astype(float)
    power = numpy.mean(clean**2) / 10 ** (snr_db / 10)
    return (clean + numpy.random.default_rng(seed).normal(0, numpy.sqrt(power), len(clean))).astype("<i2").tobytes()


@pytest.mark.parametrize("kind", FSK)
@pytest.mark.parametrize(
    "caller",
    [
        CALLER,
        Caller(number="1"),
        Caller(name="N" * 50, number="9" * 20, time="01010000"),
        Caller(absence="P"),
        Caller(absence="O", time="12312359"),
    ],
)
def test_what_is_sent_is_heard_once(kind: CallerIdKind, caller: Caller) -> None:
    assert heard(SILENCE + sound(kind, caller) + SILENCE, kind) == [caller]


@pytest.mark.parametrize("kind", FSK)
def test_it_is_heard_through_noise(kind: CallerIdKind) -> None:
    for seed in range(20):
        assert heard(SILENCE + through_noise(sound(kind, CALLER), 15, seed) + SILENCE, kind) == [CALLER]


@pytest.mark.parametrize("caller", [Caller(number="0159133354"), Caller(absence="P"), Caller(absence="O")])
def test_keys_tell_a_number_or_why_there_is_none(caller: Caller) -> None:
    assert heard(SILENCE + sound(CallerIdKind.KEYS, caller) + SILENCE, CallerIdKind.KEYS) == [caller]


@pytest.mark.parametrize(
    ("keys", "caller"),
    [
        ("A123C", Caller("123")),
        ("A123#", Caller("123")),
        ("A123D456B00C", Caller("123")),
        ("AB10C", Caller(absence="P")),
        ("D1#", Caller(absence="P")),
        ("D2#", Caller(absence="O")),
        ("D123456C", Caller("123456")),
        ("123#", Caller("123")),
        ("A12", None),
        ("*#", None),
        ("", None),
    ],
)
def test_every_countrys_way_to_say_it_in_keys_is_read(keys: str, caller: Caller | None) -> None:
    assert read(keys.encode(), CallerIdKind.KEYS) == caller


def test_a_single_data_message_has_a_time_and_a_number_or_a_reason() -> None:
    def single(content: bytes) -> Caller | None:
        return read(bytes((4, len(content))) + content, CallerIdKind.BELL202)

    assert single(b"112014235551234567") == Caller("5551234567", time="11201423")
    assert single(b"11201423P") == Caller(absence="P", time="11201423")
    assert single(b"1120142") is None


def test_a_message_of_something_else_and_a_cut_one_are_no_caller() -> None:
    for message in (b"", b"\x80", b"\x82\x03\x0b\x01\x00", b"\x80\x05\x02\x03", b"\x80\x04\x02\x09\x31\x32"):
        assert read(message, CallerIdKind.V23) is None


@given(message=st.binary(max_size=300), kind=st.sampled_from(CallerIdKind))
def test_no_message_is_too_broken_to_be_read(message: bytes, kind: CallerIdKind) -> None:
    assert isinstance(read(message, kind), Caller | None)


@pytest.mark.parametrize("kind", FSK)
def test_a_damaged_message_is_not_told(kind: CallerIdKind) -> None:
    samples = bytearray(SILENCE + sound(kind, CALLER) + SILENCE)
    # Within the content: 20 ms, 24 bits.
    samples[-len(SILENCE) - 2400 : -len(SILENCE) - 2080] = bytes(320)
    assert heard(bytes(samples), kind) == []


def test_noise_is_nobody() -> None:
    noise = numpy.random.default_rng(1).normal(0, 3000, 60 * 8000).astype("<i2").tobytes()
    for kind in CallerIdKind:
        assert heard(noise, kind) == []


def test_what_does_not_fit_into_a_message_is_refused() -> None:
    with pytest.raises(ValueError, match="fit"):
        sound(CallerIdKind.V23, replace(CALLER, name="x" * 300))


def test_messages_that_nobody_takes_are_the_oldest_four_and_go_with_the_detector() -> None:
    callers = [Caller(number=str(n)) for n in range(6)]
    samples = b"".join(sound(CallerIdKind.V23, caller) + SILENCE for caller in callers)
    with Engine() as engine:
        player: Player = engine.player(samples)
        player.detect_caller_id(CallerIdKind.V23)
        engine.tick(len(samples) // 320 + 1)
        events = engine.events()
        assert [event.caller for event in events if isinstance(event, CallerId)] == callers[:4]
        again = engine.player(samples)
        again.detect_caller_id(CallerIdKind.V23)
        engine.tick(len(samples) // 320 + 1)
        again.detect_caller_id(None)
        assert [event for event in engine.events() if isinstance(event, CallerId)] == []
        again.close()
        again.detect_caller_id(CallerIdKind.V23)
