"""A voice modem's tty taken apart: the same pieces wherever its bytes are cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from drivers.dle import Begun, Code, Ended, Piece, Splitter, Words

Cuts = st.lists(st.integers(0, 400), max_size=12)


def pieces_of(wire: bytes, cuts: list[int], *, wanted: bool = True) -> tuple[Splitter, list[Piece]]:
    """Words that follow one another are one."""
    splitter = Splitter()
    splitter.wanted = wanted
    ends = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    pieces: list[Piece] = []
    for begin, end in itertools.pairwise(ends):
        for piece in splitter.receive(wire[begin:end]):
            if isinstance(piece, Words) and pieces and isinstance(pieces[-1], Words):
                pieces[-1] = Words(pieces[-1].data + piece.data)
            else:
                pieces.append(piece)
    return splitter, pieces


@given(cuts=Cuts, audio=st.binary(max_size=200))
def test_a_stream_begins_behind_connect_and_ends_with_its_result(cuts: list[int], audio: bytes) -> None:
    sound = audio.replace(b"\x10", b"\x10\x10")
    wire = b"\r\nOK\r\n\r\nCONNECT\r\n" + sound + b"\x10b\x10\x1a\x10\x03\r\nOK\r\n\r\nRING\r\n"
    splitter, pieces = pieces_of(wire, cuts)
    assert pieces == [Words(b"\r\nOK\r\n\r\nCONNECT\r\n"), Begun(), Code("b"), Ended(), Words(b"\r\nRING\r\n")]
    assert not splitter.in_stream
    assert not splitter.result_due


@given(cuts=Cuts)
def test_codes_stand_between_words_too(cuts: list[int]) -> None:
    _, pieces = pieces_of(b"\r\nO\x10hK\r\n\x10R\r\nCONNECT\r\n\x10l", cuts)
    assert pieces == [
        Words(b"\r\nO"),
        Code("h"),
        Words(b"K\r\n"),
        Code("R"),
        Words(b"\r\nCONNECT\r\n"),
        Begun(),
        Code("l"),
    ]


@given(cuts=Cuts)
def test_a_connect_that_nobody_asked_for_begins_nothing(cuts: list[int]) -> None:
    wire = b"\r\nCONNECT\r\n"
    splitter, pieces = pieces_of(wire, cuts, wanted=False)
    assert pieces == [Words(wire)]
    splitter.wanted = True
    assert splitter.receive(b"\r\nOK\r\n") == [Words(b"\r\nOK\r\n")]


@given(cuts=Cuts)
def test_what_a_modem_says_instead_of_a_result_is_news(cuts: list[int]) -> None:
    _, pieces = pieces_of(b"\r\nCONNECT\r\n\x80\x10\x03\r\nNO CARRIER\r\n", cuts)
    assert b"".join(piece.data for piece in pieces if isinstance(piece, Words)).strip().endswith(b"NO CARRIER")


def test_a_result_that_does_not_come_is_not_waited_for_for_ever() -> None:
    splitter, _ = pieces_of(b"\r\nCONNECT\r\n\x10\x03", [])
    assert splitter.result_due
    splitter.waive_result()
    assert splitter.receive(b"\r\nOK\r\n") == [Words(b"\r\nOK\r\n")]


def test_reports_and_timing_marks_are_nothing_here() -> None:
    splitter, pieces = pieces_of(b"\r\nCONNECT\r\n\x80\x10T\x10XNMBR=1\r\n\x10.\x80", [])
    assert pieces[2:] == []
    assert splitter.heard_bytes == 2


def test_what_another_has_read_goes_on_here() -> None:
    splitter, _ = pieces_of(b"\r\nCONNECT\r\n\x80\x10", [])
    assert splitter.midway == b"\x10"
    assert splitter.end(b"\r\nVCON\r\nR") == [Ended(), Words(b"R")]
    assert splitter.midway == b""


@given(data=st.binary(max_size=300), cuts=Cuts, wanted=st.booleans())
def test_any_bytes_are_taken_and_nothing_depends_on_how_they_come(data: bytes, cuts: list[int], wanted: bool) -> None:
    _, whole = pieces_of(data, [], wanted=wanted)
    _, cut = pieces_of(data, cuts, wanted=wanted)
    assert cut == whole
