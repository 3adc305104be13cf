"""The names of metrics in a PromQL expression.

The API of Prometheus 2.42 formats an expression and does not take it apart, so it is read here token by token: strings,
comments, durations and matchers first, then names; what is left of those is a metric unless it is a word of the
language, a function, or a label in a grouping clause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    | (?P<range>\[[^\]]*\])
    | (?P<number>0[xX][0-9a-fA-F]+|[0-9]+(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdwy]))*|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<matcher>=~|!~|!=|==|=)
    | (?P<sign>[-+*/%^<>(){},@$])
    """,
    re.VERBOSE,
)
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"}
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_ALTERNATIVE = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")


@dataclass(frozen=True)
class Token:
    """What stands there, and what kind of thing it is."""

    kind: str
    text: str


def names(expression: str) -> set[str]:
    """Those that it asks for. An alternative of `__name__=~"a|b"` that is no plain name is given as it stands.

    Raises:
        ValueError: a character that PromQL does not have.
    """
    tokens, found = list(_tokens(expression)), set[str]()
    at = 0
    while at < len(tokens):
        token, after = tokens[at], tokens[at + 1].text if at + 1 < len(tokens) else ""
        if token.text == "{":
            end = _closing(tokens, at, "}")
            found |= _by_matcher(tokens[at:end])
            at = end
        elif token.kind == "name" and token.text.lower() in _GROUPING:
            at = _closing(tokens, at + 1, ")") if after == "(" else at
        elif token.text == "$":
            at += 1  # a variable of a board
        elif token.kind == "name" and after != "(" and not _is_word(token.text, after):
            found.add(token.text)
        at += 1
    return found


def _is_word(text: str, after: str) -> bool:
    """A word of the language, or the name of an operator before a grouping clause: `sum by (pool) (...)`."""
    return text.lower() in _WORDS or after.lower() in ("by", "without")


def _by_matcher(tokens: list[Token]) -> set[str]:
    """Of `{__name__="a"}` and `{__name__=~"a|b"}`."""
    found = set[str]()
    for name, sign, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if name.text == "__name__" and sign.text in ("=", "=~"):
            found |= set(value.text[1:-1].split("|")) if sign.text == "=~" else {value.text[1:-1]}
    return found


def is_plain(name: str) -> bool:
    """Whether it is one name, and no regular expression for several."""
    return _ALTERNATIVE.fullmatch(name) is not None


def _closing(tokens: list[Token], opened: int, sign: str) -> int:
    return next(at for at in range(opened, len(tokens)) if tokens[at].text == sign)


def _tokens(expression: str) -> Iterator[Token]:
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"{expression[at : at + 20]!r} is no PromQL")
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match.group())
        at = match.end()
