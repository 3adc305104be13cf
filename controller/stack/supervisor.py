"""supervisord: keeps nginx, Prometheus, the edge exporter and the controller (and a dockerd of our own) up.

No program starts by itself (`autostart=false`): `up` starts each when what it needs is there. Once started, each is
restarted whenever it dies, however it dies.
"""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from controller.installation import Layout
from controller.stack.trouble import Trouble
from controller.stack.unix_http import LONGEST_SOCKET_PATH, UnixTransport
from controller.stack.waiting import wait_until

# supervisord binds a temporary name, the socket's own with its pid behind it, before it links the final one.
_PID_SUFFIX = len(".4194304")
_ANSWER_S = 10.0
_START_S = 15.0


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep up. Its log is NAME.log in the installation's log folder."""

    name: str
    command: Sequence[str]
    directory: Path
    stop_wait_s: int = 10  # between SIGTERM and SIGKILL
    stop_group: bool = False  # send SIGTERM to its children, too


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says of a program: RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL."""

    name: str
    state: str
    pid: int


class Supervisor:
    """The supervisord of one installation."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = layout.supervisor / "supervisor.sock"
        self._config = layout.supervisor / "supervisord.conf"

    def running(self) -> bool:
        """Whether it answers. Blocks for at most 10 s, and not at all where there is no socket."""
        return self._socket.exists() and self._call("getState") is not None

    def start(self, programs: Sequence[Program], environment: Mapping[str, str]) -> None:
        """Write its configuration and start it in a session of its own, with no program running yet.

        Raises:
            Trouble: it did not come up; what it said is in the text.
        """
        self._layout.supervisor.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._layout.logs.mkdir(parents=True, exist_ok=True)
        for program in programs:
            program.directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(render(self._layout, programs, as_root=os.geteuid() == 0), encoding="utf-8")
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        started = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=_START_S)
        if started.returncode != 0 or not wait_until(self.running, _START_S):
            words = " ".join(started.stderr.split()) or last_line(self._layout.logs / "supervisord.log")
            raise Trouble(f"the process supervisor does not start: {words}")

    def start_programs(self, names: Sequence[str]) -> None:
        """Start all of them at once and return when each has run for a second.

        Raises:
            Trouble: one ended at once; the last line of its log is in the text.
        """
        for name in names:
            try:
                self._ask("startProcess", name, False)
            except xmlrpc.client.Error as error:  # a Fault: no such file, not executable
                raise Trouble(f"{name} cannot be started: {getattr(error, 'faultString', error)}") from error
        if not wait_until(lambda: self._all_up(names), _START_S):
            late = [name for name in names if self._state(name) != "RUNNING"]
            raise Trouble(f"not running after {_START_S:.0f} s: {', '.join(late)}; see {self._layout.logs}")

    def stop_program(self, name: str) -> None:
        """SIGTERM, and SIGKILL when its time is up. One that does not run is success. Blocks for `stop_wait_s`."""
        self._call("stopProcess", name, timeout_s=60.0)

    def shutdown(self) -> None:
        """Stop what still runs, then end. Returns when its process is gone, or after 60 s."""
        pid = self._call("getPID")
        self._call("shutdown")
        if pid is not None:
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), 60.0)

    def states(self) -> tuple[ProgramState, ...]:
        """Every program, in alphabetical order; none where it does not answer."""
        return tuple(
            ProgramState(item["name"], item["statename"], item["pid"]) for item in self._call("getAllProcessInfo") or ()
        )

    def last_words(self, name: str) -> str:
        """The last line of a program's log, and where the rest is."""
        log = self._layout.logs / f"{name}.log"
        return f"{last_line(log) or 'it said nothing'} (all of it in {log})"

    def _state(self, name: str) -> str:
        return next((program.state for program in self.states() if program.name == name), "")

    def _all_up(self, names: Sequence[str]) -> bool:
        states = {name: self._state(name) for name in names}
        for name, state in states.items():
            if state not in ("STARTING", "RUNNING"):
                raise Trouble(f"{name} does not start: {self.last_words(name)}")
        return set(states.values()) == {"RUNNING"}

    def _call(self, method: str, *arguments: object, timeout_s: float = _ANSWER_S) -> Any:
        """The answer; None where it does not answer, or answers with a fault."""
        try:
            return self._ask(method, *arguments, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

    def _ask(self, method: str, *arguments: object, timeout_s: float = _ANSWER_S) -> Any:
        transport = UnixTransport(self._socket, timeout_s)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return cast(Callable[..., Any], getattr(proxy.supervisor, method))(*arguments)


def require_short_path(layout: Layout) -> None:
    """Raises `Trouble` where the state directory's path is too long for the unix sockets inside, or has a % in it."""
    if "%" in str(layout.root):
        raise Trouble(
            f"the path of the state directory {layout.root} has a % in it, which supervisord takes for a name"
        )
    longest = max(
        len(os.fsencode(layout.supervisor / "supervisor.sock")) + _PID_SUFFIX,
        len(os.fsencode(layout.engine / "run/containerd/containerd-debug.sock")),
    )
    if longest > LONGEST_SOCKET_PATH:
        room = len(os.fsencode(layout.root)) - (longest - LONGEST_SOCKET_PATH)
        raise Trouble(
            f"the path of the state directory {layout.root} is too long for the unix sockets inside; "
            f"give --state-dir one of at most {room} bytes"
        )


def render(layout: Layout, programs: Iterable[Program], *, as_root: bool) -> str:
    """The text of supervisord.conf."""
    head = _HEAD.format(
        socket=_literal(layout.supervisor / "supervisor.sock"),
        pid=_literal(layout.supervisor / "supervisord.pid"),
        log=_literal(layout.logs / "supervisord.log"),
        user="user=root\n" if as_root else "",  # else it warns that it keeps its privileges
    )
    return head + "".join(_render_program(layout, program) for program in programs)


def _render_program(layout: Layout, program: Program) -> str:
    return _PROGRAM.format(
        name=program.name,
        command=_literal(shlex.join(program.command)),
        directory=_literal(program.directory),
        wait=program.stop_wait_s,
        group="true" if program.stop_group else "false",
        log=_literal(layout.logs / f"{program.name}.log"),
    )


def _literal(value: object) -> str:
    """Supervisord expands %(name)s; a lone % of ours must survive that."""
    return str(value).replace("%", "%%")


def last_line(path: Path) -> str:
    """The last line of a log that is not blank; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


_HEAD = """\
; Written by `stoker up`. Edits are overwritten.
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
pidfile={pid}
logfile={log}
logfile_maxbytes=5MB
logfile_backups=5
loglevel=info
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

# startretries: after each death in the first second supervisord waits a second longer; 1000 means that it never
# gives up within days, while the default of 3 would leave a program dead after six seconds of trouble.
_PROGRAM = """
[program:{name}]
command={command}
directory={directory}
autostart=false
autorestart=true
startsecs=1
startretries=1000
stopsignal=TERM
stopwaitsecs={wait}
stopasgroup={group}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=5
"""
