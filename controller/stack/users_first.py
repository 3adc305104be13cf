"""The first admin: there is no password before somebody chose it, so `stoker up` prints who may."""

from __future__ import annotations

from controller.settings import Settings
from controller.stack import api_client
from controller.stack.trouble import Trouble

NAME = "admin"


def lines(settings: Settings, token: str) -> list[str]:
    """What to say while there is no user; nothing where there is one. Blocks for a few seconds at most."""
    try:
        if api_client.ask(settings, "/api/v1/users", token=token):
            return []
        wanted = {"name": NAME, "role": "admin", "why": "nobody may log in yet"}
        made = api_client.ask(settings, "/api/v1/invitations", wanted, token)
    except Trouble as error:
        return [f"  first admin `stoker users invite NAME --role admin` prints a link: {error}"]
    return [f"  first admin {link(settings, made['code'])}  (once, within 24 hours)"]


def link(settings: Settings, code: str) -> str:
    """Where whoever has the code chooses a password. No browser sends what is behind #, and no log has it."""
    return f"{api_client.dashboard(settings)}/join#{code}"
