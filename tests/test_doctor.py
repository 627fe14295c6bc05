"""The doctor on lines of several families, well and ill: each ailment made on the bench, and told in its own words."""

from contextlib import closing
from pathlib import Path

import pytest
import trio

from appliance.ailments import AILMENTS, Severity
from appliance.diagnosis import Outcome
from appliance.doctor import UnknownLine, shown
from drivers.line import LineState
from hil import mishaps
from hil.board import profile_of
from hil.plans import Plan, ordered
from tests.box import Box, codes, open_box

PAIRS = [
    ("ec25", "e173"),
    ("sim7600-v2", "sim800"),
    ("usr5637", "ec25"),
    ("usr5637", "cx93010"),
    ("e3131", "ec25-uac"),
    ("a7672", "generic"),
]


@pytest.mark.parametrize("models", PAIRS, ids="-".join)
async def test_lines_that_are_well_are_told_to_be_so(
    tmp_path: Path, autojump_clock: object, models: tuple[str]
) -> None:
    async with open_box(tmp_path, *models) as box:
        await box.idle()
        examination = await box.examine("line1")
        assert examination.ok
        assert codes(examination) == {"line1": []}
        assert [(call.caller, call.callee, call.outcome) for call in examination.calls] == [
            ("line1", "line2", Outcome.DONE)
        ]
        for call in examination.calls:
            assert [(way.speaker, way.listener) for way in call.ways] == [
                (call.callee, call.caller),
                (call.caller, call.callee),
            ]
            for way in call.ways:
                assert way.heard is not None
                assert way.heard.loss_percent == 0
                assert abs(way.heard.level_db) < 1
                assert way.heard.delay_ms < 150
                assert way.echo is None or way.echo.level_db < -30
        # Nobody was told of these calls, and nothing is left of them.
        assert box.rang == []
        assert [trunk.state for trunk in box.trunks] == [LineState.IDLE] * 2
        assert not any(line.modem.calls for line in box.bench.lines)


async def test_each_line_is_caller_and_callee(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "usr5637", "e173") as box:
        await box.idle()
        examination = await box.examine()
        assert [(call.caller, call.callee) for call in examination.calls] == [
            ("line1", "line2"),
            ("line2", "line3"),
            ("line3", "line1"),
        ]
        assert codes(examination) == {"line1": [], "line2": [], "line3": []}
        assert all(finding.tested for finding in examination.findings)


