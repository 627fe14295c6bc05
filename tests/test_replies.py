import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.parsers import parse
from drivers.replies import (
    CallEnded,
    CallerId,
    CallMoved,
    CallReport,
    CallStat,
    CallWaiting,
    EndReport,
    Flow,
    Ims,
    Operator,
    PinTries,
    Registration,
    Reply,
    Restarted,
    Ring,
    Signal,
    SimState,
    Tone,
    Unknown,
    Unreadable,
    bare,
    iccid,
)

S = CallStat


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ('+CLCC: 1,0,3,0,0,"+33783484044",145', CallReport(1, True, S.ALERTING, True, "+33783484044")),
        ('+CLCC: 1,1,4,0,0,"0783484044",129', CallReport(1, False, S.INCOMING, True, "0783484044")),
        # EC25 leaves the plus out of international numbers on some networks; the type has it.
        ('+CLCC: 1,1,4,0,0,"33783484044",145', CallReport(1, False, S.INCOMING, True, "+33783484044")),
        ('+CLCC: 1,1,4,0,0,"33783484044",145,"Anna, home"', CallReport(1, False, S.INCOMING, True, "+33783484044")),
        # Withheld, and as a Huawei has it.
        ('+CLCC: 1,1,4,0,0,"",128', CallReport(1, False, S.INCOMING, True, None)),
        ('+CLCC: 1,1,4,0,0,"",,""', CallReport(1, False, S.INCOMING, True, None)),
        ("+CLCC: 1,1,4,0,0", CallReport(1, False, S.INCOMING, True, None)),
        # IMS: words in place of a number.
        ('+CLCC: 1,1,4,0,0,"anonymous",128', CallReport(1, False, S.INCOMING, True, None)),
        # EC25's data connection.
        ('+CLCC: 1,0,0,1,0,"",128', CallReport(1, True, S.ACTIVE, False, None)),
        ('+CLCC: 1,0,9,1,0,"",x', CallReport(1, True, S.ACTIVE, False, None)),
        ('+QIND: "ccinfo",2,1,-1,0,0,"+33783484044",145', CallReport(2, False, S.RELEASED, True, "+33783484044")),
        ('+QIND: "ccinfo",1,0,0,0,0,"123",129,"x"', CallReport(1, True, S.ACTIVE, True, "123")),
        ("^DSCI: 1,0,3,0,+33783484044,145", CallReport(1, True, S.ACTIVE, True, "+33783484044")),
        ("^DSCI: 1,0,7,0,0783484044,129", CallReport(1, True, S.ALERTING, True, "0783484044")),
        ("^DSCI: 1,1,6,0,,128", CallReport(1, False, S.RELEASED, True, None)),
        # SIM7600, unasked.
        ('+CLCC: 1,1,6,0,0,"+33783484044",145', CallReport(1, False, S.RELEASED, True, "+33783484044")),
        ("^DSCI: 1,1,4,0,0783484044,129,1", CallReport(1, False, S.INCOMING, True, "0783484044")),
        ("^ORIG:1,0", CallMoved(1, S.DIALING)),
        ("^ORIG: 1,9", CallMoved(1, S.DIALING)),
        ("^ORIG:2,1", Unknown("^ORIG:2,1")),
        ("^CONF:1", CallMoved(1, S.ALERTING)),
        ("^CONN:1,0", CallMoved(1, S.ACTIVE)),
        ("^CEND:1,42,29,16", CallMoved(1, S.RELEASED, 16)),
        ("^CEND:1,0,104,17", CallMoved(1, S.RELEASED, 17)),
        ("^CEND:1,0,104", CallMoved(1, S.RELEASED, 21)),
        ("^CEND:2,7,29", CallMoved(2, S.RELEASED)),
        ("^CEND:1,0,83", CallMoved(1, S.RELEASED)),
        ("VOICE CALL: BEGIN", CallMoved(None, S.ACTIVE)),
        ("VOICE CALL:BEGIN", CallMoved(None, S.ACTIVE)),
        ("VOICE CALL: ALERTING", CallMoved(None, S.ALERTING)),
        ("VOICE CALL: RINGING", Unknown("VOICE CALL: RINGING")),
        ("VOICE CALL: END", CallMoved(None, S.RELEASED)),
        ("VOICE CALL: END: 000012", CallMoved(None, S.RELEASED)),
        ("VOICE CALL:END: 000012", CallMoved(None, S.RELEASED)),
        ("MISSED_CALL: 11:01AM 07712345678", CallEnded(None)),
        ('+CCWA: "+33783484044",145,1', CallWaiting("+33783484044")),
        ('+CCWA: "",128,1,"",1', CallWaiting(None)),
        # A fax, and the answer to AT+CCWA=1,2,1.
        ('+CCWA: "+33783484044",145,4', Unknown('+CCWA: "+33783484044",145,4')),
        ("+CCWA: 0,1", Unknown("+CCWA: 0,1")),
        ("RING", Ring(voice=True)),
        ("+CRING: VOICE", Ring(voice=True)),
        ("+CRING: GPRS IP", Ring(voice=False)),
        ('+CLIP: "+33783484044",145,"",0,"",0', CallerId("+33783484044")),
        ('+CLIP: "",128,"",0,"",1', CallerId(None)),
        ("+CREG: 1", Registration("+CREG", 1)),
        ("+CREG: 2,5", Registration("+CREG", 5)),
        ('+CREG: 1,"1A2B","01C3D4E5",7', Registration("+CREG", 1, "1A2B", "01C3D4E5", 7)),
        ('+CREG: 2,5,"1A2B","01C3D4E5",7', Registration("+CREG", 5, "1A2B", "01C3D4E5", 7)),
        ('+CREG: 2,5,"1A2B","01C3D4E5"', Registration("+CREG", 5, "1A2B", "01C3D4E5")),
        ("+CREG: 2,1,26FD,27E5", Registration("+CREG", 1, "26FD", "27E5")),
        ('+CEREG: 3,"1A2B","01C3D4E5"', Registration("+CEREG", 3, "1A2B", "01C3D4E5")),
        ("+CEREG: 2,10", Registration("+CEREG", 10)),
        ("+CSQ: 24,99", Signal(-65)),
        ("+CSQ: 0,0", Signal(-113)),
        ("+CSQ: 99,99", Signal(None)),
        ('+QIND: "csq",31,99', Signal(-51)),
        ('+COPS: 0,0,"Orange F",7', Operator("Orange F", 7)),
        ('+COPS: 0,0,"Orange F"', Operator("Orange F")),
        ("+COPS: 0", Operator("")),
        ("+CPIN: READY", SimState("READY")),
        ("+CPIN: SIM PUK", SimState("SIM PUK")),
        # A stick without its SIM; with it, +CPIN? knows more.
        ("^SIMST:255", SimState("NOT INSERTED")),
        ("+SIMCARD: NOT AVAILABLE", SimState("NOT INSERTED")),
        ("^SIMST: 1", Unknown("^SIMST: 1")),
        ("+CPINR: SIM PIN,3,3", PinTries(3)),
        ('+QPINC: "SC",2,10', PinTries(2)),
        ("+CPINC: 1,3,10,10", PinTries(1)),
        ("^CPIN: SIM PIN,3,10,2,10,3", PinTries(2)),
        ("^CPIN: READY,,10,3,10,3", PinTries(3)),
        ("+CIREG: 0,1", Ims(True)),
        ("+CIREG: 0,0", Ims(False)),
        # For short messages only.
        ("+CIREG: 2,1,4", Ims(False)),
        ("+CIREGU: 1,5", Ims(True)),
        ('+QCFG: "ims",0,1', Ims(True)),
        ('+QCFG: "usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,0', Unknown('+QCFG: "usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,0')),
        ("+QTONEDET: 56", Tone("8")),
        ("+QTONEDET: 42", Tone("*")),
        ("+QTONEDET: 68", Tone("D")),
        ("+RXDTMF: 8", Tone("8")),
        ("+RXDTMF: *", Tone("*")),
        ("+DTMF: 5,120", Tone("5")),
        ("^DDTMF:#", Tone("#")),
        ("+QPCMV: 0", Flow(False)),
        ("+QPCMV: 1", Flow(True)),
        ("NO CARRIER", CallEnded(None)),
        ("BUSY", CallEnded(17)),
        ("NO ANSWER", CallEnded(19)),
        ("RDY", Restarted()),
        ("NORMAL POWER DOWN", Restarted()),
        ("+CEER: 5,17", EndReport(17)),
        ("+CEER: 0,0", EndReport(None)),
        ('+CEER: "CC setup error",16,"Normal call clearing"', EndReport(16)),
        ("+CEER: Normal call clearing", EndReport(16)),
        ("+CEER: userbusy", EndReport(17)),
        ("+CEER: User alerting, no answer", EndReport(19)),
        ("+CEER: Unassigned (unallocated) number", EndReport(1)),
        ("+CEER: Normal, unspecified", EndReport(31)),
        ("+CEER: No cause information available", EndReport(None)),
        ("+QIND: PB DONE", Unknown("+QIND: PB DONE")),
        ('+QIND: "act","LTE"', Unknown('+QIND: "act","LTE"')),
        ("+CUSD: 0", Unknown("+CUSD: 0")),
        ("garbage", Unknown("garbage")),
    ],
)
def test_lines_mean(text: str, reply: Reply) -> None:
    assert parse(text) == reply


