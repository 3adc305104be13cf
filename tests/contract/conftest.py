"""What the contract suites of stores share. Those for real databases alone have a `database` of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.databases import Database, database_of


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    yield from database_of(request, tmp_path)


@pytest.fixture
def store(database: Database) -> Any:
    return database.store()
