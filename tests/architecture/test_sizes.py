"""Small functions, small files, one place that may catch everything, and exceptions that are made anew."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("controller", "dashboards", "exporters", "gateway", "inference_node")
FILE_LINES, FUNCTION_LINES, CORE_FUNCTION_LINES, PARAMETERS = 300, 40, 25, 6
MAY_CATCH_EVERYTHING = "controller/reconcile/tick.py"


@dataclass(frozen=True)
class Function:
    file: str
    name: str
    line: int
    lines: int  # with signature and docstring
    parameters: int  # without self

    @property
    def limit(self) -> int:
        return CORE_FUNCTION_LINES if self.file.startswith("controller/core/") else FUNCTION_LINES

    def __str__(self) -> str:
        return f"{self.lines:3} lines, {self.parameters} parameters: {self.name} ({self.file}:{self.line})"


@cache
def sources() -> tuple[tuple[str, str], ...]:
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in found)


@cache
def functions() -> tuple[Function, ...]:
    return tuple(function for file, text in sources() for function in _functions(file, ast.parse(text)))


def _functions(file: str, tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [given.arg for given in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            yield Function(file, node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1, count)


def test_functions_are_short() -> None:
    longest = sorted(functions(), key=lambda function: -function.lines)[:5]
    print("\nThe five longest functions:", *longest, sep="\n  ")

    assert [str(function) for function in functions() if function.lines > function.limit] == []


def test_functions_take_few_parameters() -> None:
    assert [str(function) for function in functions() if function.parameters > PARAMETERS] == []


def test_files_are_short() -> None:
    lengths = {file: len(text.splitlines()) for file, text in sources()}

    assert {file: lines for file, lines in lengths.items() if lines > FILE_LINES} == {}


def test_only_the_tick_catches_everything() -> None:
    broad = {file for file, text in sources() for _ in _broad_handlers(ast.parse(text))}

    assert broad <= {MAY_CATCH_EVERYTHING}


def test_no_exception_is_raised_twice() -> None:
    """One that is kept grows by the frames of each raise, with all that they hold."""
    raised = [(file, node.lineno) for file, text in sources() for node in ast.walk(ast.parse(text)) if _is_kept(node)]

    assert raised == []


def _is_kept(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id.isupper()


def _broad_handlers(tree: ast.Module) -> Iterator[ast.ExceptHandler]:
    """Those that catch everything and keep it: one that raises again only tidies up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"all"}
            keeps = not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in node.body)
            if keeps and caught & {"all", "Exception", "BaseException"}:
                yield node


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("try: f()\nexcept Exception: pass", 1),
        ("try: f()\nexcept (OSError, BaseException): pass", 1),
        ("try: f()\nexcept: pass", 1),
        ("try: f()\nexcept BaseException:\n  g()\n  raise", 0),
        ("try: f()\nexcept OSError: pass", 0),
    ],
)
def test_the_search_for_broad_handlers_finds_them(code: str, count: int) -> None:
    assert len(list(_broad_handlers(ast.parse(code)))) == count
