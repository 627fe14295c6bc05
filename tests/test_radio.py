import pytest

from drivers.parsers import parse
from drivers.radio import Radio


def radio(*lines: str) -> Radio:
    heard = Radio()
    for line in lines:
        heard = heard.after(parse(line))
    return heard


@pytest.mark.parametrize(
    ("lines", "callable_"),
    [
        ((), False),
        (("+CREG: 2,1",), True),
        (("+CREG: 2,5",), True),
        (("+CREG: 2,2",), False),
        (("+CREG: 2,6",), False),
        # LTE alone, which carries calls by IMS only.
        (("+CREG: 2,0", "+CEREG: 2,1"), False),
        (("+CREG: 2,0", "+CEREG: 2,1", '+QCFG: "ims",1,0'), False),
        (("+CREG: 2,0", "+CEREG: 2,1", '+QCFG: "ims",1,1'), True),
        (("+CREG: 2,0", "+CEREG: 2,1", "+CIREG: 0,1,1"), True),
        (("+CREG: 2,0", "+CEREG: 2,2", "+CIREG: 0,1"), False),
        # Data only, of 2G and 3G.
        (("+CGREG: 2,1",), False),
        (("+CREG: 2,1", "+CREG: 2"), False),
    ],
)
def test_calls_are_possible_by_circuit_or_by_lte_with_ims(lines: tuple[str, ...], callable_: bool) -> None:
    assert radio(*lines).callable is callable_


def test_where_a_line_is_is_told_by_the_registration_that_calls_go_by() -> None:
    lte = '+CEREG: 2,1,"1A2B","01C3D4E5",7'
    heard = radio("+CREG: 2,0", lte, '+COPS: 0,0,"Orange F",7', "+CSQ: 20,99")
    assert (heard.registration, heard.technology, heard.operator) == ("home", "LTE", "Orange F")
    assert (heard.area, heard.cell, heard.signal_dbm) == ("1A2B", "01C3D4E5", -73)
    heard = radio(lte, '+CREG: 2,5,"00FF","1234",0')
    assert (heard.registration, heard.technology, heard.cell) == ("roaming", "GSM", "1234")


def test_the_technology_is_the_operators_where_the_registration_has_none() -> None:
    assert radio("+CREG: 2,1,26FD,27E5", '+COPS: 0,0,"Orange F",2').technology == "UMTS"
    assert radio("+CREG: 2,1,26FD,27E5", '+COPS: 0,0,"Orange F"').technology == ""


def test_nothing_is_known_of_what_was_not_said() -> None:
    assert Radio().registration == Radio().technology == ""
    assert Radio().area is Radio().cell is None
    assert Radio().signal_dbm is None
    assert radio("RING", "+CGREG: 1") == Radio()
