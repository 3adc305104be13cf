"""A real PostgreSQL for the tests: Debian's binaries, a folder of its own, ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from tests.waiting import wait_for

USER, PASSWORD = "stoker", "sesame-7Q"
_ENOUGH = "it is needed for the tests: `deploy/install.sh test` installs it, as root"
_CONFIG = """\
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
synchronous_commit = off
shared_buffers = 16MB
max_connections = 60
autovacuum = off
logging_collector = off
"""
_ACCESS = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class NoPostgres(Exception):
    """There are no binaries of its server."""


class PostgresServer:
    """Listens on loopback, where passwords are asked for, and on a socket for its own superuser."""

    def __init__(self) -> None:
        self._bin = _binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="st-pg-", dir="/tmp"))
        self._data, self._made = self._folder / "data", 0  # schemas and databases
        # The server refuses to run as root.
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            account = _account()
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{_CONFIG}port = {self.port}\nunix_socket_directories = '{self._folder}'\n")
        (self._data / "pg_hba.conf").write_text(_ACCESS)
        self._process = self._start()
        with self.admin() as admin:
            admin.execute(sql.SQL("CREATE ROLE stoker LOGIN PASSWORD {}").format(PASSWORD))
            admin.execute("CREATE DATABASE stoker OWNER stoker")

    def new_schema(self) -> str:
        """An empty one in a database that all tests share, made at once; a URL that leads to it."""
        self._made += 1
        with self.admin("stoker") as admin:
            admin.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION stoker").format(sql.Identifier(f"s{self._made}")))
        return f"{self.url('stoker')}?options=-csearch_path%3Ds{self._made}"

    def new_database(self) -> str:
        """An empty one that `USER` owns; its URL."""
        self._made += 1
        with self.admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER stoker").format(sql.Identifier(f"d{self._made}")))
        return self.url(f"d{self._made}")

    def url(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        """Where a database is, as a user of Stoker writes it."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def admin(self, database: str = "postgres") -> AbstractContextManager[psycopg.Connection[Any]]:
        """A connection that may do everything; each statement is its own transaction."""
        where = {"host": str(self._folder), "port": self.port, "user": "postgres", "dbname": database}
        return psycopg.connect(**where, autocommit=True)

    def kill(self) -> None:
        """It and all its connections die at once, as when its machine does."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def revive(self) -> None:
        """Start it once more."""
        self._process = self._start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and questions, as its machine's kernel does, and says nothing within."""
        found = psutil.Process(self._process.pid)
        processes = [found, *found.children()]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def close(self) -> None:
        """End it and take its folder away."""
        if self._process.poll() is None:
            self.kill()  # what it would tidy up is deleted
        shutil.rmtree(self._folder)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            # It ends with this process, however that ends.
            command = ["setpriv", "--pdeathsig", "QUIT", self._bin / "postgres", "-D", self._data]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._as)
        wait_for(lambda: process.poll() is not None or self._answers(), 60, "PostgreSQL answers")
        if process.poll() is not None:
            raise AssertionError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()[-1000:]}")
        return process

    def _answers(self) -> bool:
        try:
            with self.admin():
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, name: str, *arguments: str | Path) -> None:
        command = [self._bin / name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder, timeout=120, **self._as)
        if done.returncode:
            raise AssertionError(f"{name} failed: {done.stderr[-1000:]}")


def _binaries() -> Path:
    """Debian puts the server's binaries outside PATH, a folder for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        raise NoPostgres(f"PostgreSQL's server is missing; {_ENOUGH}")
    return found[-1].parent


def _account() -> pwd.struct_passwd:
    """Debian's own user of it, else one that owns nothing."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
