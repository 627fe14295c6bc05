"""The simulated EC25: what a host asks and sets, its SIM, power and network, and when its voice path is open."""

import pytest

from hil.board import Nmea, Profile, Restart
from hil.module import Stat
from hil.network import Cause
from tests.at_program import ANNA, OWN, Host

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