@pytest.mark.parametrize(
    "text",
    [
        "+CLCC: 1,0,",
        "+CLCC:",
        "+CLCC: 1,0,9,0,0",
        "+CLCC: 1,7,0,0,0",
        '+CLCC: 1,1,4,0,0,"+3378',
        '+CLCC: 1,1,4,0,0,"123",x',
        "+CREG: ",
        "+CREG: 47",
        "+CSQ: 45,99",
        "+CSQ: x",
        '+QIND: "ccinfo",1,1',
        "^DSCI: 1",
        "+QTONEDET: 3",
        "+QTONEDET: -4",
        "+QTONEDET: 99999999999999999999",
        "+QPCMV: 2",
        "+CLIP: ",
        "^CEND:1,0,x",
        "^CEND:",
        "^CONN:a,0",
        "+RXDTMF: 12",
        "+RXDTMF: ",
        "+DTMF: E",
        '+CCWA: "1",145,x',
        "+QPINC: ",
        "+CIREG: 1",
    ],
)
def test_malformed_lines_are_unreadable(text: str) -> None:
    assert parse(text) == Unreadable(text)


PREFIXES = (
    *("+CLCC", "+QIND", "^DSCI", "+CRING", "+CLIP", "+CCWA", "+CEER", "+CREG", "+CEREG", "+CSQ", "+COPS", "+CPIN"),
    *("+QCFG", "+CIREG", "+CPINR", "^CPIN", "^ORIG", "^CONF", "^CONN", "^CEND", "VOICE CALL", "+RXDTMF", "^DDTMF"),
)


