"""Names, passwords, secrets, and how long who failed to log in waits."""

from __future__ import annotations

import pytest

from controller.core.people import (
    SECRET_BYTES,
    TOKEN_BYTES,
    Role,
    csrf_of,
    digest_of,
    fault_of_password,
    named,
    secret_of,
    token_id,
    token_prefix,
    token_text,
)
from controller.core.throttle import FORGOTTEN_S, MOST, Failures, Rule, Throttle

VIEWER, OPERATOR, ADMIN = Role


@pytest.mark.parametrize("needed", list(Role))
@pytest.mark.parametrize("role", list(Role))
def test_roles_are_in_an_order(role: Role, needed: Role) -> None:
    order = (VIEWER, OPERATOR, ADMIN)

    assert role.allows(needed) == (order.index(role) >= order.index(needed))
    assert role.at_most(needed) == order[min(order.index(role), order.index(needed))]


@pytest.mark.parametrize("text", ["ada", "Ada.Lovelace+x@example.org", "a" * 64, "_", "-"])
def test_names(text: str) -> None:
    assert named(text) == text.lower()


@pytest.mark.parametrize(
    "text", ["", "a" * 65, "a b", "<b>", "ada\n", "\u0430da", "a/b", "a'b", "State-Directory", "a\0"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        named(text)


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("correct horse", ""),
        ("x" * 11, "at least 12 characters"),
        ("abcd" * 32, ""),
        ("abcd" * 32 + "x", "at most 128 characters"),
        ("\u5bc6\u7801\u5f88\u957f\u4e5f\u5f88\u96be\u731c\u5bf9\u5427\u662f\u7684", ""),
        ("Ada.Lovelace", "must not be the name"),
        ("aaaaaaaaaaaab", "4 different"),
    ],
)
def test_passwords(password: str, fault: str) -> None:
    found = fault_of_password(password, "ada.lovelace")

    assert (fault in found) if fault else found == ""


def test_secrets_are_made_of_what_is_given() -> None:
    entropy = bytes(range(TOKEN_BYTES))

    assert secret_of(entropy) == secret_of(entropy[:SECRET_BYTES]) == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert token_text(entropy) == f"st_{secret_of(entropy)}"
    assert token_id(entropy) == "tok_202122232425"
    assert token_prefix(token_text(entropy)) == "st_AAECA"
    assert digest_of("x") == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert csrf_of("x") != csrf_of("y") != digest_of("y")


def test_the_wait_doubles_up_to_its_longest() -> None:
    rule = Rule(3, 10.0)

    assert [rule.wait_s(failures) for failures in range(9)] == [0, 0, 0, 1, 2, 4, 8, 10, 10]
    assert rule.wait_s(10_000) == 10


def test_who_guesses_at_one_person_waits_and_others_do_not() -> None:
    throttle = Throttle()
    for second in range(8):
        throttle.failed("ada", "192.0.2.1", float(second))

    assert throttle.left_s("ada", "192.0.2.1", 8.0) == 7.0  # 8 s from the last one on
    assert throttle.left_s("ada", "192.0.2.1", 15.0) == 0.0
    assert throttle.left_s("bob", "192.0.2.1", 8.0) == 0.0
    assert throttle.left_s("ada", "192.0.2.2", 8.0) == 0.0
    throttle.succeeded("ada", "192.0.2.1")
    assert throttle.left_s("ada", "192.0.2.1", 8.0) == 0.0


def test_who_tries_one_password_on_many_waits_for_all_of_them() -> None:
    throttle = Throttle()
    for number in range(25):
        throttle.failed(f"user-{number}", "192.0.2.1", 0.0)

    assert throttle.left_s("somebody", "192.0.2.1", 0.0) == 32.0
    assert throttle.left_s("somebody", "192.0.2.1", 0.0, at_home=True) == 0.0
    throttle.succeeded("somebody", "192.0.2.1")
    assert throttle.left_s("somebody", "192.0.2.1", 0.0) == 32.0


def test_nobody_is_locked_out_by_guesses_from_everywhere() -> None:
    throttle = Throttle()
    for number in range(1000):
        throttle.failed("ada", f"192.0.2.{number}", 0.0)

    assert throttle.left_s("ada", "198.51.100.1", 0.0) == 30.0
    assert throttle.left_s("ada", "198.51.100.1", 0.0, at_home=True) == 0.0


def test_failures_are_forgotten_and_bounded() -> None:
    failures = Failures(Rule(0, 60.0), most=2)
    failures.add("old", 0.0)
    assert failures.left_s("old", 1.0) == 1.0
    assert failures.left_s("old", -5.0) == 0.0  # the clock was set back
    failures.add("old", FORGOTTEN_S + 1)
    assert failures.left_s("old", FORGOTTEN_S + 1) == 2.0  # it counts from one again
    for key in "abc":
        failures.add(key, 0.0)

    assert len(failures) == 2 < MOST
    assert failures.left_s("a", 0.0) == 0.0
    assert failures.left_s("c", 0.0) == 2.0
