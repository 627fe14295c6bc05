"""What the engine's thread never does: allocate, free, take a lock, ask the system for more than its ports."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIMIT_S = 60


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("trap") / "trap.so"
    warnings = ["-Wall", "-Wextra", "-Werror", "-fno-builtin"]
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", *warnings, "-o", library, HERE / "trap.c"], check=True)
    return library


def trapped(trap: Path, kind: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LD_PRELOAD": str(trap), "TRAP": kind, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / "trapped_engine.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode == 77:
        pytest.skip("this kernel has no seccomp filters")
    return done


@pytest.mark.parametrize("kind", ["memory", "calls"])
def test_the_tick_takes_no_memory_and_asks_the_system_for_its_ports_alone(trap: Path, kind: str) -> None:
    done = trapped(trap, kind)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("kind", "end"), [("memory", signal.SIGABRT), ("calls", signal.SIGSYS)])
def test_the_trap_itself_works(trap: Path, kind: str, end: signal.Signals) -> None:
    assert trapped(trap, kind, "break").returncode == -end