@given(st.sampled_from(PREFIXES), st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_no_line_raises(prefix: str, body: str) -> None:
    parse(f"{prefix}:{body}")
    parse(body)


@given(st.lists(st.sampled_from(['"', ",", "1", "4", "-1", "+33", " ", '"ccinfo"', "\n", "\x00"]), max_size=12))
def test_no_near_miss_raises(parts: list[str]) -> None:
    for prefix in PREFIXES:
        parse(f"{prefix}: {''.join(parts)}")


def test_bare_answers_come_with_and_without_their_name() -> None:
    assert bare(["EC25EFAR06A06M4G"]) == bare(["Revision: EC25EFAR06A06M4G"]) == "EC25EFAR06A06M4G"
    assert bare(['+CGSN: "867698040000018"']) == bare(["867698040000018"]) == "867698040000018"
    assert bare([]) == ""


def test_a_sims_number_comes_in_many_wordings() -> None:
    for line in ("+QCCID: 89330123456789012345", "+ICCID: 89330123456789012345", "89330123456789012345"):
        assert iccid([line]) == "89330123456789012345"
    assert iccid(['^ICCID: "8933012345678901234F"']) == iccid(["+CCID: 8933012345678901234f"]) == "8933012345678901234"
    assert iccid([]) == iccid(["+CCID: "]) == ""


@pytest.mark.parametrize(
    "noise",
    [
        *("^RSSI:12", "^BOOT:1234,0,0,0,75", "^MODE:5,4", "^SRVST:2", '^HCSQ:"LTE",31,22,86,12', "^CSNR:-40,-7"),
        *("^DSFLOWRPT:00000001,0,0,0,0,0,0", "^STIN:1,0,0", '^SMMEMFULL:"SM"', "+CNSMOD: 8", "+CSQN: 20,99"),
        *('*PSUTTZ: 26/6/4,12:0:0","+8",0', "DST: 1", "SMS DONE", "PB DONE", "Call Ready", '*PSNWID: "208"'),
    ],
)
def test_noise_means_nothing(noise: str) -> None:
    assert isinstance(parse(noise), Unknown | Unreadable)
