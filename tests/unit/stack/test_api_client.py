"""What `stoker` says of an answer that is no good one."""

from __future__ import annotations

import io
import json
from email.message import Message
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from controller.api.override_schemas import BoundsIn
from controller.installation import Layout
from controller.settings import parse
from controller.stack import api_client
from controller.stack.api_client import Refused
from controller.stack.gateway_history import revert
from controller.stack.trouble import Trouble

CONFIG = "pools: [{name: small, model: small, checkpoint: /m.gguf}]"
SETTINGS = parse(CONFIG, "stoker.yaml")
LOW = {"type": "greater_than_equal", "loc": ["body", "ceiling"], "msg": "Input should be greater than or equal to 1"}
WHOLE = {"type": "value_error", "loc": ["body"], "msg": "Value error, give the number of a revision, or undo"}
DEEP = {"type": "missing", "loc": ["body", "trace", 0, "kind"], "msg": "Field required"}
JSON = {"type": "json_invalid", "loc": ["body", 1], "msg": "JSON decode error"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"detail": "nobody has paused small"}, "nobody has paused small"),
        ({"detail": [LOW]}, "ceiling: input should be greater than or equal to 1"),
        ({"detail": [WHOLE]}, "give the number of a revision, or undo"),
        ({"detail": [LOW, DEEP]}, "ceiling: input should be greater than or equal to 1; trace.0.kind: field required"),
        ({"detail": [JSON]}, "1: JSON decode error"),
        ({"detail": [{"msg": "x"}]}, "the controller answered 422 no"),
        ({"detail": ["x"]}, "the controller answered 422 no"),
        ([], "the controller answered 422 no"),
    ],
)
def test_what_is_refused_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, answer: Any, said: str) -> None:
    class Refusing:
        def open(self, request: Request, timeout: float) -> NoReturn:
            raise HTTPError(request.full_url, 422, "no", Message(), io.BytesIO(json.dumps(answer).encode()))

    monkeypatch.setattr(api_client, "opener", lambda settings: Refusing())

    with pytest.raises(Refused) as refused:
        api_client.ask(SETTINGS, "/api/v1/pools/small/bounds", {}, method="PUT")
    assert (str(refused.value), refused.value.status) == (said, 422)


class Slow:
    """Answers nothing in time."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def open(self, request: Request, timeout: float) -> NoReturn:
        self.waited.append(timeout)
        raise TimeoutError


def test_what_nginx_is_asked_for_first_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow, layout = Slow(), Layout(tmp_path)
    monkeypatch.setattr(api_client, "opener", lambda settings: slow)
    layout.config.write_text(CONFIG, encoding="utf-8")
    layout.api_token.write_text("secret", encoding="ascii")

    with pytest.raises(Trouble, match="does not answer"):
        api_client.ask(SETTINGS, "/api/v1/pools")
    with pytest.raises(Trouble, match="does not answer"):
        revert(tmp_path, {"undo": True, "why": "x"})

    assert slow.waited[0] < 5
    assert slow.waited[1] > 10, "nginx has 5 s, and the database as many"


def test_the_words_are_those_of_pydantic() -> None:
    with pytest.raises(ValueError, match=str(LOW["msg"])):
        BoundsIn(floor=0, ceiling=0, why="x")
