from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.at import LINE_LIMIT_BYTES, Dialogue, Event, Final, Info, Prompt, Urc
from drivers.models import MODELS

URCS = MODELS["ec25"].urcs

# A bring-up as an EC25 has it, echo on at first: what is sent, the lines that come back, what they are.
TRANSCRIPT: list[tuple[str, list[bytes], list[Event]]] = [
    ("ATE0V1Q0", [b"ATE0V1Q0\r", b"\r\nOK\r\n"], [Final("OK")]),
    ("AT+CMEE=1", [b"\r\nOK\r\n"], [Final("OK")]),
    ("AT+CGMM", [b"\r\nEC25\r\n", b"\r\nOK\r\n"], [Info("EC25"), Final("OK")]),
    ("AT+CGSN", [b"\r\n867698040000018\r\n", b"\r\nOK\r\n"], [Info("867698040000018"), Final("OK")]),
    ("AT+CLCC", [b"\r\nOK\r\n"], [Final("OK")]),
    ("AT+CLIP=1", [b"\r\nOK\r\n"], [Final("OK")]),
    ("AT+QPCMV=0", [b"\r\nOK\r\n"], [Final("OK")]),
    ("AT+QSIDET=0", [b"\r\n+CME ERROR: 3\r\n"], [Final("+CME ERROR: 3")]),
    ("AT+CREG=2", [b"\r\nOK\r\n"], [Final("OK")]),
    (
        "AT+CREG?",
        [b'\r\n+CREG: 2,1,"1A2B","01C3D4E5",7\r\n', b"\r\nOK\r\n"],
        [Info('+CREG: 2,1,"1A2B","01C3D4E5",7'), Final("OK")],
    ),
    ("AT+CSQ", [b"\r\n+CSQ: 21,99\r\n", b"\r\nOK\r\n"], [Info("+CSQ: 21,99"), Final("OK")]),
    (
        "AT+CLCC",
        [
            b'\r\n+CLCC: 1,0,0,1,0,"",128\r\n',
            b'+CLCC: 2,1,4,0,0,"+33783484044",145\r\n',
            b"\r\nOK\r\n",
        ],
        [
            Info('+CLCC: 1,0,0,1,0,"",128'),
            Info('+CLCC: 2,1,4,0,0,"+33783484044",145'),
            Final("OK"),
        ],
    ),
    ("ATA", [b"\r\nOK\r\n"], [Final("OK")]),
]
# All that could be mistaken for an answer to something above.
NEWS = (
    "RING",
    "+CRING: VOICE",
    '+CLIP: "+33783484044",145,"",0,"",0',
    '+QIND: "ccinfo",1,1,4,0,0,"+33783484044",145',
    '+QIND: "csq",21,99',
    "^DSCI: 1,1,4,0,+33783484044,145",
    "+QTONEDET: 56",
    "+QPCMV: 0",
    "+CREG: 2",
    '+CREG: 1,"1A2B","01C3D4E5"',
    '+CREG: 1,"1A2B","01C3D4E5",7',
    "+CEREG: 5",
    "+QIND: SMS DONE",
    "RDY",
    "POWERED DOWN",
)


def play(lines: list[tuple[str, list[bytes], list[Event]]], news: str, place: int) -> list[list[Event]]:
    """The transcript's events, command by command, with news before its line number `place`."""
    dialogue = Dialogue(URCS)
    heard: list[list[Event]] = []
    at = 0
    for command, answer, _ in lines:
        dialogue.send(command)
        events: list[Event] = []
        for line in answer:
            if at == place:
                events += dialogue.receive(f"\r\n{news}\r\n".encode())
            events += dialogue.receive(line)
            at += 1
        heard.append(events)
    return heard


@pytest.mark.parametrize("news", NEWS)
def test_news_at_every_line_boundary_is_news_and_changes_no_answer(news: str) -> None:
    for place in range(sum(len(answer) for _, answer, _ in TRANSCRIPT)):
        heard = play(TRANSCRIPT, news, place)
        assert sum(events.count(Urc(news)) for events in heard) == 1
        assert [[e for e in events if e != Urc(news)] for events in heard] == [e for _, _, e in TRANSCRIPT]


