"""The list of the contract's rows names tests that are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.conformance.contract import CONTRACT

TESTS = Path(__file__).resolve().parents[1]
# Each with the count of its parts; 0: it has none.
PARTS = {1: 0, 2: 5, 3: 4, 4: 2, 5: 0, 6: 7, 7: 11, 8: 0}
TABLES = sorted({keeper for keeper in CONTRACT.values() if "::" not in keeper})


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((TESTS / file).read_text())


def functions(file: str) -> set[str]:
    return {node.name for node in tree(file).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows(file: str) -> set[str]:
    """Of the tables in it: texts that begin with a section."""
    texts = (node.value for node in ast.walk(tree(file)) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and re.match(r"\d(\.\d+)?: ", text)}


def test_each_section_has_rows() -> None:
    sections = {f"{section}.{part}" for section, parts in PARTS.items() for part in range(1, parts + 1)}
    whole = {str(section) for section, parts in PARTS.items() if not parts}
    assert {row.partition(": ")[0] for row in CONTRACT} == sections | whole


def test_each_row_is_kept_by_a_test() -> None:
    for row, keeper in CONTRACT.items():
        file, _, function = keeper.partition("::")
        assert function in functions(file) if function else row in rows(file), f"{row}: no {keeper}"


@pytest.mark.parametrize("table", TABLES)
def test_each_row_of_a_table_is_one_of_the_contract(table: str) -> None:
    assert rows(table) == {row for row, keeper in CONTRACT.items() if keeper == table}
