"""API keys: how they are made, what they are good for, and what nginx is told of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.access import (
    ENTROPY_BYTES,
    KEY_ID,
    SECRET,
    ApiKey,
    Grant,
    KeyId,
    admit,
    digest_of,
    good_name,
    issue,
    record,
    revoke,
    rotate,
    secret_of,
    version_of,
)
from tests.fakes.clock import START

ENTROPY = bytes(range(ENTROPY_BYTES))
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
KEY = ApiKey(KeyId("key_0123456789ab"), "ci", "a" * 64, None, (), START)


def test_a_key_is_made_of_random_bytes() -> None:
    key, secret = issue(Grant("ci", "gold", ("llama",), START + HOUR), ENTROPY, START), secret_of(ENTROPY)

    assert secret == "sk-stoker-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert key == ApiKey(
        KeyId("key_202122232425"),
        "ci",
        hashlib.sha256(secret.encode()).hexdigest(),
        "gold",
        ("llama",),
        START,
        START + HOUR,
    )


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_whatever_the_bytes_the_key_is_well_formed(entropy: bytes) -> None:
    key, secret = issue(Grant("ci"), entropy, START), secret_of(entropy)

    assert SECRET.fullmatch(secret)
    assert KEY_ID.fullmatch(key.id)
    assert key.digest == digest_of(secret)
    assert admit([key], START).records == {key.digest: f"{key.id} - 0 *"}


@pytest.mark.parametrize("count", [0, ENTROPY_BYTES - 1, ENTROPY_BYTES + 1])
def test_too_few_bytes_make_no_key(count: int) -> None:
    with pytest.raises(ValueError, match=f"38 random bytes, not of {count}"):
        issue(Grant("ci"), bytes(count), START)


@dataclass(frozen=True)
class Case:
    name: str
    usable: bool
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    now: datetime = field(default=START)


CASES = [
    Case("without an end", True),
    Case("before its end", True, START + SECOND),
    Case("at its end", False, START),
    Case("after its end", False, START - SECOND),
    Case("revoked", False, None, START),
    Case("revoked by a clock that was ahead", False, None, START + HOUR),
    Case("revoked before its end", False, START + HOUR, START - SECOND),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_usable(case: Case) -> None:
    key = replace(KEY, expires_at=case.expires_at, revoked_at=case.revoked_at)

    assert key.usable(case.now) is case.usable
    assert list(admit([key], case.now).records) == ([key.digest] if case.usable else [])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (KEY, "key_0123456789ab - 0 *"),
        (replace(KEY, plan="gold"), "key_0123456789ab gold 0 *"),
        (replace(KEY, models=("org/a:1", "b")), "key_0123456789ab - 0 org/a:1,b"),
        (replace(KEY, expires_at=START + timedelta(seconds=1.9)), "key_0123456789ab - 1767614401 *"),
        (replace(KEY, name="a b\nc"), "key_0123456789ab - 0 *"),
    ],
)
def test_records(key: ApiKey, text: str) -> None:
    assert record(key) == text
    assert admit([key], START).records == {key.digest: text}


@pytest.mark.parametrize(
    "strange",
    [
        replace(KEY, plan="Gold"),
        replace(KEY, plan="a b"),
        replace(KEY, plan="-"),
        replace(KEY, plan=""),
        replace(KEY, plan="gold\n"),
        replace(KEY, models=("a b",)),
        replace(KEY, models=("a", "b,c")),
        replace(KEY, models=("*",)),
        replace(KEY, models=("",)),
        replace(KEY, models=("x" * 129,)),
        replace(KEY, digest="A" * 64),
        replace(KEY, digest="a" * 63),
        replace(KEY, digest="a" * 64 + "\n"),
        replace(KEY, id=KeyId("key_0123456789aB")),
        replace(KEY, id=KeyId("#version")),
    ],
)
def test_what_nginx_could_misread_is_left_out(strange: ApiKey) -> None:
    other = replace(KEY, id=KeyId("key_ffffffffffff"), digest="f" * 64)
    admitted = admit([strange, other], START)

    assert list(admitted.records) == [other.digest]
    assert admitted.strange == (strange.id,)


def test_records_hold_until_the_first_key_ends() -> None:
    ends = (None, START + HOUR, START + SECOND, START - SECOND)
    keys = [replace(KEY, digest=f"{number:064x}", expires_at=end) for number, end in enumerate(ends)]

    assert admit(keys, START).until == START + SECOND
    assert admit(keys, START + SECOND).until == START + HOUR
    assert admit(keys, START + HOUR).until is None
    assert admit([], START) == admit([replace(KEY, revoked_at=START)], START)


def test_a_key_is_revoked_once() -> None:
    once = revoke(KEY, START)
    assert once.revoked_at == START
    assert revoke(once, START + HOUR) == once


@pytest.mark.parametrize(
    ("ends", "grace", "old_ends"),
    [
        (None, HOUR, START + HOUR),
        (None, timedelta(0), START),
        (START + 2 * HOUR, HOUR, START + HOUR),
        (START + SECOND, HOUR, START + SECOND),
    ],
)
def test_a_rotated_key_ends_and_its_successor_is_like_it(
    ends: datetime | None, grace: timedelta, old_ends: datetime
) -> None:
    key = replace(KEY, plan="gold", models=("llama",), expires_at=ends)
    old, new = rotate(key, ENTROPY, START, grace)

    assert old == replace(key, expires_at=old_ends, replaced_by=new.id)
    assert new == issue(Grant("ci", "gold", ("llama",), ends), ENTROPY, START)
    assert new.digest != key.digest


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("ci", True),
        ("caf\xe9 of team 7, \U0001f4a5", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        (" ", False),
        (" ci", False),
        ("c\ni", False),
        ("c\0i", False),
        ("\u202egnp", False),
    ],
)
def test_names(name: str, good: bool) -> None:
    assert good_name(name) is good


def test_equal_records_have_equal_versions() -> None:
    version = version_of({"a": "1", "b": "2"})

    assert len(bytes.fromhex(version)) == 8
    assert version_of({"b": "2", "a": "1"}) == version
    others = [{}, {"a": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "2", "c": "3"}, {"a": "1\nb 2"}]
    assert len({version, *(version_of(other) for other in others[:4])}) == 5


def test_the_version_is_that_of_the_contract() -> None:
    """Whoever writes the file by other means must come to the same."""
    assert (
        version_of({"b" * 64: "y", "a" * 64: "x"})
        == (hashlib.sha256(f"{'a' * 64} x\n{'b' * 64} y\n".encode()).hexdigest()[:16])
    )
