"""`pytest hil` runs the suite on every simulated model, `pytest hil --bench FILE` on real lines (docs/bench.md)."""

from pathlib import Path

import pytest

from hil.models import MODELS
from hil.tests.suite import WIRES, suite
from hil.wires import WiresError, read


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench", type=Path, metavar="FILE", help="real lines, as a TOML file tells them (docs/bench.md)")


def pytest_configure(config: pytest.Config) -> None:
    path: Path | None = config.getoption("--bench", None)
    try:
        config.stash[WIRES] = read(path.read_text()) if path is not None else None
    except OSError as exc:
        raise pytest.UsageError(f"{path}: {exc.strerror}") from exc
    except WiresError as exc:
        raise pytest.UsageError("\n".join(f"{path}: {problem}" for problem in str(exc).splitlines())) from exc


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "line" in metafunc.fixturenames:
        wires = metafunc.config.stash[WIRES]
        metafunc.parametrize("line", list(MODELS) if wires is None else [each.name for each in wires])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    table = suite.table()
    if not table:
        return
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    terminalreporter.section("lines")
    for row in table:
        terminalreporter.line("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
