"""The simulated EC25 in calls: what is said of each, the ways to hang up, a second caller, and keys."""

import pytest

from hil.board import Answer, Dial, Order, Press, Profile, Release, Ring
from hil.module import Stat
from hil.network import Cause
from tests.at_program import ANNA, OWN, Host


def test_an_outgoing_call_is_ok_at_once_and_told_by_its_states() -> None:
    host = Host()
    host.ask('AT+QINDCFG="ccinfo",1,0;^DSCI=1')
    assert host.ask(f"ATD{ANNA};") == [
        "OK",
        f'+QIND: "ccinfo",1,0,2,0,0,"{ANNA}",145',
        f"^DSCI: 1,0,2,0,{ANNA},145",
    ]
    assert host.orders == [Dial(1, ANNA, withheld=False)]
    assert host.moved(1, Stat.ALERTING) == [f'+QIND: "ccinfo",1,0,3,0,0,"{ANNA}",145', f"^DSCI: 1,0,7,0,{ANNA},145"]
    assert host.ask("AT+CLCC") == [f'+CLCC: 1,0,3,0,0,"{ANNA}",145', "OK"]
    assert host.moved(1, Stat.ACTIVE) == [f'+QIND: "ccinfo",1,0,0,0,0,"{ANNA}",145', f"^DSCI: 1,0,3,0,{ANNA},145"]
    assert host.released(1, Cause.NORMAL) == [
        f'+QIND: "ccinfo",1,0,-1,0,0,"{ANNA}",145',
        f"^DSCI: 1,0,6,0,{ANNA},145",
        "NO CARRIER",
    ]
    assert host.ask("AT+CLCC") == ["OK"]
    assert host.ask("AT+CEER") == ["+CEER: Normal call clearing", "OK"]


def test_an_incoming_call_rings_every_five_seconds_with_its_number() -> None:
    host = Host()
    host.ask('AT+CLIP=1;+QINDCFG="ccinfo",1,0')
    index, effects = host.port.offered(ANNA, 0.0)
    ring = ["RING", f'+CLIP: "{ANNA}",145,"",0,"",0']
    assert host.lines(effects) == [f'+QIND: "ccinfo",1,1,4,0,0,"{ANNA}",145', *ring]
    assert host.orders == [Ring(index)]
    assert host.wait(11) == ring * 2
    assert host.ask("AT+CLCC") == [f'+CLCC: 1,1,4,0,0,"{ANNA}",145', "OK"]
    assert host.ask("ATA") == ["OK"]
    assert host.orders[-1] == Answer(index)
    host.moved(index, Stat.ACTIVE)
    assert host.wait(60) == []


def test_a_withheld_number_and_the_other_forms_of_ring() -> None:
    host = Host()
    host.ask("AT+CLIP=1;+CRC=1")
    _, effects = host.port.offered(None, 0.0)
    assert host.lines(effects) == ["+CRING: VOICE", '+CLIP: "",128,"",0,"",1']
    assert host.ask("AT+CLCC") == ['+CLCC: 1,1,4,0,0,"",128', "OK"]
    host.ask('AT+QINDCFG="ring",0,0')
    assert host.wait(5) == ['+CLIP: "",128,"",0,"",1']


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (Cause.BUSY, "BUSY"),
        (Cause.NO_ANSWER, "NO ANSWER"),
        (Cause.REJECTED, "NO CARRIER"),
        (Cause.UNALLOCATED, "NO CARRIER"),
        (Cause.ABSENT, "NO CARRIER"),
    ],
)
def test_a_call_that_fails_is_told_after_the_ok(cause: Cause, told: str) -> None:
    host = Host()
    assert host.ask(f"ATD{ANNA};") == ["OK"]
    assert host.released(1, cause) == [told]


def test_busy_is_no_carrier_for_who_chose_not_to_hear_of_it() -> None:
    host = Host()
    host.ask(f"ATX2D{ANNA};")
    assert host.released(1, Cause.BUSY) == ["NO CARRIER"]


def test_our_own_hang_up_has_no_result_code_of_its_own() -> None:
    host = Host()
    index = host.talking()
    assert host.ask("AT+CHUP") == ["OK"]
    assert host.orders == [Release(index, 16)]
    assert host.released(index, 16, locally=True) == []