async def test_what_is_shown_to_programs_is_plain_json(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        await box.idle()
        mishaps.begin(box.far().modem, "sim-removed")
        await box.trunks[0].until(lambda it: it.state is LineState.DOWN)
        seen = shown(await box.examine(calls=False), running=True)
        assert not seen["ok"]
        first, second = seen["lines"]
        assert first["name"] == "line1"
        assert first["verdicts"][0]["code"] == "no-sim"
        assert first["verdicts"][0]["severity"] == "fault"
        assert first["says"].startswith("there is no SIM in the module: ")
        assert (second["ok"], second["says"]) == (True, "")


# --- a line alone ---------------------------------------------------------------------------------------------------

ALONE = {
    "no-voice": ["ec25", "e173", "sim7600-v2"],
    "sim-removed": ["ec25", "e3131", "sim800"],
    "pin": ["ec25", "e173", "a7672"],
    "no-ims": ["ec25", "sim7600-v2"],
    "network-lost": ["ec25", "e3131"],
    "denied": ["ec25", "generic"],
    "signal": ["ec25"],
    "deaf": ["e173", "usr5637"],
}
SAID = {
    "no-voice": "no-voice",
    "sim-removed": "no-sim",
    "pin": "pin-missing",
    "no-ims": "lte-only",
    "network-lost": "no-network",
    "denied": "denied",
    "signal": "weak-signal",
    "deaf": "silent",
}
VALUES = {"pin": "4321", "network-lost": "searching", "denied": "denied", "signal": "3"}


@pytest.mark.parametrize(("fault", "model"), [(fault, model) for fault, models in ALONE.items() for model in models])
async def test_what_ails_a_line_is_said(tmp_path: Path, autojump_clock: object, fault: str, model: str) -> None:
    async with open_box(tmp_path, model) as box:
        device = box.far().modem
        mishaps.begin(device, {"denied": "network-lost"}.get(fault, fault), VALUES.get(fault, ""))
        examination = await box.examine()
        said = codes(examination)["line1"]
        assert said[:1] == [SAID[fault]]
        assert examination.ok == (AILMENTS[said[0]].severity is Severity.WARNING)
        assert examination.calls == []
        (finding,) = examination.findings
        # One sentence: what is wrong, and what to do.
        assert ": " in finding.says
        assert "{" not in finding.says


async def test_a_line_that_is_away_is_told_from_one_that_is_silent(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        await box.idle()
        box.far().modem.unplug()
        await box.trunks[0].until(lambda it: it.state is LineState.DOWN)
        assert codes(await box.examine("line1"))["line1"][0] == "absent"


async def test_a_line_that_nobody_configured_is_no_line(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25") as box:
        with pytest.raises(UnknownLine, match=r"line9.*line1"):
            await box.examine("line9")


# --- a test call ----------------------------------------------------------------------------------------------------


async def sounding(box: Box, *which: int) -> None:
    """Until these lines' calls have sound."""
    while not all(box.trunks[each].audio for each in which):  # noqa: ASYNC110 - the engine's ports tell nobody
        await trio.sleep(0.01)


async def heard(box: Box, *names: str) -> dict[str, list[str]]:
    await box.idle()
    return codes(await box.examine(*names))


@pytest.mark.parametrize("models", [("ec25", "e173"), ("sim800", "ec25"), ("ec25", "usr5637")], ids="-".join)
@pytest.mark.parametrize(
    ("fault", "value", "code"), [("choppy", "", "loss"), ("noise-dbfs", "-30", "noise"), ("echo-db", "6", "echo")]
)
async def test_bad_sound_is_told_by_what_is_bad_of_it(
    tmp_path: Path, autojump_clock: object, models: tuple[str], fault: str, value: str, code: str
) -> None:
    async with open_box(tmp_path, *models) as box:
        mishaps.begin(box.far().modem, fault, value)
        assert code in (await heard(box, "line1"))["line1"]


async def test_a_modem_without_sound_in_its_calls_is_the_one_that_is_told_of(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        await box.idle()

        async def stop() -> None:
            await sounding(box, 0, 1)
            box.far().modem.stop_sound()

        box.nursery.start_soon(stop)
        examination = await box.examine("line1")
        assert codes(examination)["line1"] == ["no-downlink", "no-uplink"]
        assert not any(way.heard for way in examination.calls[0].ways)


async def test_the_echo_of_an_analog_line_is_taken_away_and_is_none(tmp_path: Path, autojump_clock: object) -> None:
    plans: dict[int, Plan] = {1: ordered("FR,echo=14")}
    async with open_box(tmp_path, "usr5637", "ec25", plans=plans) as box:
        assert await heard(box, "line1") == {"line1": []}


async def test_a_sim7600_that_does_not_survive_its_call_is_told_as_that(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "sim7600", "ec25") as box:
        said = await heard(box)
        assert said["line1"] == ["worn-out"]
        assert said["line2"] == []


async def test_of_three_lines_the_one_that_is_bad_is_found_out(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173", "eg25") as box:
        mishaps.begin(box.far(1).modem, "choppy")
        said = await heard(box)
        assert set(said["line2"]) == {"loss"}
        assert said["line1"] == said["line3"] == []


async def test_a_sim_without_volte_is_told_where_its_call_is_refused(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        mishaps.begin(box.far().modem, "no-ims")
        await box.idle()
        examination = await box.examine("line1")
        assert codes(examination)["line1"] == ["lte-only", "call-refused"]
        assert not examination.ok


async def test_a_callee_that_rings_elsewhere_is_told(tmp_path: Path, autojump_clock: object) -> None:
    wrong = {2: profile_of("+33700000077")}
    async with open_box(tmp_path, "ec25", "e173", profiles=wrong) as box:
        await box.idle()
        box.trunks[1].number = "+33612345678"
        box.bench.subscriber("+33612345678")
        examination = await box.examine("line1")
        assert codes(examination)["line1"][0] == "answered-elsewhere"
        box.trunks[1].number = "+33698765432"
        assert codes(await box.examine("line1"))["line1"][0] == "call-refused"


async def test_an_analog_line_without_a_dial_tone_is_told(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "usr5637", "ec25") as box:
        await box.idle()
        mishaps.begin(box.far().modem, "dead")
        assert codes(await box.examine("line1"))["line1"][0] == "no-dial-tone"


# --- beside customers' calls ----------------------------------------------------------------------------------------


async def test_a_line_in_use_is_not_tested(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        await box.idle()
        phone = box.bench.subscriber("+33783484044")
        call = phone.dial(box.trunks[1].number)
        await call.alerting()
        await box.trunks[1].until(lambda it: it.state is LineState.IN_USE)
        examination = await box.examine()
        assert [call.outcome for call in examination.calls] == [Outcome.NOT_TESTED] * 2
        assert codes(examination) == {"line1": ["not-tested"], "line2": ["not-tested"]}
        assert "line2 is in use" in examination.findings[0].says
        assert examination.ok
        assert len(box.rang) == 1
        call.hang_up()


async def test_a_line_in_use_keeps_no_others_from_being_tested(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173", "ec25") as box:
        await box.idle()
        with closing(box.trunks[0].seize()) as seizure:
            await seizure.line.dial(box.bench.subscriber("+33783484044").number)
            examination = await box.examine()
        assert [f"{call.caller} {call.callee} {call.outcome.value}" for call in examination.calls] == [
            "line1 line2 not tested",
            "line2 line3 done",
            "line3 line2 done",
        ]
        assert codes(examination) == {"line1": ["not-tested"], "line2": [], "line3": []}


async def test_a_call_that_a_rule_forbids_is_not_placed(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        await box.idle()
        box.refusal = "line line1 has used up its 60 minutes a month"
        examination = await box.examine("line1")
        assert [call.outcome for call in examination.calls] == [Outcome.NOT_TESTED]
        assert "60 minutes" in examination.findings[0].says
        assert examination.ok


@pytest.mark.parametrize("which", [0, 1])
async def test_a_test_call_is_hung_up_when_somebody_wants_either_line(
    tmp_path: Path, autojump_clock: object, which: int
) -> None:
    async with open_box(tmp_path, "ec25", "e173") as box:
        await box.idle()
        trunk = box.trunks[which]

        async def want() -> None:
            await sounding(box, which)
            await trio.sleep(2)
            await trunk.make_way()
            trunk.seize().close()

        box.nursery.start_soon(want)
        examination = await box.examine("line1")
        (call,) = examination.calls
        assert (call.outcome, call.detail) == (Outcome.NOT_TESTED, "somebody wanted the line")
        assert call.talked_s < 10
        assert examination.ok


async def test_who_calls_the_callee_first_is_served(tmp_path: Path, autojump_clock: object) -> None:
    async with open_box(tmp_path, "usr5637", "ec25") as box:
        await box.idle()
        phone = box.bench.subscriber("+33783484044")

        async def dial() -> None:
            await box.trunks[0].until(lambda it: it.state is LineState.IN_USE)
            call = phone.dial(box.trunks[1].number)
            await trio.sleep(60)
            call.hang_up()

        box.nursery.start_soon(dial)
        examination = await box.examine("line1")
        (call,) = examination.calls
        assert call.outcome is Outcome.NOT_TESTED
        assert [incoming.number for _, incoming in box.rang] == ["+33783484044"]
