"""Fuzzes what parses foreign bytes in Python, with atheris:

    python -m tests.fuzz [--keep] [SECONDS [NAME...]]      60 s each, all of them

As native/fuzz/run does it for C: it begins with what corpus/NAME has, and leaves what it finds in build/fuzz/NAME; with
--keep the part of it that reaches code which the corpus does not is added there. A fault ends it; the input stands in
build/fuzz/NAME-crash-*, and becomes a file of corpus/NAME when it is mended: tests/test_fuzz.py tries all of them.
"""

import re
import subprocess
import sys
from pathlib import Path

from drivers import parsers
from drivers.models import MODELS
from hil.models import OTHERS, QUECTEL
from tests.fuzz.targets import COMMANDS, TARGETS

CORPUS = Path(__file__).parent / "corpus"
OUT = Path("build/fuzz")
# The longest honest lines, and some of them.
MAX_BYTES = 2048
# Of a fault: how it came about, and its input.
REPORT_LINES = 30


def main(arguments: list[str]) -> int:
    keep = arguments[:1] == ["--keep"]
    seconds, *names = arguments[keep:] or ["60"]
    if unknown := sorted(set(names) - TARGETS.keys()):
        print(f"no target {', '.join(unknown)}: there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    dictionary = OUT / "words.dict"
    OUT.mkdir(parents=True, exist_ok=True)
    # In hexadecimal throughout: libFuzzer's dictionaries know no other escape.
    entries = ("".join(f"\\x{byte:02x}" for byte in word.encode("latin-1")) for word in words())
    dictionary.write_text("".join(f'"{entry}"\n' for entry in entries))
    for name in names or TARGETS:
        found, corpus = OUT / name, CORPUS / name
        for folder in (found, corpus):
            folder.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-dict={dictionary}"]
        options += [f"-artifact_prefix={found}-", "-print_final_stats=1"]
        done = _run(name, *options, found, corpus)
        (OUT / f"{name}.log").write_text(done.stdout)
        if done.returncode:
            print("\n".join(done.stdout.splitlines()[-REPORT_LINES:]))
            return 1
        tries = re.findall(r"stat::number_of_executed_units: *(\d+)", done.stdout)
        print(f"{name}: {seconds} s, {tries[-1]} inputs, no fault", flush=True)
        if keep:
            _run(name, "-merge=1", "-use_counters=0", corpus, found)
    return 0


def _run(name: str, *options: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.fuzz.libfuzzer", name, *map(str, options)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def words() -> set[str]:
    """What is said on the ports: else a fuzzer would have to find out by chance."""
    rows = [word for model in MODELS.values() for word in (*model.urcs, *model.noise, *model.set_up, *model.survey)]
    commands = [f"AT{name}" for family in (QUECTEL | OTHERS).values() for name in family.commands]
    return {*rows, *commands, *COMMANDS, *parsers._PARSERS, *parsers._WORDS, "OK", "\r\n", "=?", "> "}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
