"""The runbooks as pages: each alert of ours has one, and none of them brings markup of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.web.runbooks import names, to_html
from tests.unit.api.callers import as_admin
from tests.unit.api.test_activity import Given


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Given().sources()), headers={"Accept": "text/html"}) as made:
        yield as_admin(made)


def test_every_one_is_a_page(client: TestClient) -> None:
    assert len(names()) > 20
    for name in names():
        page = client.get(f"/runbooks/{name}")
        assert page.status_code == 200
        assert "<h2>Fix</h2>" in page.text
    assert client.get("/runbooks/..%2Faccess").status_code == 404
    assert client.get("/runbooks/Nothing").status_code == 404


def test_with_the_name_of_a_pool_in_its_commands(client: TestClient) -> None:
    assert "stoker why llama" in client.get("/runbooks/StokerErrorsHigh?pool=llama").text
    for other in ("POOL", "<b>"):
        assert "stoker why POOL" in client.get("/runbooks/StokerErrorsHigh", params={"pool": other}).text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](StokerPoolDown.md)", '<p><a href="/runbooks/StokerPoolDown">x</a></p>\n'),
        ("[x](../access.md)", "<p><a>x</a></p>\n"),
        ("[x](//elsewhere)", "<p><a>x</a></p>\n"),
        ("[x](https://e.org)", '<p><a href="https://e.org" rel="noreferrer noopener" target="_blank">x</a></p>\n'),
        ("`a<b`", "<p><code>a&lt;b</code></p>\n"),
    ],
)
def test_only_what_is_harmless(text: str, html: str) -> None:
    assert to_html(text) == html
