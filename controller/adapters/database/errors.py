"""What can go wrong with a database."""

from __future__ import annotations

from controller.core.errors import PermanentError, TransientError


class DatabaseUnavailable(TransientError):
    """It gave no answer in time, or could not do it now.

    What was to be written is not, or, where the answer to a commit was lost, all of it is: the next `load` tells.
    """


class DatabaseUnusable(DatabaseUnavailable):
    """A file that nobody reads: damaged, of another version, or without the right to. Whoever opens it for writing puts
    it aside, if it can, and begins anew."""


class DatabaseRefused(PermanentError):
    """It can never be used as it is: no such URL, tables of another version, a missing right."""
