"""Times and numbers of rows as a request may name them: what UTC and the databases can say, and a little less.

Nothing that is named so needs a look at its bounds where it is used: a time leaves room for whatever is added to it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

_LARGEST = 2**63 - 2  # a column of SQLite holds one more
_FIRST, _LAST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def within(at: datetime) -> datetime:
    """The same. Raises `ValueError`. Compared by differences, as the time itself may have no place in UTC."""
    if not timedelta(0) <= (at - _EPOCH) - (_FIRST - _EPOCH) <= _LAST - _FIRST:
        raise ValueError("this is no time that anything here has; give one between the years 1000 and 9999")
    return at


Moment = Annotated[AwareDatetime, AfterValidator(within)]
RowNumber = Annotated[int, Field(ge=1, le=_LARGEST)]
