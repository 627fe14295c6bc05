"""G.711 against the tables of the Recommendation, built here from its text."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import pytest

from native import alaw_decode, alaw_encode, dtmf, ulaw_decode, ulaw_encode

ALL_SAMPLES = array("h", range(-32768, 32768))
ALL_CODES = bytes(range(256))


def _decision_values(first: list[int], steps: list[int], scale: int) -> list[int]:
    values = first
    for step in steps:
        values = values + [values[-1] + step * i for i in range(1, 17)]
    return [scale * value for value in values]


# G.711 table 1: 4096 units are full scale; 32 intervals of 2, then 16 each of 4, 8 ... 128.
ALAW_DECISIONS = _decision_values(list(range(0, 65, 2)), [4, 8, 16, 32, 64, 128], scale=8)
# G.711 table 2: 8159 units are full scale; one interval of 1, 15 of 2, then 16 each of 4, 8 ... 256.
ULAW_DECISIONS = _decision_values([0, *range(1, 32, 2)], [4, 8, 16, 32, 64, 128, 256], scale=4)


def _alaw_code(number: int, negative: bool) -> int:
    return (number | (0 if negative else 0x80)) ^ 0x55


def _ulaw_code(number: int, negative: bool) -> int:
    return (number | (0x80 if negative else 0)) ^ 0xFF


def _number(sample: int, decisions: list[int]) -> int:
    """Of the interval; a sample on its edge counts up when positive, towards zero when negative (ITU-T G.191)."""
    bisect = bisect_left if sample < 0 else bisect_right
    return min(bisect(decisions, abs(sample), 1) - 1, 127)


def _level(number: int, decisions: list[int]) -> int:
    # The first interval of mu-law is both signs' one: its middle is zero.
    if decisions[0:2] == [0, 4] and number == 0:
        return 0
    return (decisions[number] + decisions[number + 1]) // 2


LAWS = pytest.mark.parametrize(
    ("encode", "decode", "code", "decisions"),
    [
        pytest.param(alaw_encode, alaw_decode, _alaw_code, ALAW_DECISIONS, id="A-law"),
        pytest.param(ulaw_encode, ulaw_decode, _ulaw_code, ULAW_DECISIONS, id="mu-law"),
    ],
)
Coder = Callable[[bytes], bytes]


def test_the_tables_end_where_the_recommendation_ends() -> None:
    assert (len(ALAW_DECISIONS), ALAW_DECISIONS[-1]) == (129, 8 * 4096)
    assert (len(ULAW_DECISIONS), ULAW_DECISIONS[-1]) == (129, 4 * 8159)


@LAWS
def test_every_sample_gets_the_code_of_its_interval(
    encode: Coder, decode: Coder, code: Callable[[int, bool], int], decisions: list[int]
) -> None:
    expected = bytes(code(_number(sample, decisions), sample < 0) for sample in ALL_SAMPLES)
    assert encode(ALL_SAMPLES.tobytes()) == expected


@LAWS
def test_every_code_gives_the_middle_of_its_interval(
    encode: Coder, decode: Coder, code: Callable[[int, bool], int], decisions: list[int]
) -> None:
    expected = {code(n, sign < 0): sign * _level(n, decisions) for n in range(128) for sign in (1, -1)}
    assert array("h", decode(ALL_CODES)).tolist() == [expected[c] for c in range(256)]


@LAWS
def test_what_was_coded_once_survives_any_further_coding(
    encode: Coder, decode: Coder, code: Callable[[int, bool], int], decisions: list[int]
) -> None:
    once = decode(ALL_CODES)
    assert decode(encode(once)) == once


@LAWS
@pytest.mark.parametrize("count", [0, 1, 7, 8, 15, 159, 161])
def test_any_number_of_samples_is_coded_alike(
    encode: Coder, decode: Coder, code: Callable[[int, bool], int], decisions: list[int], count: int
) -> None:
    samples = ALL_SAMPLES[::411][:count].tobytes()
    assert encode(samples) == b"".join(encode(samples[i : i + 2]) for i in range(0, len(samples), 2))
    assert decode(encode(samples)) == b"".join(decode(bytes([c])) for c in encode(samples))


def test_half_a_sample_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        alaw_encode(b"abc")


def test_whatever_holds_samples_is_taken_whole() -> None:
    samples = array("h", range(0, 16000, 100))
    assert alaw_encode(memoryview(samples)) == alaw_encode(samples.tobytes())
    assert alaw_decode(memoryview(samples)) == alaw_decode(samples.tobytes())


def test_a_key_sounds_and_pauses_for_as_long_as_asked() -> None:
    samples = array("h", dtmf("1D", on_ms=40, off_ms=60))
    assert len(samples) == 2 * 800
    assert max(samples[:320]) > 10000
    assert not any(samples[320:800])
    with pytest.raises(ValueError, match="not found"):
        dtmf("E")
