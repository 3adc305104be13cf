"""nginx.conf as nginx reads it: words, directives, blocks; and settings of every kind to make one of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_WORDS_OF_MAPS = ("default", "include", "hostnames", "volatile")  # in a block of a map all other names are its keys
_AFTER_A_QUOTE = ("", " ", "\t", "\r", "\n", ";", "{", ")")
_TOKEN = re.compile(
    r"""[ \t\r\n]+ | \#[^\n]* | (?P<mark>[;{}])
    | (?P<quoted>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*')
    | (?P<plain>(?!["']) (?:\\. | \$\{ | [^ \t\r\n;{\\])+)""",
    re.VERBOSE | re.DOTALL,
)

Directive = tuple[str, str, int]  # the blocks around it, its name, the number of its arguments


class NotNginx(ValueError):
    """nginx would refuse the text."""


def shape(text: str) -> Counter[Directive]:
    """How often there is which directive where. What is said in it does not matter, as long as it stays in it."""
    found: Counter[Directive] = Counter()
    around: list[str] = []
    words: list[str] = []
    for kind, word in _tokens(text):
        if kind == "word":
            words.append(word)
        elif kind == "}":
            if words or not around:
                raise NotNginx(f"a }} after {words} in {around}")
            around.pop()
        elif not words:
            raise NotNginx(f"a {kind} with nothing before it in {around}")
        else:
            found[_directive(around, words)] += 1
            around += [words[0]] if kind == "{" else []
            words = []
    if words or around:
        raise NotNginx(f"{words} and {around} have no end")
    return found


def _directive(around: list[str], words: list[str]) -> Directive:
    in_map = bool(around) and around[-1] == "map"
    name = "key" if in_map and words[0] not in _WORDS_OF_MAPS else words[0]
    return "/".join(around), name, len(words) - 1


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """`word` and its text, or one of `;`, `{` and `}`."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotNginx(f"no word: {text[at : at + 40]!r}")
        at = match.end()
        if match["quoted"]:
            if text[at : at + 1] not in _AFTER_A_QUOTE:
                raise NotNginx(f"{text[at]!r} after a quoted word")
            yield "word", match["quoted"][1:-1]
        elif match["plain"]:
            yield "word", match["plain"]
        elif match["mark"]:
            yield match["mark"], ""


# Settings

names = st.one_of(
    st.sampled_from([*_WORDS_OF_MAPS, "pool", "again", "hold", "void", "a", "0"]),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
)
models = st.one_of(
    st.sampled_from([*_WORDS_OF_MAPS, "org/Model:1b", "a" * 128, "A", "0.5", "unix:/x", "a:b/c.d-e_f"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", fullmatch=True),
)
paths = st.one_of(
    st.sampled_from(["/tokenize", "/Tokenize", "/a/./b", "/~", "/default", "/v1", "/-"]),
    st.from_regex(r"(/[A-Za-z0-9_~-]{1,20}){1,3}/?", fullmatch=True),
).filter(lambda path: not path.startswith(("/v1/", "/healthz", "/_")))
networks = st.one_of(
    st.ip_addresses(v=4, network="0.0.0.0/1").map(lambda one: f"{one}/32"),  # nginx takes no 255.255.255.255
    st.ip_addresses(v=6).map(lambda one: f"{one}/128"),
)
nasty = st.one_of(
    st.text(alphabet="aZ0-_.:/~,= ;{}()\"'\\$#@\n\r\t\0\u00e9\u2028\U0001f600", max_size=16),
    st.sampled_from(
        [
            'x"; return 200; #',
            "x; } server { listen 1;",
            "${request_body}",
            "a\nb c;",
            "/a b",
            "/a;b",
            "/a{",
            "127.0.0.1:80; deny all",
            "a\\",
            '"',
            "",
            " ",
            "/",
            "~.*",
            "*",
            "unix:/tmp/x",
            "a\x00b",
            "/etc/passwd\n",
        ]
    ),
)


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    """What a file may say that concerns nginx."""
    count = draw(st.integers(1, 3))
    pools = draw(st.lists(names, min_size=count, max_size=count, unique=True))
    known = draw(st.lists(models, min_size=2 * count, max_size=2 * count, unique_by=str.lower))
    return {
        "pools": [
            {
                "name": pool,
                "model": known[2 * place],
                "checkpoint": "/model.gguf",
                "gateway": {
                    "aliases": [known[2 * place + 1]] if draw(st.booleans()) else [],
                    "access": draw(st.sampled_from(["keys", "open"])),
                    "routing": draw(st.sampled_from(["consistent_hash", "least_connections", "random_two"])),
                    "keep_alive": draw(st.booleans()),
                    "cache": draw(st.sampled_from(["off", "deterministic", "all"])),
                    "cache_for": draw(st.sampled_from(["1s", "90s", "1h"])),
                    "open_paths": draw(st.lists(paths, max_size=2, unique=True)),
                },
            }
            for place, pool in enumerate(pools)
        ],
        "plans": [
            {
                "name": name,
                "requests_per_second": draw(st.sampled_from([1, 1_000_000])),
                "concurrent": draw(st.one_of(st.none(), st.integers(1, 65_535))),
                "priority": draw(st.sampled_from(["low", "high"])),
            }
            for name in draw(st.lists(names, max_size=2, unique=True))
        ],
        "gateway": {
            "user_header": draw(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,30}", fullmatch=True)),
            "trusted_proxies": draw(st.lists(networks, max_size=2)),
            "max_keys": 1000,
            "cache_size": draw(st.sampled_from(["1MiB", "1.5GiB"])),
        },
    }