@pytest.mark.parametrize(
    ("line", "orders"),
    [
        ("ATH", [Release(1, 16)]),
        ("ATH0", [Release(1, 16)]),
        ("AT+CVHU=1;H", []),
        ("AT+QHUP=17,1", [Release(1, 17)]),
        ("AT+QHUP=21", [Release(1, 21)]),
        ("AT+QHUP=16,2", []),
        ("AT+CHLD=11", [Release(1, 16)]),
        ("AT+CHLD=1", [Release(1, 16)]),
        ("AT+CFUN=4", [Release(1, 16)]),
    ],
)
def test_the_ways_to_hang_up(line: str, orders: list[Order]) -> None:
    host = Host()
    host.talking()
    assert host.ask(line) == ["OK"]
    assert host.orders == orders


def test_a_call_that_was_not_answered_is_rejected_by_hanging_up() -> None:
    host = Host()
    index = host.called()
    host.ask("AT+CHUP")
    assert host.orders[-1] == Release(index, 21)


def test_dial_strings() -> None:
    host = Host()
    assert host.ask("ATDT 07-83 48.40(44)i;") == ["OK"]
    assert host.orders == [Dial(1, "0783484044", withheld=True)]
    assert host.ask("ATD112;") == ["+CME ERROR: 3"]
    host = Host()
    assert host.ask("ATD0783484044") == ["NO CARRIER"]
    assert host.ask("ATD;") == ["ERROR"]
    assert host.ask("ATA") == ["NO CARRIER"]
    assert host.orders == []


def test_a_second_caller_finds_us_busy_or_waits() -> None:
    host = Host()
    host.ask("AT+CCWA=1")
    host.talking()
    assert host.port.refuses() is None
    index, effects = host.port.offered("+33700000009", 0.0)
    assert host.lines(effects) == ['+CCWA: "+33700000009",145,1']
    assert host.port.refuses() is Cause.BUSY
    assert host.ask("AT+CLCC")[1] == '+CLCC: 2,1,5,0,0,"+33700000009",145'
    host.orders.clear()
    assert host.ask("AT+CHLD=1") == ["OK"]
    assert host.orders == [Answer(index), Release(1, 16)]
    host = Host()
    host.ask("AT+CCWA=0,0,1")
    host.talking()
    assert host.port.refuses() is Cause.BUSY


def test_a_waiting_call_is_refused_by_chld_0_and_rings_when_the_other_ends() -> None:
    host = Host()
    first = host.talking()
    second = host.called("+33700000009")
    assert host.ask("AT+CHLD=0") == ["OK"]
    assert host.orders[-1] == Release(second, 17)
    assert host.ask("AT+CHLD=2") == ["+CME ERROR: 4"]
    assert host.ask("AT+CHLD=15") == ["+CME ERROR: 3"]
    assert host.released(first, 16) == ["NO CARRIER", "RING"]


def test_auto_answer_after_so_many_rings() -> None:
    host = Host()
    host.ask("ATS0=2")
    index = host.called()
    assert Answer(index) not in host.orders
    host.wait(5)
    assert Answer(index) in host.orders


def test_a_data_bearer_is_listed_as_a_call_that_none_of_this_touches() -> None:
    host = Host(Profile(number=OWN, data_bearer=True))
    assert host.ask("AT+CLCC") == ['+CLCC: 1,0,0,1,0,"",128', "OK"]
    assert host.ask("AT+CHUP;+QPCMV=1,0") == ["OK"]
    assert host.called() == 2
    assert host.ask("AT+CPAS") == ["+CPAS: 3", "OK"]


# --- keys ---


@pytest.mark.parametrize("argument", ["1,2,#", '"12#"', "12#", '"1,2,#"', '"12#",3'])
def test_keys_in_any_quoting(argument: str) -> None:
    host = Host()
    index = host.talking()
    assert host.ask(f"AT+VTS={argument}") == ["OK"]
    assert host.orders == [Press(index, "1"), Press(index, "2"), Press(index, "#")]


def test_keys_that_are_none_and_keys_without_a_call() -> None:
    host = Host()
    assert host.ask("AT+VTS=1") == ["+CME ERROR: 3"]
    host.talking()
    assert host.ask("AT+VTS=x") == ["+CME ERROR: 50"]
    assert host.ask('AT+VTS=""') == ["+CME ERROR: 50"]


def test_tones_are_told_by_their_decimal_codes_when_asked_for() -> None:
    host = Host()
    assert host.lines(host.port.pressed("8", 0.0)) == []
    host.ask("AT+QTONEDET=1")
    told = [host.lines(host.port.pressed(key, 0.0)) for key in "8*#D"]
    assert told == [["+QTONEDET: 56"], ["+QTONEDET: 42"], ["+QTONEDET: 35"], ["+QTONEDET: 68"]]
