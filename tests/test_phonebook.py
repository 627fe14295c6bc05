"""The bench's phone books at the AT port, and calls noted in them."""

import pytest

from hil.board import profile_of
from hil.bookcommands import NAME_SEPTETS
from hil.generic import Generic
from hil.models import OTHERS, QUECTEL
from hil.module import Module
from hil.phonebook import CAPACITIES
from tests.at_program import ANNA, Program

OURS = "+33700000002"
FAMILIES = QUECTEL | OTHERS


def at(family: type[Module] = Generic) -> Program:
    program = Program(family(profile_of(OURS)))
    program.take(program.port.power_on(0.0))
    program.wait(5)
    program.write("ATE0")
    return program


@pytest.mark.parametrize("name", FAMILIES)
def test_the_test_form_of_a_command_does_nothing(name: str) -> None:
    program = at(FAMILIES[name])
    program.called()
    module = program.module
    for command in sorted({*module.commands, *module.settings}):
        values, calls = dict(module.values), dict(module.calls)
        if not command.startswith(("+", "^", "*", "$")):
            continue
        program.ask(f"AT{command}=?")
        assert (program.module.values, program.module.calls) == (values, calls), command
        assert [order for order in program.orders if type(order).__name__ != "Ring"] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_own_number_and_an_empty_book(name: str) -> None:
    program = at(FAMILIES[name])
    assert program.ask("AT+CPBS?") == ['+CPBS: "SM",0,250', "OK"]
    assert program.ask("AT+CPBR=1,250") == ["OK"]
    assert program.ask('AT+CPBS="ON"') == ["OK"]
    assert program.ask("AT+CPBR=1") == [f'+CPBR: 1,"{OURS}",145,""', "OK"]


def test_an_entry_is_written_found_read_and_deleted() -> None:
    program = at()
    program.ask("AT+CMEE=1")
    assert program.ask('AT+CPBW=,"0612345678",129,"Anna"') == ["OK"]
    assert program.ask(f'AT+CPBW=7,"{ANNA}",145,"Bert"') == ["OK"]
    assert program.ask("AT+CPBS?") == ['+CPBS: "SM",2,250', "OK"]
    both = ['+CPBR: 1,"0612345678",129,"Anna"', f'+CPBR: 7,"{ANNA}",145,"Bert"', "OK"]
    assert program.ask("AT+CPBR=1,250") == both
    assert program.ask('AT+CPBF="b"') == [f'+CPBF: 7,"{ANNA}",145,"Bert"', "OK"]
    assert program.ask('AT+CPBF="c"') == ["+CME ERROR: 22"]
    assert program.ask("AT+CPBW=1") == ["OK"]
    assert program.ask("AT+CPBR=1") == ["+CME ERROR: 22"]
    assert program.ask("AT+CPBR=0,251") == ["+CME ERROR: 21"]
    assert program.ask("AT+CPBR=?") == ["+CPBR: (1-250),40,14", "OK"]


def test_a_name_is_written_as_the_charset_says() -> None:
    program = at()
    assert program.ask('AT+CSCS="UCS2";+CPBW=1,"123",129,"041F0440"') == ["OK"]
    assert program.ask("AT+CPBR=1") == ['+CPBR: 1,"123",129,"041F0440"', "OK"]
    assert program.ask('AT+CSCS="GSM";+CPBR=1') == ['+CPBR: 1,"123",129,"??"', "OK"]
    assert program.ask('AT+CSCS="IRA";+CPBR=1') == ['+CPBR: 1,"123",129,"??"', "OK"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ('AT+CPBW=251,"1",129,""', 21),
        (f'AT+CPBW=1,"{"1" * 41}",129,""', 26),
        (f'AT+CPBW=1,"1",129,"{"x" * (NAME_SEPTETS + 1)}"', 24),
        ('AT+CPBW=1,"one",129,""', 50),
        ('AT+CSCS="UCS2";+CPBW=1,"1",129,"0"', 25),
        ('AT+CPBS="XX"', 3),
        ('AT+CPBS="MC";+CPBW=1,"1"', 3),
    ],
)
def test_what_a_book_does_not_take(command: str, code: int) -> None:
    program = at()
    program.ask("AT+CMEE=1")
    assert program.ask(command) == [f"+CME ERROR: {code}"]


def test_a_full_book_says_so() -> None:
    program = at()
    program.ask('AT+CMEE=1;+CPBS="ON"')
    for _ in range(CAPACITIES["ON"] - 1):
        assert program.ask('AT+CPBW=,"1"') == ["OK"]
    assert program.ask('AT+CPBW=,"1"') == ["+CME ERROR: 20"]


def test_calls_are_noted_as_dialed_received_or_missed_the_last_one_first() -> None:
    program = at()
    missed = program.called("+33600000001")
    program.released(missed, 16)
    withheld = program.called(None)
    program.released(withheld, 16)
    talk = program.talking()
    program.released(talk, 16)
    for book, lines in {
        "MC": ['+CPBR: 1,"",129,""', '+CPBR: 2,"+33600000001",145,""'],
        "DC": [f'+CPBR: 1,"{ANNA}",145,""'],
        "RC": [],
    }.items():
        assert program.ask(f'AT+CPBS="{book}";+CPBR=1,10') == [*lines, "OK"]
    for number in range(12):
        program.released(program.called(f"+3360000{number:04}"), 16)
    listed = program.ask('AT+CPBS="MC";+CPBR=1,10')
    assert len(listed) == 11
    assert listed[0] == '+CPBR: 1,"+33600000011",145,""'
