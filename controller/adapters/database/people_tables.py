"""The tables of people. `people_rows.py` turns them into values and back."""

from __future__ import annotations

from sqlmodel import Field, SQLModel

from controller.adapters.database.tables import Words


class UserRow(SQLModel, table=True):
    """A person. `password` is argon2's text, with its parameters and its salt; empty where another place knows it."""

    __tablename__ = "people"
    name: str = Field(primary_key=True)
    role: str
    created_at: str
    password: str = ""
    source: str = "password"
    logged_in_at: str | None = None


class SessionRow(SQLModel, table=True):
    """A login. The cookie itself is not kept: `digest` is its SHA-256."""

    __tablename__ = "people_sessions"
    digest: str = Field(primary_key=True)
    name: str = Field(index=True)
    created_at: str
    seen_at: str
    address: str = Field(sa_type=Words)
    agent: str = Field(sa_type=Words)


class TokenRow(SQLModel, table=True):
    """An API token, likewise without its text."""

    __tablename__ = "people_tokens"
    id: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    name: str
    owner: str = Field(index=True)
    role: str
    prefix: str
    created_at: str
    expires_at: str | None = None
    used_at: str | None = None


class InvitationRow(SQLModel, table=True):
    """Who may choose a password. One for each name."""

    __tablename__ = "people_invitations"
    digest: str = Field(primary_key=True)
    name: str = Field(unique=True)
    role: str
    expires_at: str
    by: str


class AuditRow(SQLModel, table=True):
    """What somebody did, or tried to do."""

    __tablename__ = "audit"
    id: int | None = Field(default=None, primary_key=True)
    at: str = Field(index=True)
    name: str = Field(sa_type=Words)
    role: str
    how: str = Field(sa_type=Words)
    address: str = Field(sa_type=Words)
    action: str = Field(sa_type=Words)
    subject: str = Field(sa_type=Words)
    why: str = Field(sa_type=Words)
    outcome: str = Field(sa_type=Words)
    refused: bool = Field(default=False, index=True)
