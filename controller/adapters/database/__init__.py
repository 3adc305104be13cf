"""StateStore and Lease on SQLModel: SQLite in the state directory. Tables never leave this folder."""

from controller.adapters.database.lease import FileLease, FileLock
from controller.adapters.database.store import SqlStore

__all__ = ["FileLease", "FileLock", "SqlStore"]
