"""Every step of the commissioning documents that concerns ActiveSync is shown by a test that cites it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.interactions import STEPS, page

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "interactions.md"


def cited(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The steps in the marks of a module's tests, each with the test's name."""
    for test in ast.walk(tree):
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "shows":
                    yield from ((str(one.value), test.name) for one in mark.args if isinstance(one, ast.Constant))


def citations() -> dict[str, set[str]]:
    """Per step the tests that cite it."""
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for step, name in cited(ast.parse(path.read_bytes())):
            found.setdefault(step, set()).add(f"{path.relative_to(TESTS.parent)}::{name}")
    return found


def test_every_step_is_cited_and_nothing_else_is() -> None:
    """A step without a test is not shown, and a citation of nothing shows nothing."""
    assert set(citations()) == set(STEPS)
    assert len(STEPS) >= 40


def test_the_page_is_what_the_table_and_the_tests_say() -> None:
    """`python -m tests.interactions > docs/interactions.md` makes it anew."""
    assert PAGE.read_text() == page(citations())