def test_a_call_result_ends_dialling_and_answering_and_is_news_to_everything_else() -> None:
    for order in ("ATD+33783484044;", "ATA", "AT+QPCMV=0;+QPCMV=1,0;D123;"):
        dialogue = Dialogue(URCS)
        dialogue.send(order)
        assert dialogue.receive(b"\r\nNO CARRIER\r\n") == [Final("NO CARRIER")]
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CLCC")
    assert dialogue.receive(b"\r\nBUSY\r\n\r\nOK\r\n") == [Urc("BUSY"), Final("OK")]
    assert dialogue.receive(b"\r\nNO ANSWER\r\n") == [Urc("NO ANSWER")]


def test_clcc_is_an_answer_when_asked_for_and_news_otherwise() -> None:
    dialogue = Dialogue((*URCS, "+CLCC:"))
    dialogue.send("AT+CLCC")
    line = '+CLCC: 1,1,4,0,0,"123",129'
    assert dialogue.receive(f"\r\n{line}\r\n{line}\r\n\r\nOK\r\n".encode()) == [Info(line)] * 2 + [Final("OK")]
    dialogue.send("AT+CSQ")
    assert dialogue.receive(f"\r\n{line}\r\n".encode()) == [Urc(line)]


def test_a_question_that_is_also_news_has_one_line_of_answer() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+QPCMV?")
    assert dialogue.receive(b"\r\n+QPCMV: 1,0\r\n\r\n+QPCMV: 0\r\n\r\nOK\r\n") == [
        Info("+QPCMV: 1,0"),
        Urc("+QPCMV: 0"),
        Final("OK"),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n+CSQ: 21,99\r\n\r\nOK\r\n",
        b"\n+CSQ: 21,99\n\nOK\n",
        b"\r\r\n+CSQ: 21,99\r\r\n\r\r\nOK\r\r\n",
        b"+CSQ: 21,99\r\nOK\r\n",
        b"AT+CSQ\r\r\n+CSQ: 21,99\r\n\r\nOK\r\n",
        b"\x00\x00\r\n+CSQ: 21,99\x00\r\n\x11\r\nOK\r\n",
        b"\r\n+CSQ: 21,99\r\nOK+CSSU: 2\r\n",
    ],
)
def test_loose_framing_is_understood(raw: bytes) -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CSQ")
    events = dialogue.receive(raw)
    assert [e for e in events if not isinstance(e, Urc)] == [Info("+CSQ: 21,99"), Final("OK")]


def test_junk_before_the_first_line_end_is_told_apart() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CSQ")
    assert dialogue.receive(b"\xff\xfe$GPGGA,1\r\n\r\nOK\r\n") == [Urc("\xff\xfe$GPGGA,1"), Final("OK")]


def test_an_error_glued_to_the_answer_is_no_error() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CNUM")
    assert dialogue.receive(b'\r\nERROR+CNUM: "","+33700000002",145\r\n\r\nOK\r\n') == [
        Info('+CNUM: "","+33700000002",145'),
        Final("OK"),
    ]


def test_an_error_glued_to_news_is_both() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CSQ")
    assert dialogue.receive(b"\r\nERROR+QTONEDET: 56\r\n") == [Final("ERROR"), Urc("+QTONEDET: 56")]


def test_a_message_takes_the_next_line_whatever_it_looks_like() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CSQ")
    assert dialogue.receive(b"\r\n+CMT: ,24\r\nOK\r\n\r\nOK\r\n") == [Urc("+CMT: ,24\nOK"), Final("OK")]


def test_the_prompt_has_no_line_end() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CMGS=24")
    assert dialogue.receive(b"\r\n> ") == [Prompt()]
    assert dialogue.receive(b"\r\n+CMGS: 7\r\n\r\nOK\r\n") == [Info("+CMGS: 7"), Final("OK")]


def test_what_comes_of_an_abandoned_command_is_no_answer_to_the_next() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CLCC")
    dialogue.abandon()
    assert dialogue.receive(b"\r\nOK\r\n") == [Urc("OK")]


def test_a_probe_is_over_only_after_its_own_information() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("ATE0V1Q0+CMEE?", probe=True)
    assert dialogue.receive(b"\r\nERROR\r\n\r\nOK\r\n\r\n+CMEE: 1\r\n\r\nOK\r\n") == [
        Urc("ERROR"),
        Urc("OK"),
        Info("+CMEE: 1"),
        Final("OK"),
    ]


def test_a_second_command_or_one_that_hides_a_second_is_our_bug() -> None:
    dialogue = Dialogue(URCS)
    for text in ("ATD1\rAT+CHUP", "AT\x1a", "ATDé;"):
        with pytest.raises(ValueError, match="no command line"):
            dialogue.send(text)
    dialogue.send("AT")
    with pytest.raises(ValueError, match="pending"):
        dialogue.send("AT+CSQ")


