"""`branchline doctor`: by the service at work, and without one."""

import json
import os
import subprocess
import sys
from typing import Any

import trio

from appliance.diagnosis import FIGURES
from tests.rig import COMMAND, Rig, open_rig, together
from tests.talks import TRIES

# How true the sound is is for tests that are not made of processes: here the machine may be late.
LATE = {figure.ailment for figure in FIGURES}

# Opens a tty as most programs do, and says when it has it.
HOLDER = (
    "import sys, serial; port = serial.Serial(sys.argv[1], exclusive=True); print('held', flush=True); sys.stdin.read()"
)


async def doctor(rig: Rig, *arguments: str) -> tuple[int, str]:
    done = await trio.run_process(
        [COMMAND, "doctor", "--config", rig.config, *arguments],
        capture_stdout=True,
        capture_stderr=True,
        stdin=subprocess.DEVNULL,
        check=False,
        env=os.environ | rig.bench.cards.environment,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.decode()


async def heard(rig: Rig, line: str) -> tuple[int, Any]:
    """Examined anew where a late machine has torn what was said."""
    for _ in range(TRIES):
        code, seen = await examined(rig, line)
        if all(way["heard"] for call in seen["calls"] for way in call["ways"]):
            break
    return code, seen


async def examined(rig: Rig, *arguments: str) -> tuple[int, Any]:
    code, said = await doctor(rig, *arguments, "--json")
    return code, json.loads(said)


@together
async def test_the_service_at_work_lets_its_lines_call_each_other(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        code, seen = await heard(rig, "line1")
        assert (code, seen["running"]) == (int(not seen["ok"]), True)
        (line,) = seen["lines"]
        assert (line["name"], line["tested"]) == ("line1", True)
        assert {verdict["code"] for verdict in line["verdicts"]} <= LATE
        (call,) = seen["calls"]
        assert (call["caller"], call["callee"], call["outcome"]) == ("line1", "line2", "done")
        assert [(way["speaker"], way["heard"]) for way in call["ways"]] == [("line2", True), ("line1", True)]
        # It is no call of anybody's.
        assert rig.rows("SELECT count(*) FROM calls") == [(0,)]
        assert rig.customer.inbox.all == []
        assert run.faults == []
        code, said = await doctor(rig, "--no-call")
        assert code == 0
        for word in ("line1", "line2", "well", "All is well."):
            assert word in said


@together
async def test_what_ails_a_line_of_the_service_is_said_and_the_exit_code_is_1(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        run = await rig.start()
        rig.line.gsm.set_sim(False)
        await run.logged("line lost")
        code, said = await doctor(rig, "--no-call")
        assert code == 1
        assert "line1: there is no SIM in the module: put one in; if it is, clean its contacts." in said
        code, seen = await examined(rig, "line2", "--no-call")
        assert (code, seen["ok"], seen["calls"]) == (0, True, [])
        done = await trio.run_process(
            [COMMAND, "doctor", "--config", rig.config, "line9"], capture_stderr=True, check=False
        )
        assert done.returncode == 1
        assert b"no line is called line9" in done.stderr


@together
async def test_without_a_service_the_lines_are_opened_and_call_each_other(tmp_path):
    async with open_rig(tmp_path, lines=2) as rig:
        _, seen = await heard(rig, "line2")
        assert not seen["running"]
        (call,) = seen["calls"]
        assert (call["caller"], call["callee"], call["outcome"]) == ("line2", "line1", "done")
        assert all(way["heard"] for way in call["ways"])
        # It is not the service's user who asks, perhaps.
        assert [path.name for path in rig.data.iterdir()] == ["branchline.db"]


@together
async def test_another_program_that_has_the_tty_is_named(tmp_path):
    async with open_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        holder = await trio.lowlevel.open_process(
            [sys.executable, "-c", HOLDER, rig.line.at_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        nursery.start_soon(holder.wait)
        try:
            assert holder.stdout is not None
            await holder.stdout.receive_some()
            code, seen = await examined(rig)
        finally:
            holder.kill()
        assert code == 1
        (verdict,) = seen["lines"][0]["verdicts"]
        assert verdict["code"] == "port-in-use"
        assert f"(process {holder.pid})" in verdict["wrong"]
        assert str(rig.line.at_path) in verdict["wrong"]
