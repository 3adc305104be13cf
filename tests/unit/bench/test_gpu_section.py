"""Where the bench of the GPU exporter puts its section."""

from __future__ import annotations

from tests.bench.gpu import BEGIN, END, put

OLD, NEW = f"{BEGIN}\nold\n{END}", f"{BEGIN}\nnew\n{END}"


def test_it_takes_the_place_of_the_one_before() -> None:
    page = f"# Benchmarks\n\n{OLD}\n\n## Simulator\n\nkept\n"

    assert put(page, NEW) == page.replace("old", "new")


def test_without_one_it_comes_before_the_simulator() -> None:
    assert put("# Benchmarks\n\n## Simulator\n\nkept\n", NEW) == f"# Benchmarks\n\n{NEW}\n\n## Simulator\n\nkept\n"


def test_or_at_the_end() -> None:
    assert put("# Benchmarks\n", NEW) == f"# Benchmarks\n\n{NEW}\n"
