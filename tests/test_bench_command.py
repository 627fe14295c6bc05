"""`branchline bench`, the command."""

import json
import signal
import subprocess
import sys
import tomllib
import wave
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from hil.cli import bench as bench_command
from tests.bench_rig import ANNA, LIMIT_S, OTHER, OWN


class Command:
    """`branchline bench` as another process has it, and in this one where that makes no difference."""

    def __init__(self, tmp_path: Path) -> None:
        self._control = ["--control", str(tmp_path / "bench.sock")]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hil.cli", *arguments, *self._control]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> Any:
        out, err = self.start(*arguments).communicate(timeout=LIMIT_S)
        assert out, err
        return json.loads(out)

    def invoke(self, *arguments: str) -> Any:
        return json.loads(CliRunner().invoke(bench_command, [*arguments, *self._control]).stdout)

    def fail(self, *arguments: str) -> str:
        result = CliRunner().invoke(bench_command, [*arguments, *self._control])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        return result.stderr


def test_the_command_from_up_to_the_end(tmp_path: Path) -> None:
    command, config = Command(tmp_path), tmp_path / "box.toml"
    heard, bad = tmp_path / "heard.wav", tmp_path / "bad.wav"
    with wave.open(str(bad), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(16))
    assert "start one by" in command.fail("status")
    up = command.start(
        "up", "--line", f"ec25:{OWN}", "--line", f"ec25:{OTHER}", "--name", "office", "--directory", str(tmp_path),
        "--subscriber", f"{ANNA}=no-answer", "--write-config", str(config),
    )  # fmt: skip
    try:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        assert [line["name"] for line in ready["lines"]] == ["office", "line2"]
        assert all(Path(line["at"]).exists() and Path(line["pcm"]).exists() for line in ready["lines"])
        assert f'number = "{OWN}"' in config.read_text()
        dialing = command.start(
            "dial", "--from", "+33600000001", "--to", ANNA, "--dtmf", "1",
            "--hang-up-after", "0.3", "--record", str(heard),
        )  # fmt: skip
        assert command.run("status")["engine"]["ticks"] >= 0
        while [call["state"] for call in command.invoke("status")["calls"]] != ["alerting"]:
            assert dialing.poll() is None
        assert command.invoke("answer", ANNA) == {"answered": "+33600000001"}
        out, _ = dialing.communicate(timeout=LIMIT_S)
        answer = json.loads(out)
        assert (answer["outcome"], answer["cause"]) == ("answered", 16)
        with wave.open(str(heard)) as file:
            assert file.getframerate() == 8000
        assert command.invoke("dial", "--from", ANNA, "--to", "+33999999999")["outcome"] == "unknown number"
        assert command.run("hang-up", ANNA) == {"hung_up": 0}
        assert command.invoke("unplug", "office")["plugged"] is False
        assert command.invoke("plug", "office")["plugged"] is True
        assert "no line" in command.fail("unplug", "attic")
        assert "nobody has" in command.fail("sms", "--from", ANNA, "--to", "+33999999999", "--text", "Hello?")
        wrong = command.fail("fault", "office", "signal", "weak")
        assert wrong == "branchline bench: signal wants another value than 'weak': a whole number\n"
        assert "does not ring" in command.fail("answer", ANNA)
        assert "by ATD" in command.fail("dial", "--from", OWN, "--to", ANNA)
        assert "44100 Hz" in command.fail("dial", "--from", ANNA, "--to", OWN, "--play", str(bad))
        assert "another bench" in command.fail("up", "--line", f"ec25:{OWN}")
        up.send_signal(signal.SIGINT)
        assert up.wait(LIMIT_S) == 0
        assert not (tmp_path / "office-at").is_symlink()
    finally:
        up.kill()
        up.communicate()


def test_the_commands_mistakes_are_told_in_words(tmp_path: Path) -> None:
    command = Command(tmp_path)
    assert "MODEL:NUMBER" in command.fail("up", "--line", "nokia:+33700000002")
    assert "an international one" in command.fail("up", "--line", "ec25:0700000002")
    assert "no telephone number" in command.fail("up", "--line", f"ec25:{OWN}", "--subscriber", "anna")
    assert "one of: answer" in command.fail("up", "--line", f"ec25:{OWN}", "--subscriber", f"{ANNA}=asleep")


def test_the_command_has_every_model_and_switches_faults(tmp_path: Path) -> None:
    command, config = Command(tmp_path), tmp_path / "box.toml"
    lines = (f"e173:{OWN}", f"usr5637:{OTHER}", "sim7600:+33700000004")
    up = command.start(
        "up", *(part for line in lines for part in ("--line", line)), "--directory", str(tmp_path),
        "--write-config", str(config),
    )  # fmt: skip
    try:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        assert [line.keys() & {"at", "pcm", "card"} for line in ready["lines"]] == [
            {"at", "pcm"},
            {"at"},
            {"at", "pcm"},
        ]
        assert ready["environment"] == {}
        tables = tomllib.loads(config.read_text())["lines"]
        assert [table["model"] for table in tables] == ["e173", "usr5637", "sim7600"]
        assert [table.keys() for table in tables][1] == {"name", "model", "number", "at"}
        assert {"hung", "drift-ppm", "sim-removed", "stall-s"} < set(command.invoke("fault", "line1")["known"])
        assert command.invoke("fault", "line1", "hung", "+CLCC")["faults"] == {"hung": ["+CLCC"]}
        assert command.invoke("fault", "line3", "sim-removed")["faults"] == {"sim-removed": True}
        status = command.invoke("status")["lines"]
        assert [line["faults"] for line in status] == [{"hung": ["+CLCC"]}, {}, {"sim-removed": True}]
        assert [line["model"] for line in status] == ["e173", "usr5637", "sim7600"]
        assert command.invoke("fault", "line1", "--clear")["faults"] == {}
        assert "no fault 'gremlins'" in command.fail("fault", "line1", "gremlins")
        assert "NAME=NUMBER" in command.fail("fault", "line1", "slow", "A")
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=LIMIT_S)
