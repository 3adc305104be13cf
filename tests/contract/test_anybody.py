"""Whether anybody may log in, asked of a database that another controller has, or nobody yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.database import DatabaseUnavailable
from controller.adapters.database.anybody import anybody
from controller.adapters.database.errors import DatabaseUnusable
from controller.core.people import INVITED_FOR, STATE_DIRECTORY, Invitation, Role, User
from tests.contract.databases import Sqlite, database_of
from tests.fakes.clock import START


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    yield from database_of(request, tmp_path)


def test_nobody_then_somebody(database: Any) -> None:
    assert anybody(database.where, START) is False  # no table, or no file, yet
    store = database.store()
    assert anybody(database.where, START) is False
    database.people(store).save_user(User("ada", Role.ADMIN, START))
    assert anybody(database.where, START) is True  # while the other one has it open


def test_who_was_invited_is_somebody(database: Any) -> None:
    people = database.people(database.store())
    people.invite(Invitation("digest", "ada", Role.ADMIN, START + INVITED_FOR, STATE_DIRECTORY))
    assert anybody(database.where, START) is True


def test_whose_invitation_is_over_is_nobody(database: Any) -> None:
    people = database.people(database.store())
    people.invite(Invitation("digest", "ada", Role.ADMIN, START + INVITED_FOR, STATE_DIRECTORY))
    assert anybody(database.where, START + INVITED_FOR) is False


def test_a_database_that_does_not_answer_says_neither(database: Any) -> None:
    database.store()
    if isinstance(database, Sqlite):
        database.close()
        database.path.write_text("this is no database, and never was one")
        with pytest.raises(DatabaseUnusable, match="does not say who its users are: DatabaseError"):
            anybody(database.where, START)
        return
    with database.gone(), pytest.raises(DatabaseUnavailable, match="does not say who its users are: OperationalError"):
        anybody(database.where, START)


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert anybody(tmp_path / "none.db", START) is False
    assert not list(tmp_path.iterdir())
