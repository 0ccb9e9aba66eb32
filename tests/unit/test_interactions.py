"""Every step of the commissioning documents that concerns ActiveSync is shown by a test that cites it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.interactions import STEPS, page

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "interactions.md"


def cited(tree: ast.AST) -> Iterator[str]:
    """The steps in the marks of a module's tests."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "shows":
            yield from (one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str))


def citations() -> dict[str, set[str]]:
    """Per step the modules with a test that cites it."""
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for step in cited(ast.parse(path.read_bytes())):
            found.setdefault(step, set()).add(str(path.relative_to(TESTS.parent)))
    return found


def test_every_step_is_cited_and_nothing_else_is() -> None:
    """A step without a test is not shown, and a citation of nothing shows nothing."""
    assert set(citations()) == set(STEPS)
    assert len(STEPS) >= 30


def test_the_page_is_what_the_table_and_the_tests_say() -> None:
    """`python -m tests.interactions > docs/interactions.md` makes it anew."""
    assert PAGE.read_text() == page(citations())
