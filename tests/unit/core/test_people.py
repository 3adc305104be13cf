"""Names, passwords, secrets, and how long who failed to log in waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.people import (
    SECRET_BYTES,
    TOKEN_BYTES,
    LastAdmin,
    Role,
    User,
    browser_known,
    browser_text,
    csrf_of,
    digest_of,
    fault_of_password,
    named,
    require_admin,
    secret_of,
    token_id,
    token_prefix,
    token_text,
)
from controller.core.throttle import FORGOTTEN_S, MOST, Failures, Rule, Throttle, Who, place_of, site_of
from tests.fakes.clock import START

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


def fail(throttle: Throttle, who: Who, now: float = 0.0) -> None:
    left, guess = throttle.begin(who, now)
    assert (left, guess is not None) == (0.0, True)


def wait_s(throttle: Throttle, who: Who, now: float = 0.0) -> float:
    """How long that login would have to wait; nothing is counted."""
    left, guess = throttle.begin(who, now)
    if guess is not None:
        throttle.withdraw(guess)
    return left


HERE = Who("ada", "192.0.2.1")


def test_who_guesses_at_one_person_waits_and_others_do_not() -> None:
    throttle = Throttle()
    for second in (0, 0, 0, 0, 0, 1, 3, 7):
        fail(throttle, HERE, float(second))

    assert wait_s(throttle, HERE, 8.0) == 7.0  # 8 s from the last one on
    assert wait_s(throttle, HERE, 15.0) == 0.0
    assert wait_s(throttle, replace(HERE, name="bob"), 8.0) == 0.0
    assert wait_s(throttle, replace(HERE, address="192.0.2.2"), 8.0) == 0.0
    _, right = throttle.begin(HERE, 15.0)
    assert right is not None
    throttle.succeeded(right)
    assert wait_s(throttle, HERE, 15.0) == 0.0


def test_a_guess_counts_from_its_beginning_and_not_at_all_where_it_was_not_looked_at() -> None:
    throttle = Throttle()
    guesses = [throttle.begin(HERE, 0.0)[1] for _ in range(12)]
    assert [guess is not None for guess in guesses] == [True] * 5 + [False] * 7

    for guess in filter(None, guesses):
        throttle.withdraw(guess)
    assert wait_s(throttle, HERE) == 0.0
    for _ in range(4):
        fail(throttle, HERE)
    assert wait_s(throttle, HERE) == 0.0
    fail(throttle, HERE)
    assert wait_s(throttle, HERE) == 1.0


def test_who_tries_one_password_on_many_waits_for_all_of_them() -> None:
    throttle, somebody = Throttle(), Who("somebody", "192.0.2.1")
    for number in range(20):
        fail(throttle, Who(f"user-{number}", "192.0.2.1"))

    assert wait_s(throttle, somebody) == 1.0
    assert wait_s(throttle, replace(somebody, browser="known")) == 0.0
    _, right = throttle.begin(somebody, 1.0)
    assert right is not None
    throttle.succeeded(right)
    assert wait_s(throttle, somebody, 0.5) == 0.5, "it counts as before, from when it did"


def test_nobody_is_locked_out_by_guesses_from_everywhere() -> None:
    throttle, away = Throttle(), Who("ada", "198.51.100.1")
    for second in range(0, 3600, 10):
        throttle.begin(Who("ada", f"192.0.{second // 256}.{second % 256}"), float(second))

    assert 0 < wait_s(throttle, away, 3590.0) <= 30.0
    assert wait_s(throttle, replace(away, browser="known"), 3590.0) == 0.0


def test_a_known_browser_is_counted_by_itself() -> None:
    throttle, known = Throttle(), Who("ada", "192.0.2.1", "known")
    for _ in range(5):
        fail(throttle, known)

    assert wait_s(throttle, known) == 1.0
    assert wait_s(throttle, replace(known, browser="another")) == wait_s(throttle, HERE) == 0.0


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_who_has_one_address_of_a_network_has_all(address: str, place: str) -> None:
    assert place_of(address) == place


@pytest.mark.parametrize(
    ("address", "site"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2::7", "2001:db8:1::/48"), ("testclient", "testclient"), ("", "")],
)
def test_a_site_has_many_places_of_ipv6(address: str, site: str) -> None:
    assert site_of(address) == site


def test_who_has_many_networks_is_counted_in_all_of_them() -> None:
    throttle, another = Throttle(), Who("ada", "2001:db8:1:ffff::1")
    for number in range(60):
        assert wait_s(throttle, another) == 0.0
        fail(throttle, Who(f"user-{number}", f"2001:db8:1:{number:x}::1"))

    assert wait_s(throttle, another) == 1.0
    assert wait_s(throttle, replace(another, address="2001:db8:2::1")) == 0.0
    assert wait_s(throttle, replace(another, browser="known")) == 0.0
    _, right = throttle.begin(another, 1.0)
    assert right is not None
    throttle.succeeded(right)
    assert wait_s(throttle, another, 0.5) == 0.5, "others of the site go on being counted"
    for second in range(1, 3600):
        throttle.begin(Who(f"user-{second}", f"2001:db8:1:{second:x}::2"), float(second))
    assert wait_s(throttle, another, 3599.0) <= 60.0


def test_one_network_is_one_place() -> None:
    throttle = Throttle()
    for number in range(20):
        fail(throttle, Who(f"user-{number}", f"2001:db8::{number:x}"))

    assert wait_s(throttle, Who("somebody", "2001:db8::ffff")) == 1.0
    assert wait_s(throttle, Who("somebody", "2001:db8:0:1::1")) == 0.0


@given(st.lists(st.sampled_from(["fail", "withdraw", "succeed"]), max_size=30))
def test_what_was_withdrawn_never_was(steps: list[str]) -> None:
    """Whatever happens beside it: those that were not looked at change nothing."""
    with_them, without = Throttle(), Throttle()
    for now, step in enumerate(steps):
        for throttle in (with_them, without) if step != "withdraw" else (with_them,):
            _, guess = throttle.begin(HERE, float(now))
            if guess is not None and step != "fail":
                (throttle.withdraw if step == "withdraw" else throttle.succeeded)(guess)

    now = float(len(steps))
    for who in (HERE, replace(HERE, name="bob"), replace(HERE, address="192.0.2.2")):
        assert wait_s(with_them, who, now) == wait_s(without, who, now)


def test_a_browser_is_known_by_what_only_we_can_sign() -> None:
    ada = User("ada", Role.ADMIN, START, "argon2 of a password")
    text = browser_text("mark", ada)

    assert browser_known(text, ada) == "mark"
    for other in (replace(ada, password="of another"), replace(ada, name="bob"), replace(ada, password="")):
        assert browser_known(text, other) == ""
    for wrong in ("", "mark", "mark.", f"other.{text.partition('.')[2]}", text + "0", "mark.\udc80"):
        assert browser_known(wrong, ada) == ""
    assert browser_known(browser_text("mark", replace(ada, password="")), replace(ada, password="")) == ""


def test_an_admin_is_left() -> None:
    for before, after, others in ((VIEWER, None, 0), (ADMIN, ADMIN, 0), (ADMIN, VIEWER, 1), (OPERATOR, ADMIN, 0)):
        require_admin("ada", before, after, others)
    for after in (None, VIEWER, OPERATOR):
        with pytest.raises(LastAdmin, match="ada is the last admin"):
            require_admin("ada", ADMIN, after, 0)


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
