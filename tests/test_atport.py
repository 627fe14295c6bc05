"""A simulated module's AT port, an EC25's for one: its command line byte by byte, and what may go wrong on it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.atport import Say
from hil.board import Answer, Order, Release
from hil.module import Stat
from hil.network import Cause
from tests.at_program import ANNA, Host


def test_echo_is_on_until_ate0_which_is_echoed_itself() -> None:
    host = Host(echo=True)
    assert host.write("AT") == "AT\r\r\nOK\r\n"
    assert host.write("ATE0") == "ATE0\r\r\nOK\r\n"
    assert host.write("AT") == "\r\nOK\r\n"


def test_reset_to_defaults_brings_the_echo_back() -> None:
    host = Host()
    assert host.write("AT&F") == "\r\nOK\r\n"
    assert host.write("AT") == "AT\r\r\nOK\r\n"


def test_a_line_that_does_not_say_at_has_no_answer() -> None:
    host = Host()
    assert host.write("\x1b") == ""
    assert host.write("") == ""
    assert host.write("hello") == ""
    assert host.write("\x1bAT") == "\r\nOK\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "ATE0V1X4",
        "at e0 v1",
        "AT+CLIP=1;+CRC=1",
        "ATE0+CLIP=1;&C1",
        "AT+QPCMV=0;+QPCMV=1,2;D123;",
        "ATS0=0S3=13",
        "AT\n",
        "AX\bT",
    ],
)
def test_commands_of_one_line_share_one_result(line: str) -> None:
    assert Host().write(line) == "\r\nOK\r\n"


def test_a_failing_command_ends_the_line_after_those_before_it() -> None:
    host = Host()
    assert host.ask("AT+CLIP=1;+CRC=9;+CVHU=1") == ["+CME ERROR: 50"]
    assert host.ask("AT+CLIP?;+CVHU?") == ["+CLIP: 1,1", "+CVHU: 0", "OK"]


def test_crlf_and_a_backspace_are_understood() -> None:
    host = Host(echo=True)
    assert host.take(host.port.receive(b"AT\r\nAT\r\n", 0.0)) == "AT\r\r\nOK\r\nAT\r\r\nOK\r\n"


def test_numeric_results_of_atv0_and_none_of_atq1() -> None:
    host = Host()
    assert host.write("ATV0") == "0\r"
    assert host.write("AT+CSQ") == "+CSQ: 24,99\r\n0\r"
    assert host.write("ATD1") == "3\r"
    assert host.write("ATV1Q1") == ""
    assert host.write("AT+CSQ") == "\r\n+CSQ: 24,99\r\n"
    assert host.write("ATQ0") == "\r\nOK\r\n"


def test_a_line_longer_than_the_least_limit_is_refused_and_takes_no_room() -> None:
    host = Host()
    assert host.ask("AT" + " " * 600) == ["ERROR"]
    for _ in range(100):
        host.port.receive(b"x" * 4096, 0.0)
    assert host.ask("AT") == ["ERROR"]
    assert host.ask("AT") == ["OK"]


@pytest.mark.parametrize(
    ("cmee", "answer"), [(0, "ERROR"), (1, "+CME ERROR: 58"), (2, "+CME ERROR: invalid command line")]
)
def test_errors_have_the_form_that_cmee_says(cmee: int, answer: str) -> None:
    host = Host()
    host.ask(f"AT+CMEE={cmee}")
    assert host.ask("AT+NOSUCH") == [answer]
    assert host.ask("AT+CMEE?") == [f"+CMEE: {cmee}", "OK"]


SESSION = b"ATE1\rAT+CPIN?\r\nAT+CREG=2;+CREG?\rAT+FOO\rATD1;\rAT+CLCC\rAT+CHUP\r\x1b\rAT+COPS=3,2;+COPS?\rATE0\rATI\r"


@given(st.lists(st.integers(0, len(SESSION)), max_size=12))
def test_any_split_of_the_same_bytes_is_the_same_dialogue(cuts: list[int]) -> None:
    def run(parts: list[bytes]) -> tuple[str, list[Order]]:
        host = Host(echo=True)
        said = "".join(host.take(host.port.receive(part, 0.0)) for part in parts)
        return said, host.orders

    edges = [0, *sorted(cuts), len(SESSION)]
    parts = [SESSION[a:b] for a, b in pairwise(edges)]
    assert run(parts) == run([SESSION]) == run([bytes([byte]) for byte in SESSION])


@given(st.binary(max_size=300))
def test_no_bytes_break_it(noise: bytes) -> None:
    host = Host(echo=True)
    host.port.receive(noise, 0.0)
    host.port.receive(b"\r", 0.0)
    assert "OK" in host.write("AT")


# --- faults ---


def test_a_deaf_module_says_nothing_and_hears_again() -> None:
    host = Host()
    host.faults.deaf = True
    assert host.write("AT") == ""
    host.faults.deaf = False
    assert host.ask("AT") == ["OK"]


def test_a_command_that_hangs_leaves_the_others() -> None:
    host = Host()
    host.faults.hung.add("+CLCC")
    assert host.write("AT+CLCC") == ""
    assert host.ask("AT+CSQ") == ["+CSQ: 24,99", "OK"]


def test_a_slow_answer_lets_news_through_and_makes_the_next_line_wait() -> None:
    host = Host()
    host.faults.delay_s = 2.0
    assert host.write("AT+CSQ") == ""
    assert host.write("AT") == ""
    _, effects = host.port.offered(ANNA, 0.5)
    assert host.lines(effects) == ["RING"]
    assert host.wait(2.5) == ["+CSQ: 24,99", "OK"]
    assert host.wait(2) == ["OK"]


def test_a_lost_result_a_foreign_line_and_half_a_line() -> None:
    host = Host(echo=True)
    faults = host.faults
    faults.lost_finals = 1
    assert host.write("AT+CSQ") == "AT+CSQ\r\r\n+CSQ: 24,99\r\n"
    faults.before_answer = b"\r\nRING\r\n"
    assert host.write("AT") == "AT\r\r\nRING\r\n\r\nOK\r\n"
    faults.cut_at = 3
    assert host.write("AT") == "AT\r\r\nO"
    assert host.write("AT") == "AT\r\r\nOK\r\n"


def test_a_command_that_is_refused_for_a_while() -> None:
    host = Host()
    host.faults.refused["+QTONEDET"] = 14
    assert host.ask("AT+QTONEDET=1") == ["+CME ERROR: 14"]
    host.faults.refused.clear()
    assert host.ask("AT+QTONEDET=1") == ["OK"]


def test_a_slow_atd_tells_of_its_call_and_a_byte_ends_both() -> None:
    host = Host()
    host.ask('AT+QINDCFG="ccinfo",1')
    host.faults.slow["D"] = 20.0
    assert host.ask(f"ATD{ANNA};") == [f'+QIND: "ccinfo",1,0,2,0,0,"{ANNA}",145']
    assert host.write("\x1b") == "\r\nNO CARRIER\r\n"
    assert isinstance(host.orders.pop(), Release)
    host.released(1, 16, locally=True)
    host.ask(f"ATD{ANNA};")
    assert host.wait(20) == ["OK"]
    host.moved(1, Stat.ACTIVE)
    host.orders.clear()
    assert host.ask("AT") == ["OK"]
    assert host.orders == []


def test_a_slow_ata_takes_the_call_at_its_end_unless_a_byte_ends_it() -> None:
    host = Host()
    host.faults.slow["A"] = 5.0
    host.called()
    host.orders.clear()
    assert host.write("ATA") == ""
    assert host.orders == []
    assert host.write("\x1b") == "\r\nNO CARRIER\r\n"
    assert host.orders == [Release(1, Cause.NORMAL)]
    host.released(1, 16, locally=True)
    host.called()
    host.orders.clear()
    host.write("ATA")
    assert host.wait(5)[0] == "OK"
    assert host.orders == [Answer(1)]


def test_a_list_that_lags_behind_the_news_or_has_a_gap() -> None:
    host = Host()
    active, dialing = [f'+CLCC: 1,0,{stat},0,0,"{ANNA}",145' for stat in (0, 2)]
    host.faults.list_lag_s = 0.6
    host.talking()
    assert host.ask("AT+CLCC") == ["OK"]
    host.wait(0.7)
    assert host.ask("AT+CLCC") == [active, "OK"]
    host.faults.no_list_until = host.now + 1
    assert host.ask("AT+CLCC") == ["OK"]
    host.wait(1)
    host.released(1, 16)
    assert host.ask("AT+CLCC") == [active, "OK"]
    host.wait(0.7)
    assert host.ask("AT+CLCC") == ["OK"]
    host.ask(f"ATD{ANNA};")
    host.wait(0.7)
    assert host.ask("AT+CLCC") == [dialing, "OK"]


def test_news_may_come_behind_an_older_list_in_one_piece() -> None:
    host = Host()
    host.ask('AT+QINDCFG="ccinfo",1')
    host.faults.news_behind_list, host.faults.list_lag_s = True, 1.0
    assert host.talking() == 1
    dialing, active = [f'+QIND: "ccinfo",1,0,{stat},0,0,"{ANNA}",145' for stat in (2, 0)]
    (said,) = host.port.receive(b"AT+CLCC\r", host.now)
    assert isinstance(said, Say)
    assert said.data == f"\r\nOK\r\n\r\n{dialing}\r\n\r\n{active}\r\n".encode()


def test_a_network_that_takes_its_time_to_release() -> None:
    host = Host()
    host.faults.release_s = 2.0
    host.talking()
    assert host.ask("AT+CHUP") == ["OK"]
    assert host.orders == []
    assert host.wait(1.9) == []
    assert host.ask("AT+CLCC")[0].startswith("+CLCC: 1,0,0")
    host.wait(0.2)
    assert host.orders == [Release(1, 16)]


def test_news_that_is_lost_is_lost_by_how_it_begins() -> None:
    host = Host()
    host.faults.lost_news.add("+QPCMV: 1")
    assert host.lines(host.port.buffer_full(True, 0)) == ["+QPCMV: 0"]
    assert host.lines(host.port.buffer_full(False, 0)) == []


@given(st.integers(0, 20))
def test_a_foreign_line_lands_at_any_byte(offset: int) -> None:
    host = Host()
    host.faults.splice = (offset, b"\r\nRING\r\n")
    answer = host.write("AT+CSQ")
    assert answer.replace("\r\nRING\r\n", "", 1) == "\r\n+CSQ: 24,99\r\n\r\nOK\r\n"
    assert answer[offset:].startswith("\r\nRING\r\n")
