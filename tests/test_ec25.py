"""The simulated EC25, byte by byte: what a host sends, what it gets, and what the network is asked for."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.atport import Say
from hil.board import Answer, Dial, Nmea, Order, Press, Profile, Release, Restart, Ring
from hil.module import Stat
from hil.network import Cause
from hil.quectel import Ec25
from tests.at_program import ANNA, Program

OWN = "+33700000002"


class Host(Program):
    def __init__(self, profile: Profile | None = None, *, echo: bool = False) -> None:
        super().__init__(Ec25(profile or Profile(number=OWN)), echo=echo)


# --- the command line ---


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


# --- parameters ---


@pytest.mark.parametrize(
    "name", ["+CLIP", "+CRC", "+CVHU", "+CMEE", "+QTONEDET", "^DSCI", "+CMGF", "+CMUT", "+QAUDLOOP"]
)
def test_a_parameter_is_read_back_tested_and_kept_in_range(name: str) -> None:
    host = Host()
    assert host.ask(f"AT{name}=1") == ["OK"]
    assert host.ask(f"AT{name}?")[0].startswith(f"{name}: 1")
    assert host.ask(f"AT{name}=?")[0].startswith(f"{name}: (0")
    assert host.ask(f"AT{name}=7")[0].startswith("+CME ERROR")
    assert host.ask(f"AT{name}?")[0].startswith(f"{name}: 1")
    assert host.ask(f"AT{name}=1,2,3,4,5,6,7") == ["+CME ERROR: 50"]


def test_strings_and_omitted_parts_of_a_parameter() -> None:
    host = Host()
    assert host.ask('AT+CSCS="UCS2"') == ["OK"]
    assert host.ask("AT+CSCS?") == ['+CSCS: "UCS2"', "OK"]
    assert host.ask("AT+CNMI=1,,,2") == ["OK"]
    assert host.ask("AT+CNMI?") == ["+CNMI: 1,1,0,2,0", "OK"]
    assert host.ask("ATS0=2") == ["OK"]
    assert host.ask("ATS0?") == ["002", "OK"]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("AT+CGMI", "Quectel"),
        ("AT+CGMM", "EC25"),
        ("AT+CGMR", "EC25EFAR06A06M4G"),
        ("AT+CGSN", "867698040000018"),
        ("AT+GSN", "867698040000018"),
        ("AT+CIMI", "208010000000018"),
        ("AT+QCCID", "+QCCID: 89330123456789012345"),
        ("AT+CSQ", "+CSQ: 24,99"),
        ("AT+CESQ", "+CESQ: 99,99,255,255,20,48"),
        ("AT+QNWINFO", '+QNWINFO: "FDD LTE","20801","LTE BAND 3",1300'),
        ("AT+CFUN?", "+CFUN: 1"),
        ("AT+CPIN?", "+CPIN: READY"),
        ("AT+CREG?", "+CREG: 0,1"),
        ("AT+CREG=2;+CREG?", '+CREG: 2,1,"1A2B","01C3D4E5",7'),
        ("AT+CEREG=1;+CEREG?", "+CEREG: 1,1"),
        ("AT+QPCMV=?", "+QPCMV: (0,1),(0-2)"),
        ("AT+CHLD=?", "+CHLD: (0,1,1x)"),
        ("AT+CPAS", "+CPAS: 0"),
        ("AT+QINISTAT", "+QINISTAT: 7"),
        ('AT+QCFG="ims"', '+QCFG: "ims",0,1'),
        ('AT+QCFG="usbcfg"', '+QCFG: "usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,0'),
        ('AT+QGPSCFG="outport"', '+QGPSCFG: "outport","usbnmea"'),
        ('AT+QINDCFG="ccinfo"', '+QINDCFG: "ccinfo",0'),
        ('AT+QURCCFG="urcport"', '+QURCCFG: "urcport","usbat"'),
        ("AT+CCWA=1,2,1", "+CCWA: 1,1"),
        ("AT+CPMS?", '+CPMS: "ME",0,255,"ME",0,255,"ME",0,255'),
        ("AT+CGATT?", "+CGATT: 1"),
        ("AT+CBC", "+CBC: 0,100,3800"),
        ("AT+CSCA?", '+CSCA: "+33689004000",145'),
        ("AT+CEER", "+CEER: No cause information available"),
    ],
)
def test_what_a_driver_probes(asked: str, answer: str) -> None:
    assert Host().ask(asked) == [answer, "OK"]


def test_what_a_driver_sets_is_accepted() -> None:
    host = Host()
    for line in (
        "AT+QSIDET=0", "AT+QMIC=20577,16384", "AT+QRXGAIN=20577", "AT+QEEC=0,1024", "AT+QAUDMOD=3", "AT+CSSN=1,1",
        "AT+CLVL=5", "AT+VTD=3", "AT+CMGF=0", "AT+CNMI=2,1,0,0,0", 'AT+CPMS="SM","SM","SM"', "AT+CMGL=4", "AT+CSMS=1",
        'AT+QCFG="ims",1', "AT+CLIR=0", "AT&C1", "AT&D2", "AT+IFC=0,0", "ATZ",
    ):  # fmt: skip
        assert host.ask(line)[-1] == "OK", line


def test_the_operators_form_is_kept_from_one_read_to_the_next() -> None:
    host = Host()
    assert host.ask("AT+COPS?") == ['+COPS: 0,0,"Orange F",7', "OK"]
    assert host.ask("AT+COPS=3,2") == ["OK"]
    assert host.ask("AT+COPS?") == ['+COPS: 0,2,"20801",7', "OK"]
    assert host.ask("AT+COPS?") == ['+COPS: 0,2,"20801",7', "OK"]
    assert host.ask("AT+COPS=3,3") == ["+CME ERROR: 50"]


# --- SIM, power, network ---


def test_a_pin_opens_the_sim_and_three_wrong_ones_ask_for_the_puk() -> None:
    profile = Profile(number=OWN, pin="1234")
    host = Host(profile)
    assert host.ask("AT+CPIN?") == ["+CPIN: SIM PIN", "OK"]
    assert host.ask("AT+CIMI") == ["+CME ERROR: 11"]
    assert host.ask("AT+CREG?") == ["+CREG: 0,0", "OK"]
    assert host.ask('AT+CPIN="1234"') == ["OK", "+CPIN: READY", "+QUSIM: 1"]
    assert host.wait(1) == ["+QIND: SMS DONE", "+QIND: PB DONE"]
    assert host.ask("AT+CREG?") == ["+CREG: 0,1", "OK"]

    host = Host(profile)
    for tries in (2, 1, 0):
        assert host.ask("AT+CPIN=0000") == ["+CME ERROR: 16"]
        assert host.ask("AT+QPINC") == [f'+QPINC: "SC",{tries},10', "OK"]
    assert host.ask("AT+CPIN?") == ["+CPIN: SIM PUK", "OK"]
    assert host.ask(f"ATD{ANNA};") == ["+CME ERROR: 12"]
    assert host.ask('AT+CPIN="12345678","4321"')[0] == "OK"


def test_a_missing_sim_is_told_as_such() -> None:
    host = Host(Profile(number=OWN, sim=False))
    assert host.ask("AT+CPIN?") == ["+CME ERROR: 10"]
    assert host.ask("AT+CREG?") == ["+CREG: 0,0", "OK"]


def test_a_restart_is_ordered_after_its_ok_and_the_boot_tells_itself() -> None:
    host = Host()
    host.ask("AT+QPCMV=1,0;+CLIP=1")
    assert host.ask("AT+CFUN=1,1") == ["OK"]
    host.wait(1)
    assert host.orders == [Restart(again=True)]
    said = host.lines(host.port.power_on(host.now))
    assert host.write("AT+CPIN?").endswith("\r\n+CME ERROR: 14\r\n")
    said += host.wait(3)
    assert said == ["RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1", "+QIND: SMS DONE", "+QIND: PB DONE"]
    assert host.write("ATE0") == "ATE0\r\r\nOK\r\n"
    assert host.ask("AT+QPCMV?;+CLIP?;+CREG?") == ["+QPCMV: 0", "+CLIP: 0,1", "+CREG: 0,1", "OK"]


def test_switching_off_says_so_and_does_not_come_back() -> None:
    host = Host()
    assert host.ask("AT+QPOWD") == ["OK", "POWERED DOWN"]
    host.wait(1)
    assert host.orders == [Restart(again=False)]


def test_without_radio_there_is_no_network_and_it_comes_back() -> None:
    host = Host()
    host.ask("AT+CREG=1;+CEREG=2")
    assert host.ask("AT+CFUN=4") == ["OK", "+CREG: 0", "+CEREG: 0"]
    assert host.ask("AT+CSQ") == ["+CSQ: 99,99", "OK"]
    assert host.ask("AT+COPS?") == ["+COPS: 0", "OK"]
    assert host.ask("AT+CFUN=1") == ["OK", "+CREG: 2", "+CEREG: 2"]
    assert host.wait(1) == ["+CREG: 1", '+CEREG: 1,"1A2B","01C3D4E5",7']


@pytest.mark.parametrize("stat", [0, 2, 3])
def test_a_lost_registration_is_told_and_refuses_calls(stat: int) -> None:
    host = Host()
    host.ask('AT+CREG=2;+QINDCFG="act",1,0')
    assert host.lines(host.port.set_coverage(stat, 0.0)) == [f"+CREG: {stat}"]
    assert host.ask(f"ATD{ANNA};") == ["NO CARRIER"]
    assert host.ask("AT+CCWA=1,2,1") == ["+CME ERROR: 30"]
    assert host.port.refuses() is Cause.ABSENT
    assert host.lines(host.port.set_coverage(5, 0.0)) == ['+CREG: 5,"1A2B","01C3D4E5",7', '+QIND: "act","LTE"']
    assert host.port.refuses() is None


def test_signal_is_told_when_asked_for() -> None:
    host = Host()
    assert host.lines(host.port.set_signal(12, 0.0)) == []
    host.ask('AT+QINDCFG="csq",1,0')
    assert host.lines(host.port.set_signal(9, 0.0)) == ['+QIND: "csq",9,99']


def test_without_ims_it_is_registered_and_carries_no_call() -> None:
    host = Host(Profile(number=OWN, ims=False))
    assert host.ask("AT+CREG?") == ["+CREG: 0,1", "OK"]
    assert host.ask('AT+QCFG="ims"') == ['+QCFG: "ims",0,0', "OK"]
    assert host.ask(f"ATD{ANNA};") == ["NO CARRIER"]
    assert host.port.refuses() is Cause.ABSENT


def test_a_scan_takes_its_time_and_a_byte_aborts_it() -> None:
    host = Host()
    assert host.write("AT+COPS=?") == ""
    assert host.wait(19) == []
    assert host.wait(2) == ['+COPS: (2,"Orange F","Orange","20801",7),,(0-4),(0-2)', "OK"]
    assert host.write("AT+COPS=?") == ""
    assert host.ask("AT") == ["ABORTED"]
    assert host.wait(30) == []
    assert host.ask("AT") == ["OK"]


# --- calls ---


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


# --- the voice path ---


def test_the_voice_path_is_open_in_a_call_that_it_was_set_before() -> None:
    host = Host()
    assert host.ask("AT+QPCMV=1,0") == ["OK"]
    assert host.ask("AT+QPCMV?") == ["+QPCMV: 1,0", "OK"]
    assert not host.module.audible
    index = host.talking()
    assert host.module.audible
    host.released(index, 16)
    assert not host.module.audible


def test_the_voice_path_may_be_set_while_it_rings() -> None:
    host = Host()
    index = host.called()
    assert host.ask("AT+QPCMV=1,0;A") == ["OK"]
    host.moved(index, Stat.ACTIVE)
    assert host.module.audible


def test_the_voice_path_cannot_be_set_in_a_call() -> None:
    host = Host()
    host.talking()
    assert host.ask("AT+QPCMV=1,0") == ["ERROR"]
    assert host.ask("AT+QPCMV=0") == ["ERROR"]
    assert not host.module.audible


def test_one_mode_replaces_another_only_by_way_of_0() -> None:
    host = Host()
    assert host.ask("AT+QPCMV=1,0") == ["OK"]
    assert host.ask("AT+QPCMV=1,2") == ["ERROR"]
    assert host.ask("AT+QPCMV=0;+QPCMV=1,2") == ["OK"]
    assert host.ask("AT+QPCMV=1,0") == ["ERROR"]
    host.talking()
    assert not host.module.audible


def test_a_second_call_is_silent_unless_the_path_was_set_to_0_between() -> None:
    host = Host()
    host.ask("AT+QPCMV=1,0")
    host.released(host.talking(), 16)
    assert host.ask("AT+QPCMV=1,0") == ["OK"]
    index = host.talking()
    assert not host.module.audible
    host.released(index, 16)
    host.ask("AT+QPCMV=0;+QPCMV=1,0")
    host.talking()
    assert host.module.audible


def test_a_call_that_nobody_answered_leaves_the_path_as_it_was() -> None:
    host = Host()
    host.ask("AT+QPCMV=1,0")
    host.released(host.called(), 16)
    host.talking()
    assert host.module.audible


def test_the_path_goes_over_to_a_call_that_was_waiting() -> None:
    host = Host()
    host.ask("AT+QPCMV=1,0")
    first = host.talking()
    second = host.called("+33700000009")
    host.ask("AT+CHLD=1")
    host.moved(second, Stat.ACTIVE)
    host.released(first, 16, locally=True)
    assert host.module.audible


def test_a_data_only_firmware_answers_the_test_and_refuses_to_set() -> None:
    host = Host(Profile(number=OWN, voice=False))
    assert host.ask("AT+QPCMV=?") == ["+QPCMV: (0,1),(0-2)", "OK"]
    assert host.ask("AT+QPCMV=1,0") == ["ERROR"]
    assert host.ask("AT+QPCMV=0") == ["ERROR"]


def test_the_uplink_buffer_tells_when_it_is_full_and_when_not() -> None:
    host = Host()
    assert host.lines(host.port.buffer_full(True, 0.0)) == ["+QPCMV: 0"]
    assert host.lines(host.port.buffer_full(False, 0.0)) == ["+QPCMV: 1"]


def test_gnss_talks_on_the_voice_port_until_it_is_sent_elsewhere() -> None:
    host = Host()
    assert host.ask("AT+QGPSEND") == ["ERROR"]
    host.ask("AT+QGPS=1")
    host.wait(2.5)
    assert [type(order) for order in host.orders] == [Nmea, Nmea]
    assert host.ask('AT+QGPSCFG="outport","none"') == ["OK"]
    host.orders.clear()
    host.wait(3)
    assert host.orders == []
    assert host.ask("AT+QGPS?;+QGPSEND;+QGPS?") == ["+QGPS: 1", "+QGPS: 0", "OK"]


def test_news_that_are_routed_to_another_port_are_not_on_this_one() -> None:
    host = Host()
    host.ask('AT+QURCCFG="urcport","usbmodem"')
    _, effects = host.port.offered(ANNA, 0.0)
    assert host.lines(effects) == []
    assert host.ask('AT+QURCCFG="urcport","nowhere"') == ["+CME ERROR: 50"]


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
