"""The suite as the owner of a bench runs it: by a file, in a process of its own, on ttys that are somebody else's."""

import subprocess
import sys
from pathlib import Path

import outcome
import pytest
import trio

from hil.bench import Bench, BenchLine
from hil.site import Place
from hil.tests.suite import NotReady, Suite
from hil.wires import read

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120
OWN, OTHER = "+33700000002", "+33700000003"
# Of each file some.
CHOICE = "jack or module and (busy or on_hear or long or anew)"


async def test_lines_of_a_file_call_one_another_and_what_cannot_be_done_is_skipped(tmp_path):
    plans = [
        BenchLine("module", OWN, "ec25"),
        BenchLine("stick", OTHER, "e173"),
        BenchLine("jack", "+33159133354", "cx93010"),
    ]
    with trio.fail_after(LIMIT_S):
        async with Bench(plans, directory=tmp_path) as bench:
            module, stick, jack = (line.configuration for line in bench.lines)
            file = tmp_path / "bench.toml"
            file.write_text(f'{module}partner = "stick"\n{stick}{jack}')
            command = [sys.executable, "-m", "pytest", "hil", "--bench", file, "-k", CHOICE, "-p", "no:cacheprovider"]
            done = await trio.run_process(
                [*command, "--basetemp", tmp_path / "suite", "-rs"],
                cwd=ROOT,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
    said = done.stdout.decode()
    assert done.returncode == 0, said[-3000:]
    assert "this line has no partner" in said
    (row,) = [line for line in said.splitlines() if line.startswith("module ")]
    assert row.split().count("ok") >= 3


async def test_a_line_that_is_not_there_is_waited_for_by_its_first_test_alone(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, autojump_clock: object
) -> None:
    suite = Suite()

    async def never(place: Place) -> None:
        raise AssertionError("is not to be begun")

    shows = [suite(title)(never) for title in ("busy", "rings", "answers")]
    text = "".join(
        f'[[lines]]\nname = "{name}"\nmodel = "ec25"\nnumber = "{number}"\nat = "{tmp_path}/at-{name}"\n'
        f'pcm = "{tmp_path}/pcm-{name}"\npartner = "{partner}"\n'
        for name, number, partner in (("one", OWN, "two"), ("two", OTHER, "one"))
    )
    wires = read(text)
    wanted = {"one": [(show, "one") for show in shows], "two": [(show, "two") for show in shows]}
    await suite._run(wanted, wires, tmp_path_factory)
    assert set(suite._seconds) == {(shows[0], "one"), (shows[0], "two")}
    assert set(suite._outcomes) == {key for keys in wanted.values() for key in keys}
    for result in suite._outcomes.values():
        assert isinstance(result, outcome.Error)
        assert isinstance(result.error, NotReady)
        assert "to be ready within 90 s" in str(result.error)