RAW = b"".join(line for _, answer, _ in TRANSCRIPT[-3:] for line in answer) + b"\r\n> \r\nBUSY\n+CMT: ,2\r\nOK\r\n"


@given(st.lists(st.integers(0, len(RAW)), max_size=30))
def test_any_split_of_the_same_bytes_gives_the_same_events(cuts: list[int]) -> None:
    whole, split = Dialogue(URCS), Dialogue(URCS)
    whole.send("AT+CSQ")
    split.send("AT+CSQ")
    places = [0, *sorted(cuts), len(RAW)]
    pieces = [RAW[a:b] for a, b in pairwise(places)]
    assert [e for piece in pieces for e in split.receive(piece)] == whole.receive(RAW)


@given(st.lists(st.binary(max_size=200) | st.sampled_from([b"\r\n", b"> ", b"OK\r\n", b"+CMT: 1\r"]), max_size=30))
def test_garbage_raises_nothing_and_splits_alike(pieces: list[bytes]) -> None:
    whole, split = Dialogue(URCS), Dialogue(URCS)
    whole.send("AT+CGMM")
    split.send("AT+CGMM")
    assert [e for piece in pieces for e in split.receive(piece)] == whole.receive(b"".join(pieces))


def test_an_endless_line_is_dropped_and_counted_and_takes_bounded_memory() -> None:
    dialogue = Dialogue(URCS)
    dialogue.send("AT+CSQ")
    for _ in range(100):
        assert dialogue.receive(b"x" * 4096) == []
        assert len(dialogue._rest) <= LINE_LIMIT_BYTES + 1
    assert dialogue.receive(b"\r\nOK\r\n") == [Final("OK")]
    assert dialogue.overlong == 1


MENU = b'\r\n+CUSD: 1,"Menu\r\n1. Balance\n2. Top up",15\r\n'


def test_a_menu_is_one_piece_of_news_over_all_its_lines():
    dialogue = Dialogue(urcs=("+CUSD:", "RING"))
    dialogue.send('AT+CUSD=1,"*123#",15')
    assert dialogue.receive(MENU + b"\r\nOK\r\n") == [Urc('+CUSD: 1,"Menu\n1. Balance\n2. Top up",15'), Final("OK")]
    assert dialogue.receive(b'\r\n+CUSD: 2,""\r\n\r\nRING\r\n') == [Urc('+CUSD: 2,""'), Urc("RING")]


@pytest.mark.parametrize("next_line", ["OK", "+CME ERROR: 3", "RING"])
def test_a_menu_that_lost_its_end_swallows_nothing_that_matters(next_line):
    dialogue = Dialogue(urcs=("+CUSD:", "RING"))
    told = dialogue.receive(b'\r\n+CUSD: 1,"Menu\r\n1. Bal\r\n' + next_line.encode() + b"\r\n")
    assert told == [Urc('+CUSD: 1,"Menu\n1. Bal'), Urc(next_line)]


def test_messages_are_listed_as_headers_with_a_pdu_each():
    dialogue = Dialogue(urcs=("+CMTI:", "RING"))
    dialogue.send("AT+CMGL=4")
    told = dialogue.receive(
        b'\r\n+CMGL: 1,0,,5\r\n00040102\r\n\r\nRING\r\n+CMGL: 2,1,"",5\r\n\r\n+CMTI: "SM",3\r\n0004AbCd\r\n\r\nOK\r\n'
    )
    headers = [Info("+CMGL: 1,0,,5"), Info("00040102"), Urc("RING"), Info('+CMGL: 2,1,"",5')]
    assert told == [*headers, Urc('+CMTI: "SM",3'), Info("0004AbCd"), Final("OK")]


def test_a_sims_number_is_an_answer_without_its_name_or_by_another():
    urcs = MODELS["sim7600"].urcs + MODELS["sim7600"].noise
    for command, line in (("AT+CCID", "89330123456789012345"), ("AT+CICCID", "+ICCID: 89330123456789012345")):
        dialogue = Dialogue(urcs)
        dialogue.send(command)
        told = dialogue.receive(b"\r\nSMS DONE\r\n\r\n" + line.encode() + b"\r\n\r\nVOICE CALL: BEGIN\r\n\r\nOK\r\n")
        assert told == [Urc("SMS DONE"), Info(line), Urc("VOICE CALL: BEGIN"), Final("OK")]
