"""A hop: its median and its worst, of durations that are given."""

import ctypes
import statistics
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

NATIVE = Path(__file__).parents[1] / "native"


class Stats(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint64), ("median_us", ctypes.c_uint32), ("worst_us", ctypes.c_uint32))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("hop") / "hop.so"
    subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-O1", "-o", path, NATIVE / "hop.c"], check=True)
    library = ctypes.CDLL(str(path))
    library.hop_note.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    library.hop_read.argtypes = (ctypes.c_void_p,)
    library.hop_read.restype = Stats
    return library


def measured(library: ctypes.CDLL, durations_ns: list[int]) -> Stats:
    hop = ctypes.create_string_buffer(4096)
    for ns in durations_ns:
        library.hop_note(hop, ns)
    stats: Stats = library.hop_read(hop)
    return stats


def test_of_none_there_is_nothing(library: ctypes.CDLL) -> None:
    stats = measured(library, [])
    assert (stats.count, stats.median_us, stats.worst_us) == (0, 0, 0)


def test_what_is_outside_its_bounds_is_at_them(library: ctypes.CDLL) -> None:
    assert measured(library, [-5]).worst_us == 0
    stats = measured(library, [2**62])
    assert stats.worst_us == 2**32 - 1
    assert stats.median_us == pytest.approx(2**32, rel=1 / 16)


@given(st.lists(st.integers(0, 10**10) | st.integers(0, 10**5), min_size=1, max_size=50))
def test_the_median_is_known_to_a_sixteenth_and_the_worst_to_the_microsecond(
    library: ctypes.CDLL, durations_ns: list[int]
) -> None:
    stats = measured(library, durations_ns)
    microseconds = [ns // 1000 for ns in durations_ns]
    assert (stats.count, stats.worst_us) == (len(durations_ns), max(microseconds))
    assert stats.median_us == pytest.approx(statistics.median_low(microseconds), rel=1 / 16)
    assert stats.median_us <= stats.worst_us
