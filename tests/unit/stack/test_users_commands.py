"""`stoker users`, `tokens` and `audit` against a real API on fakes; and invitations while nothing runs."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from controller.adapters.database import FileLock, SqlStore
from controller.adapters.database.people import SqlPeople
from controller.cli import app
from controller.core.people import AuditFilter, Role, User, digest_of
from controller.installation import Layout
from controller.settings import load
from controller.stack import users_first, users_requests
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble
from tests.fakes.clock import START
from tests.unit.api.callers import TOKEN
from tests.unit.api.people_world import World
from tests.waiting import wait_for

CONFIG = "pools: [{{name: small, model: small, checkpoint: a.gguf}}]\nports: {{controller: {port}}}\n"


class Installed:
    """A state directory whose controller answers."""

    def __init__(self, folder: Path, port: int) -> None:
        self.layout, self.world = Layout(folder), World()
        self.layout.config.write_text(CONFIG.format(port=port))
        self.layout.api_token.write_text(f"{TOKEN}\n")

    def stoker(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--state-dir", str(self.layout.root)])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    listening = socket.create_server(("127.0.0.1", 0))
    made = Installed(tmp_path, listening.getsockname()[1])
    monkeypatch.setattr(Supervisor, "running", lambda self: True)
    server = uvicorn.Server(uvicorn.Config(made.world.app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    wait_for(lambda: server.started, 10, "the API")
    yield made
    server.should_exit = True
    thread.join(10)
    listening.close()


def test_who_may_log_in(installed: Installed) -> None:
    assert "Nobody may log in yet" in installed.stoker("users", "list").output
    invited = installed.stoker("users", "invite", "Ada", "--role", "operator", "--why", "on call")
    link = invited.output.splitlines()[-1]
    (made,) = installed.world.people.rows.invitations.values()
    assert (made.name, made.role, made.digest) == ("ada", Role.OPERATOR, digest_of(link.partition("#")[2]))
    assert link.startswith(f"http://127.0.0.1:{load(installed.layout.config).ports.controller}/join#")
    assert "state-directory" in installed.stoker("users", "invitations").output
    assert [row["name"] for row in json.loads(installed.stoker("users", "invitations", "--json").output)] == ["ada"]
    assert installed.stoker("users", "withdraw", "ada").output == "The invitation of ada is withdrawn.\n"
    assert "Nobody is invited" in installed.stoker("users", "invitations").output

    installed.world.people.rows.users |= {name: User(name, Role.ADMIN, START) for name in ("ada", "root")}
    assert installed.stoker("users", "role", "ada", "viewer").output == "ada is viewer from now on.\n"
    assert [row["role"] for row in json.loads(installed.stoker("users", "list", "--json").output)] == [
        "viewer", "admin"
    ]  # fmt: skip
    assert installed.stoker("users", "remove", "ada", "--why", "left").output == "ada is removed.\n"
    assert list(installed.world.people.rows.users) == ["root"]
    with pytest.raises(Trouble, match="root is the last admin"):
        raise installed.stoker("users", "remove", "root").exception or AssertionError
    assert installed.stoker("users", "role", "root", "king").exit_code == 2


def test_tokens(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed.stoker("tokens", "create", "CI", "--role", "operator", "--expires", "30d", "--json")
    row = json.loads(made.output)
    assert (row["name"], row["role"]) == ("ci", "operator")
    listed = installed.stoker("tokens", "list").output
    assert row["id"] in listed
    assert row["token"] not in listed

    monkeypatch.setenv("STOKER_TOKEN", row["token"])  # which wins over the file
    assert "a token makes no tokens" in str(installed.stoker("tokens", "create", "another").exception)
    assert [token["id"] for token in json.loads(installed.stoker("tokens", "list", "--json").output)] == [row["id"]]
    monkeypatch.delenv("STOKER_TOKEN")
    installed.stoker("tokens", "create", "ci")
    assert "the name of several tokens" in str(installed.stoker("tokens", "revoke", "ci").exception)
    assert "is good for nothing any more" in installed.stoker("tokens", "revoke", row["id"]).output
    assert "there is no token gone" in str(installed.stoker("tokens", "revoke", "gone").exception)
    actions = [entry["action"] for entry in json.loads(installed.stoker("audit", "--json").output)]
    assert actions == ["token remove", "token create", "refused", "token create"]


def test_the_audit_log_is_printed_as_text(installed: Installed) -> None:
    assert "Nothing of that" in installed.stoker("audit", "--name", "nobody").output
    installed.stoker("users", "invite", "ada", "--why", "[red]because[/red]")

    printed = installed.stoker("audit", "--text", "BECAUSE").output
    assert "[red]because[/red]" in printed
    assert "state-directory" in printed


def test_the_first_admin_is_invited_while_there_is_no_user(installed: Installed) -> None:
    settings = load(installed.layout.config)
    (line,) = users_first.lines(settings, TOKEN)
    assert "/join#" in line
    (made,) = installed.world.people.rows.invitations.values()
    assert (made.name, made.role) == ("admin", Role.ADMIN)

    (again,) = users_first.lines(settings, TOKEN)
    assert digest_of(again.partition("#")[2].split()[0]) in installed.world.people.rows.invitations
    installed.world.people.rows.users["ada"] = User("ada", Role.ADMIN, START)
    assert users_first.lines(settings, TOKEN) == []
    assert "`stoker users invite NAME --role admin` prints a link" in users_first.lines(settings, "wrong")[0]


def test_an_invitation_while_nothing_runs_is_written_into_the_database(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(CONFIG.format(port=8123))
    layout = Layout(tmp_path / "state")

    made = users_requests.invite(layout.root, config, "Ada", "admin", "before the first start")

    assert made.row["link"] == f"http://127.0.0.1:8123/join#{made.row['code']}"
    store = SqlStore(layout.database)
    people = SqlPeople(store)
    found = people.invitation(digest_of(made.row["code"]))
    assert found is not None
    assert (found.name, found.role) == ("ada", Role.ADMIN)
    (noted,) = people.audit(AuditFilter(), limit=9)
    assert (noted.how, noted.subject) == ("database", "user/ada")
    people.save_user(User("eve", Role.VIEWER, START, source="oidc"))
    store.close()
    for name, role, said in (("eve", None, "logs in by oidc"), ("a b", None, "a name is 1 to 64")):
        with pytest.raises(Trouble, match=said):
            users_requests.invite(layout.root, config, name, role, "")


def test_a_database_that_a_controller_has_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "stoker.yaml"
    config.write_text(CONFIG.format(port=8123))
    monkeypatch.setattr("controller.adapters.database.lease._LOCK_TIMEOUT_S", 0.2)
    lock = FileLock(Layout(tmp_path).lock)
    lock.acquire()

    with pytest.raises(Trouble, match="a controller runs on"):
        users_requests.invite(tmp_path, config, "ada", None, "")
    lock.release()


def test_a_database_of_another_machine_needs_the_controller(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    more = "controller: {database: postgresql, database_url_file: /url, instance: 0123456789ab}\n"
    config.write_text(CONFIG.format(port=8123) + more)

    with pytest.raises(Trouble, match="`stoker up` first"):
        users_requests.invite(tmp_path, config, "ada", None, "")
