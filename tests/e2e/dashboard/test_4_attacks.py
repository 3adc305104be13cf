"""What somebody may try from another page, or with names full of markup."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.e2e.dashboard.site import ADMIN, OPERATOR, POOL, VIEWER, Site, csrf_of, submit

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
BODY = {"kind": "cordon", "subject": "node/local", "why": "an attack"}
# Each would open a dialog of the browser, which the fixture of all tests would notice.
MARKUP = (
    "<img src=x onerror=alert(1)>",
    "'\"><script>alert(2)</script>",
    "<svg/onload=alert(3)>",
    "{{ 7 * 7 }}</template><b>bold</b>",
)


@pytest.fixture
def elsewhere(site: Site) -> Iterator[str]:
    """A page of another origin, that sends a form to the controller as soon as it is opened."""
    target = f"{site.url}/api/v1/orders"

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            body = html.escape('{"kind":"cordon","subject":"node/local","why":"' + '"}')
            self.wfile.write(
                f"<form method=post enctype=text/plain action='{target}'><input name='{body}' value='x'></form>"
                "<p id=loaded>loaded</p><script>document.forms[0].submit()</script>".encode()
            )

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_cookie_alone_changes_nothing(site: Site) -> None:
    page = site.open(OPERATOR, "/")
    cookie, csrf = site.cookie_of(site.contexts[OPERATOR]), csrf_of(page)
    others = csrf_of(site.open(VIEWER, "/"))
    for headers in (
        {"Cookie": cookie},
        {"Cookie": cookie, "X-CSRF-Token": ""},
        {"Cookie": cookie, "X-CSRF-Token": f"{csrf[:-1]}x"},
        {"Cookie": cookie, "X-CSRF-Token": others},
        {"Cookie": cookie, "X-CSRF-Token": csrf, "Origin": "http://evil.example"},
        {"Cookie": cookie, "X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"},
        {"Cookie": cookie, "X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-site"},
    ):
        status, told = site.ask("POST", "/api/v1/orders", BODY, headers)
        assert (status, "was not asked for by a page of this controller" in told["detail"]) == (403, True), headers
    assert site.stack.api("/api/v1/orders") == []
    assert site.ask("POST", "/api/v1/orders", BODY, {"Cookie": cookie, "X-CSRF-Token": csrf})[0] == 202
    assert site.ask("POST", "/api/v1/orders", BODY | {"kind": "release"})[0] == 202


def test_a_form_of_another_page_changes_nothing(site: Site, elsewhere: str) -> None:
    page = site.contexts[OPERATOR].new_page()  # not watched: it is not ours
    with page.expect_response(lambda answer: answer.url.endswith("/api/v1/orders")) as sent:
        page.goto(elsewhere)
    assert sent.value.status in (401, 403, 422)
    page.close()
    assert site.stack.api("/api/v1/orders") == []


def test_no_other_page_may_frame_ours_and_no_answer_of_it_is_kept(site: Site) -> None:
    answer = site.contexts[VIEWER].request.get(f"{site.url}/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"] == "'none'"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"


def test_another_name_for_this_machine_gets_no_page(site: Site) -> None:
    """Else a page of the internet could have its own name lead to 127.0.0.1."""
    status, _ = site.ask("GET", "/login", headers={"Host": "evil.example"})
    assert status == 421


def test_names_full_of_markup_are_text_everywhere(site: Site) -> None:
    page = site.open(OPERATOR, "/keys")
    for name in MARKUP:
        page.get_by_role("button", name="New key").click()
        submit(page, "key-create", name=name, why=name)
        page.locator("dialog#key-made").get_by_role("button", name="I have it").click()
    for name in MARKUP:
        expect(page.locator("#keys")).to_contain_text(name)
    site.ask("POST", f"/api/v1/pools/{POOL}/pause", {"why": "".join(MARKUP)})
    site.ask("POST", "/api/v1/orders", BODY | {"why": "".join(MARKUP)})
    try:
        page = site.open(ADMIN, f"/pools/{POOL}")
        expect(page.locator("#pool-state")).to_contain_text(MARKUP[0])
        site.picture(page, "markup")
        for path in ("/", "/nodes", "/nodes/local", "/gateway", "/activity", "/alerts", "/audit", "/keys"):
            page.goto(f"{site.url}{path}")
            expect(page.locator("h1")).to_have_count(1)
            assert page.locator("#main [onerror], #main [onload], #main script, #main img[src=x]").count() == 0, path
            assert "49" not in page.locator("#main b").all_inner_texts()
    finally:
        site.ask("POST", f"/api/v1/pools/{POOL}/resume", {"why": "over"})
        site.ask("POST", "/api/v1/orders", BODY | {"kind": "release"})


@pytest.mark.parametrize(
    "path", ["/?q={}", "/pools/{}", "/audit?q={}&name={}", "/keys?q={}", "/activity?text={}", "/simulator?pool={}"]
)
def test_addresses_full_of_markup_are_text_too(site: Site, path: str) -> None:
    for name in MARKUP[:2]:
        page = site.open(OPERATOR, path.replace("{}", quote(name, safe="")))
        expect(page.locator("h1")).to_have_count(1)
        assert page.locator("[onerror], #main script, img[src=x]").count() == 0


@pytest.mark.parametrize(
    "path", ["//evil.example/", "https://evil.example/", "/\\evil.example/", "javascript:alert(1)"]
)
def test_a_login_leads_to_no_other_site(site: Site, path: str) -> None:
    context = site.new_context()
    page = site.log_in(context, VIEWER, path=f"/login?next={quote(path, safe='')}").page
    page.wait_for_url(f"{site.url}/")
    context.close()
