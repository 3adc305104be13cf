"""StateStore and Lease on SQLModel: SQLite in the state directory, or PostgreSQL. Tables never leave this folder."""

from controller.adapters.database import people_tables as people_tables  # SQLModel knows a table once it is imported
from controller.adapters.database.errors import DatabaseRefused, DatabaseUnavailable
from controller.adapters.database.lease import DatabaseLease, FileLease, FileLock
from controller.adapters.database.store import SqlStore

__all__ = ["DatabaseLease", "DatabaseRefused", "DatabaseUnavailable", "FileLease", "FileLock", "SqlStore"]
