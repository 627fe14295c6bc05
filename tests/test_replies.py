import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.replies import (
    CallEnded,
    CallerId,
    CallReport,
    CallStat,
    EndReport,
    Flow,
    Ims,
    Operator,
    Registration,
    Reply,
    Restarted,
    Ring,
    Signal,
    SimId,
    SimState,
    Tone,
    Unknown,
    Unreadable,
    bare,
    parse,
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
        ("RING", Ring(voice=True)),
        ("+CRING: VOICE", Ring(voice=True)),
        ("+CRING: GPRS IP", Ring(voice=False)),
        ('+CLIP: "+33783484044",145,"",0,"",0', CallerId("+33783484044")),
        ('+CLIP: "",128,"",0,"",1', CallerId(None)),
        ("+CREG: 1", Registration("+CREG", 1)),
        ("+CREG: 2,5", Registration("+CREG", 5)),
        ('+CREG: 1,"1A2B","01C3D4E5",7', Registration("+CREG", 1)),
        ('+CREG: 2,5,"1A2B","01C3D4E5",7', Registration("+CREG", 5)),
        ('+CREG: 2,5,"1A2B","01C3D4E5"', Registration("+CREG", 5)),
        ('+CEREG: 3,"1A2B","01C3D4E5"', Registration("+CEREG", 3)),
        ("+CEREG: 2,10", Registration("+CEREG", 10)),
        ("+CSQ: 24,99", Signal(-65)),
        ("+CSQ: 0,0", Signal(-113)),
        ("+CSQ: 99,99", Signal(None)),
        ('+QIND: "csq",31,99', Signal(-51)),
        ('+COPS: 0,0,"Orange F",7', Operator("Orange F")),
        ("+COPS: 0", Operator("")),
        ("+CPIN: READY", SimState("READY")),
        ("+CPIN: SIM PUK", SimState("SIM PUK")),
        ("+QCCID: 89330123456789012345", SimId("89330123456789012345")),
        ('+QCFG: "ims",0,1', Ims(True)),
        ('+QCFG: "usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,0', Unknown('+QCFG: "usbcfg",0x2C7C,0x0125,1,1,1,1,1,0,0')),
        ("+QTONEDET: 56", Tone("8")),
        ("+QTONEDET: 42", Tone("*")),
        ("+QTONEDET: 68", Tone("D")),
        ("+QPCMV: 0", Flow(False)),
        ("+QPCMV: 1", Flow(True)),
        ("NO CARRIER", CallEnded(None)),
        ("BUSY", CallEnded(17)),
        ("NO ANSWER", CallEnded(19)),
        ("RDY", Restarted()),
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
    ],
)
def test_malformed_lines_are_unreadable(text: str) -> None:
    assert parse(text) == Unreadable(text)


PREFIXES = ("+CLCC", "+QIND", "^DSCI", "+CRING", "+CLIP", "+CEER", "+CREG", "+CEREG", "+CSQ", "+COPS", "+CPIN", "+QCFG")


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
