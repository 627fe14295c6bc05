"""The list of the contract's rows names tests that are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.conformance.contract import CONTRACT

TESTS = Path(__file__).resolve().parents[1]
# Sections without a number below them, and the last of the others.
SECTIONS = ["1", *(f"2.{n}" for n in range(1, 6)), *(f"3.{n}" for n in range(1, 5)), "4.1", "4.2", "5"]
SECTIONS += [*(f"6.{n}" for n in range(1, 8)), *(f"7.{n}" for n in range(1, 12)), "8"]
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
    assert {row.partition(": ")[0] for row in CONTRACT} == set(SECTIONS)


def test_each_row_is_kept_by_a_test() -> None:
    for row, keeper in CONTRACT.items():
        file, _, function = keeper.partition("::")
        assert function in functions(file) if function else row in rows(file), f"{row}: no {keeper}"


@pytest.mark.parametrize("table", TABLES)
def test_each_row_of_a_table_is_one_of_the_contract(table: str) -> None:
    assert rows(table) == {row for row, keeper in CONTRACT.items() if keeper == table}
