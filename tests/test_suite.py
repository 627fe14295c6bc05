"""The suite as the owner of a bench runs it: by a file, in a process of its own, on ttys that are somebody else's."""

import subprocess
import sys
from pathlib import Path

import trio

from hil.bench import Bench, BenchLine

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120
# Of each file some.
CHOICE = "jack or module and (busy or on_hear or long or anew)"


async def test_lines_of_a_file_call_one_another_and_what_cannot_be_done_is_skipped(tmp_path):
    plans = [
        BenchLine("module", "+33700000002", "ec25"),
        BenchLine("stick", "+33700000003", "e173"),
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
