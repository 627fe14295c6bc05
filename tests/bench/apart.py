"""A program of the benchmark in a process of its own: obeys words on its standard input, answers in lines of JSON."""

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

_CORES = sorted(os.sched_getaffinity(0))
# What is measured has a core to itself, where there is more than one; all else shares the others.
MEASURED = {_CORES[0]}
OTHERS = set(_CORES[1:]) or MEASURED


class Apart:
    """`python -m MODULE ARGUMENTS`. Its standard input is closed on the way out, which is the end of it."""

    def __init__(self, module: str, *arguments: str, cores: set[int] | None = None) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if cores:
            os.sched_setaffinity(self._process.pid, cores)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def hear(self) -> Any:
        """The next thing it says. Raises: EOFError: nothing more, its own words are on the standard error."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"{' '.join(map(str, self._process.args[2:]))}: ended without an answer")  # type: ignore[index]
        return json.loads(line)

    def ask(self, *words: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()
        return self.hear()


def say(what: object) -> None:
    """In such a process."""
    print(json.dumps(what), flush=True)
