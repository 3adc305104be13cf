"""`make pictures`: writes docs/pictures/*.png anew, from a real stack during a drill and from a big fleet on fakes.

Takes about two minutes. Replicas are local processes, so that no container engine is needed.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.e2e.browser import chromium
from tests.e2e.load import Load
from tests.e2e.stack import Stack, environment, write_config
from tests.fakes.running_nginx import free_port
from tests.pictures.small import smaller
from tests.waiting import wait_for

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 720}
POOL, PATIENCE_S = "smollm2", 120.0


def main() -> None:
    """All of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        with _fleet() as url:
            _of_many(browser, url)
        with _stack() as stack:
            _of_a_drill(browser, stack)
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path.relative_to(FOLDER.parents[1])}: {path.stat().st_size // 1000} kB")


def _of_many(browser: Browser, url: str) -> None:
    """50 pools and 300 replicas, of which some are in trouble."""
    page = browser.new_page(viewport=WIDE)
    page.goto(f"{url}/fake/login?role=operator")
    page.wait_for_function("!document.getElementById('state').textContent.includes('looked')")  # its first ticks
    for name, path in (("fleet", "/"), ("nodes", "/nodes"), ("gateway", "/gateway"), ("activity", "/activity")):
        page.goto(f"{url}{path}")
        if name == "gateway":
            page.locator("canvas").first.wait_for()
        _take(page, name)
    page.goto(f"{url}/pools/deepseek-v3-chat?range=1h")
    page.locator("#timeline-body").wait_for()
    page.locator("#timeline").evaluate("one => scrollTo(0, one.getBoundingClientRect().top - 70)")
    _take(page, "pool")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(NARROW)
    page.goto(f"{url}/")
    _take(page, "narrow")
    page.close()


def _of_a_drill(browser: Browser, stack: Stack) -> None:
    """A replica is killed under load: the pages while that is so, and what they say of it afterwards."""
    url = f"http://127.0.0.1:{stack.port('controller')}"
    context = browser.new_context(viewport=WIDE, extra_http_headers={"Authorization": f"Bearer {stack.token()}"})
    page = context.new_page()
    with Load(stack, 3) as load:
        wait_for(lambda: load.done() >= 120, PATIENCE_S, "some traffic before it")
        drill = _asked(
            stack, "POST", "/api/v1/drills", {"fault": "kill", "pool": POOL, "load": 4, "why": "every Friday"}
        )
        page.goto(f"{url}/drills/{drill['id']}")
        page.get_by_text("A replacement was decided").wait_for(timeout=1000 * PATIENCE_S)
        _take(page, "drill-running")
        ended = wait_for(lambda: _ended(stack, drill["id"]), PATIENCE_S, "its end")
        before = load.done()
        wait_for(lambda: load.done() >= before + 80, PATIENCE_S, "some traffic after it")
    page.goto(f"{url}/drills/{ended['id']}")
    _take(page, "drill", whole=True)
    page.locator("a[data-drawer][href^='/decisions/']").first.click()
    page.locator("#drawer-body h1").wait_for()
    _take(page, "decision")
    context.close()


def _take(page: Page, name: str, *, whole: bool = False) -> None:
    (FOLDER / f"{name}.png").write_bytes(smaller(page.screenshot(full_page=whole, animations="disabled")))


def _ended(stack: Stack, drill: str) -> dict[str, Any] | None:
    found: dict[str, Any] = _asked(stack, "GET", f"/api/v1/drills/{drill}")
    return found if found["ended_at"] else None


def _asked(stack: Stack, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {stack.token()}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{stack.port('controller')}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
        return json.load(answer)


@contextmanager
def _fleet() -> Iterator[str]:
    port = free_port()
    command = (sys.executable, "-m", "tests.fakes.big_fleet", "--port", str(port), "--quiet")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _answers(port), PATIENCE_S, "the fleet answers")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def _stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    config = write_config(folder, target=6, window="120s")
    # Clients and replicas share the cores with a browser here: what is slow is not the drill's doing.
    config.write_text(config.read_text().replace("scaling: {", "scaling: {latency: {threshold: 10s}, "))
    stack = Stack(config, folder / "state", environment(None))
    try:
        came = stack.up("--runtime", "process")
        if came.returncode != 0:
            sys.exit(came.stdout + came.stderr)
        yield stack
    finally:
        stack.stoker("down")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
