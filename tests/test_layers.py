"""The table of ranks in docs/design.md section 2, enforced on every import in the tree."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("native", "drivers", "appliance", "hil")
WAITING = {"trio", "os", "socket", "sqlite3", "subprocess", "time"}

# (rank, place in the row), may it wait, may it see its own row
Place = tuple[int, int]


def ranks() -> dict[str, tuple[Place, bool, bool]]:
    places: dict[str, tuple[Place, bool, bool]] = {}
    table = (ROOT / "docs/design.md").read_text().split("| rank | files |")[1].split("\n\n")[0]
    for rank, files, waits in re.findall(r"^\| (\d+) \| (.+?) \| (yes|no) \|$", table, re.M):
        package, _, names = files.partition(": ")
        siblings = "none knows another" not in names
        for place, name in enumerate(
            re.findall(r"\w+", names.removesuffix("; none knows another").replace("then ", ""))
        ):
            places[f"{package}.{name}"] = ((int(rank), place), waits == "yes", siblings)
        if not names:
            places[package] = ((int(rank), 0), waits == "yes", siblings)
    return places


RANKS = ranks()


def modules() -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def imports(module: str) -> set[str]:
    """Modules named by import statements, wherever they stand; type-checking blocks count like any other."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("a relative import")
    return names


def home(name: str) -> str | None:
    """The ranked file that an imported name belongs to."""
    parts = name.split(".")
    if parts[0] == "native":
        return "native"
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((candidate for candidate in candidates if candidate in RANKS), None)


def test_the_table_is_read():
    assert RANKS["native"] == ((0, 0), False, True)
    assert RANKS["drivers.gsm"][0] > RANKS["drivers.port"][0] > RANKS["drivers.models"][0]
    assert not RANKS["appliance.contracts.sfvopi"][2]


@pytest.mark.parametrize(
    "module", [m for m in modules() if not m.startswith(("hil", "native")) and "__init__" not in m]
)
def test_a_file_imports_only_files_of_lower_rank(module):
    assert module in RANKS, f"{module} has no rank in docs/design.md"
    place, _, siblings = RANKS[module]
    for name in imports(module):
        assert name != "a relative import"
        if name.split(".")[0] == "hil":
            assert module == "appliance.__main__", f"{module} imports {name}"
        target = home(name)
        if target is None or target == module:
            continue
        below = RANKS[target][0]
        assert below < place, f"{module} imports {target}, which is not of lower rank"
        assert siblings or below[0] < place[0], f"{module} knows its neighbour {target}"


@pytest.mark.parametrize("module", [m for m in modules() if m in RANKS and not RANKS[m][1]])
def test_a_pure_file_can_not_wait(module):
    waits = {name.split(".")[0] for name in imports(module)} & WAITING
    assert not waits, f"{module} imports {sorted(waits)}"


@pytest.mark.parametrize("module", [m for m in modules() if m.startswith("hil")])
def test_the_bench_knows_nothing_of_the_service(module):
    assert not {name for name in imports(module) if name.split(".")[0] == "appliance"}


@pytest.mark.parametrize("module", [m for m in modules() if m.startswith("native")])
def test_the_engine_knows_nothing_above_it(module):
    assert not {name for name in imports(module) if name.split(".")[0] in ("drivers", "appliance", "hil")}
