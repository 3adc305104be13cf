"""PeopleStore: the same promises from memory, from SQLite and from PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.core.errors import LoginRefused, LostLease, TransientError
from controller.core.people import (
    IDLE,
    INVITED_FOR,
    LONGEST,
    STATE_DIRECTORY,
    ApiToken,
    AuditEntry,
    AuditFilter,
    Invitation,
    LastAdmin,
    NotAdmin,
    Role,
    Session,
    User,
    digest_of,
)
from controller.ports.people import PeopleStore
from tests.contract.databases import Database
from tests.fakes.clock import START

ADA = User("ada", Role.OPERATOR, START, "$argon2id$...", "password", START + timedelta(microseconds=1))
BOB = User("bob", Role.VIEWER, START, source="oidc")


@pytest.fixture
def people(database: Database, store: Any) -> PeopleStore:
    return database.people(store)


def session(number: int, user: User = ADA, **changes: Any) -> Session:
    at = START + timedelta(minutes=number)
    made = Session(digest_of(f"session {number}"), user.name, at, at, "192.0.2.7", "a browser \U0001f98a")
    return replace(made, **changes)


def token(number: int, owner: str = "ada", **changes: Any) -> ApiToken:
    at = START + timedelta(minutes=number)
    digest = digest_of(f"token {number}")
    return replace(ApiToken(f"tok_{number:012x}", "ci", owner, Role.VIEWER, "st_abcde", digest, at), **changes)


def invitation(code: str, user: User = ADA, **changes: Any) -> Invitation:
    return replace(Invitation(digest_of(code), user.name, user.role, START + INVITED_FOR, STATE_DIRECTORY), **changes)


def entry(number: int, **changes: Any) -> AuditEntry:
    at = START + timedelta(minutes=number)
    made = AuditEntry(at, "ada", "operator", "session", "192.0.2.7", "order drain", f"node/gpu-{number}", "why not")
    return replace(made, **changes)


def test_there_is_nobody_at_first(people: PeopleStore) -> None:
    assert (people.users(), people.user("ada"), people.sessions("ada"), people.tokens()) == ((), None, (), ())
    assert people.audit(AuditFilter(), limit=9) == ()
    assert (people.session("?"), people.token("?"), people.invitation("?")) == (None, None, None)


def test_people_come_back_whole_and_change(database: Database, people: PeopleStore) -> None:
    people.save_user(BOB)
    people.save_user(ADA)
    people.save_user(replace(BOB, role=Role.ADMIN))

    assert database.people(database.store()).users() == (ADA, replace(BOB, role=Role.ADMIN))
    assert people.user("ada") == ADA


def test_a_session_is_found_with_its_user_and_notes_the_login(people: PeopleStore) -> None:
    people.save_user(ADA)
    people.start_session(session(5), ADA.password)

    assert people.session(session(5).digest) == (session(5), replace(ADA, logged_in_at=session(5).created_at))
    people.seen(session(5).digest, START + timedelta(hours=1))
    people.seen("gone", START)
    assert people.sessions("ada") == (session(5, seen_at=START + timedelta(hours=1)),)


@pytest.mark.parametrize("passed", [IDLE, LONGEST])
def test_sessions_that_are_over_are_forgotten(people: PeopleStore, passed: timedelta) -> None:
    people.save_user(ADA)
    late = START + passed
    people.start_session(session(1, created_at=START, seen_at=late if passed == LONGEST else START), ADA.password)
    people.start_session(session(2, created_at=late - timedelta(minutes=1), seen_at=late), ADA.password)
    people.start_session(session(3, created_at=late, seen_at=late), ADA.password)

    assert [found.digest for found in people.sessions("ada")] == [session(3).digest, session(2).digest]


@pytest.mark.parametrize(
    ("which", "left"),
    [({}, []), ({"only": 1}, [3, 2]), ({"but": 1}, [1]), ({"only": 4}, [3, 2, 1])],
)
def test_sessions_end(people: PeopleStore, which: dict[str, int], left: list[int]) -> None:
    for user in (ADA, BOB):
        people.save_user(user)
    for number in (1, 2, 3):
        people.start_session(session(number), ADA.password)
    people.start_session(session(4, BOB), BOB.password)

    ended = people.end_sessions("ada", **{name: session(number).digest for name, number in which.items()})

    assert ended == 3 - len(left)
    assert [found.digest for found in people.sessions("ada")] == [session(number).digest for number in left]
    assert people.session(session(4).digest) is not None


def test_a_token_is_found_with_the_role_of_its_owner(people: PeopleStore) -> None:
    people.save_user(ADA)
    full = token(1, expires_at=START + timedelta(days=1), used_at=START, role=Role.OPERATOR)
    for one in (full, token(2, "state-directory")):
        people.add_token(one)

    assert people.token(full.digest) == (full, Role.OPERATOR)
    assert people.token(token(2).digest) == (token(2, "state-directory"), None)
    people.token_used(token(2).digest, START)
    people.token_used("gone", START)
    assert people.tokens() == (token(2, "state-directory", used_at=START), full)
    assert people.tokens("ada") == (full,)
    people.remove_token(full.id)
    people.remove_token(full.id)
    assert people.token(full.digest) is None


def test_no_session_begins_with_a_password_that_is_another_by_now(people: PeopleStore) -> None:
    assert not people.start_session(session(1), ADA.password), "there is nobody of that name"
    people.save_user(ADA)
    people.invite(invitation("code"))
    people.accept(digest_of("code"), "new", START)

    assert not people.start_session(session(1), ADA.password)
    assert people.sessions("ada") == ()
    assert people.user("ada") == replace(ADA, password="new"), "nor is it told that somebody logged in"
    assert people.start_session(session(1), "new")
    assert people.sessions("ada") == (session(1),)


def test_nobody_s_token_is_kept(people: PeopleStore) -> None:
    assert not people.add_token(token(1))
    assert people.tokens() == ()
    people.save_user(ADA)
    assert people.add_token(token(1))
    assert people.add_token(token(2, "state-directory"))


def test_the_last_admin_stays(people: PeopleStore) -> None:
    for user in (replace(ADA, role=Role.ADMIN), BOB):
        people.save_user(user)
    people.start_session(session(1), ADA.password)

    for change in (
        lambda: people.change_user("ada", lambda now: replace(now, role=Role.OPERATOR)),
        lambda: people.remove_user("ada"),
    ):
        with pytest.raises(LastAdmin, match="ada is the last admin"):
            change()
    assert people.user("ada") == replace(ADA, role=Role.ADMIN, logged_in_at=session(1).created_at)
    assert people.sessions("ada") == (session(1),)
    people.save_user(replace(BOB, role=Role.ADMIN))
    people.remove_user("ada")
    assert people.users() == (replace(BOB, role=Role.ADMIN),)


def test_two_admins_who_put_each_other_down_are_not_both_gone(database: Database, people: PeopleStore) -> None:
    for user in (ADA, BOB):
        people.save_user(replace(user, role=Role.ADMIN))
    begin, told = threading.Barrier(2), []

    def put_down(store: PeopleStore, name: str) -> None:
        begin.wait()
        try:
            store.change_user(name, lambda now: replace(now, role=Role.VIEWER))
        except LastAdmin as error:
            told.append(str(error))

    threads = [
        threading.Thread(target=put_down, args=(database.people(database.store()), name)) for name in ("ada", "bob")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 1
    assert [user.role for user in people.users()].count(Role.ADMIN) == 1


def test_who_is_removed_leaves_nothing_to_come_in_with(people: PeopleStore) -> None:
    for user in (ADA, BOB):
        people.save_user(user)
        people.start_session(session(1 if user is ADA else 2, user), user.password)
        people.add_token(token(1 if user is ADA else 2, user.name))
        people.invite(invitation(user.name, user))

    people.remove_user("ada")
    people.remove_user("ada")

    assert (people.user("ada"), people.session(session(1).digest), people.tokens("ada")) == (None, None, ())
    assert people.invitation(digest_of("ada")) is None
    assert people.user("bob") is not None
    assert people.session(session(2).digest) is not None
    assert people.tokens("bob") == (token(2, "bob"),)
    assert people.invitation(digest_of("bob")) is not None


def test_a_newer_invitation_takes_the_place_of_the_older_one(people: PeopleStore) -> None:
    people.invite(invitation("old"))
    people.invite(invitation("others", BOB))
    people.invite(invitation("new", role=Role.ADMIN))

    assert people.invitation(digest_of("old")) is None
    assert people.invitation(digest_of("new")) == invitation("new", role=Role.ADMIN)
    assert people.invitation(digest_of("others")) == invitation("others", BOB)


def test_expired_invitations_are_forgotten_with_the_next_one(people: PeopleStore) -> None:
    people.invite(invitation("old"))
    people.invite(invitation("new", BOB, expires_at=START + 2 * INVITED_FOR))

    assert people.invitation(digest_of("old")) is None


def test_invitations_are_listed_and_withdrawn(people: PeopleStore) -> None:
    people.invite(invitation("b", BOB))
    people.invite(invitation("a"))

    assert people.invitations() == (invitation("a"), invitation("b", BOB))
    assert people.withdraw("ada")
    assert not people.withdraw("ada")
    assert people.accept(digest_of("a"), "new", START) is None
    assert people.invitations() == (invitation("b", BOB),)


@pytest.mark.parametrize("by", ["nobody", "ada", "bob"])
def test_nobody_is_invited_by_who_is_no_admin_any_more(people: PeopleStore, by: str) -> None:
    for user in (ADA, replace(BOB, role=Role.ADMIN)):
        people.save_user(user)
    people.invite(invitation("before", replace(ADA, name="eve")))

    assert people.invite(invitation("code", replace(ADA, name="eve"), by=by)) is (by == "bob")
    assert [one.by for one in people.invitations()] == ["bob" if by == "bob" else STATE_DIRECTORY]


@pytest.mark.parametrize("by", ["nobody", "ada", STATE_DIRECTORY])
def test_who_is_no_admin_any_more_changes_and_removes_nobody(people: PeopleStore, by: str) -> None:
    for user in (ADA, BOB, replace(ADA, name="eve", role=Role.ADMIN)):
        people.save_user(user)

    for change in (
        lambda: people.change_user("bob", lambda now: replace(now, role=Role.ADMIN), by=by),
        lambda: people.remove_user("bob", by=by),
    ):
        if by == STATE_DIRECTORY:
            change()
            continue
        with pytest.raises(NotAdmin, match=f"{by} is no admin any more"):
            change()
        assert people.user("bob") == BOB


OUTSIDE = User("eve", Role.ADMIN, START, source="oidc 1")


def test_whom_another_place_knows_is_kept_with_the_role_of_now(people: PeopleStore) -> None:
    people.save_user(replace(ADA, role=Role.ADMIN))
    assert people.take_in(OUTSIDE) == OUTSIDE
    people.start_session(session(1, OUTSIDE), "")
    people.invite(invitation("theirs", BOB, by="eve"))
    after = replace(OUTSIDE, logged_in_at=session(1).created_at)

    assert people.take_in(replace(OUTSIDE, created_at=START + timedelta(days=1))) == after
    assert (len(people.sessions("eve")), len(people.invitations())) == (1, 1), "the role is the same"
    assert people.take_in(replace(OUTSIDE, role=Role.VIEWER)) == replace(after, role=Role.VIEWER)
    assert people.user("eve") == replace(after, role=Role.VIEWER)
    assert (people.sessions("eve"), people.invitations()) == ((), ())


@pytest.mark.parametrize("known", [ADA, replace(ADA, password=""), replace(ADA, source="oidc 2", password="")])
def test_another_place_takes_nobody_s_name(people: PeopleStore, known: User) -> None:
    people.save_user(known)

    with pytest.raises(LoginRefused, match="there is already a user ada"):
        people.take_in(replace(OUTSIDE, name="ada"))
    assert people.users() == (known,)


def test_the_last_admin_stays_whatever_another_place_says(people: PeopleStore) -> None:
    people.take_in(OUTSIDE)
    people.start_session(session(1, OUTSIDE), "")

    with pytest.raises(LastAdmin, match="eve is the last admin"):
        people.take_in(replace(OUTSIDE, role=Role.OPERATOR))
    assert people.user("eve") == replace(OUTSIDE, logged_in_at=session(1).created_at)
    assert len(people.sessions("eve")) == 1


def test_who_is_put_out_keeps_nothing_that_was_begun(people: PeopleStore) -> None:
    people.take_in(OUTSIDE)
    people.save_user(ADA)
    for number, user in ((1, OUTSIDE), (2, ADA)):
        people.start_session(session(number, user), user.password)
        people.add_token(token(number, user.name))
    people.invite(invitation("theirs", BOB, by="eve"))
    people.invite(invitation("another", replace(ADA, name="fay")))
    people.put_out("eve", "oidc 2")
    assert (len(people.sessions("eve")), len(people.tokens("eve")), len(people.invitations())) == (1, 1, 2)

    people.put_out("eve", "oidc 1")
    people.put_out("gone", "oidc 1")

    assert (people.sessions("eve"), people.tokens("eve")) == ((), ())
    assert people.user("eve") is not None
    assert [one.name for one in people.invitations()] == ["fay"]
    assert (len(people.sessions("ada")), len(people.tokens("ada"))) == (1, 1)


@pytest.mark.parametrize("how", ["removed", "lowered", "saved"])
def test_invitations_by_who_may_no_longer_make_them_are_withdrawn(people: PeopleStore, how: str) -> None:
    for user in (replace(ADA, role=Role.ADMIN), replace(BOB, role=Role.ADMIN)):
        people.save_user(user)
    people.invite(invitation("theirs", replace(ADA, name="eve"), by="ada"))
    people.invite(invitation("another", replace(ADA, name="fay"), by="bob"))
    people.change_user("ada", lambda now: replace(now, password="new"))
    assert len(people.invitations()) == 2, "the role is the same"
    if how == "removed":
        people.remove_user("ada")
    elif how == "saved":
        people.save_user(ADA)
    else:
        people.change_user("ada", lambda now: replace(now, role=Role.VIEWER))

    assert [one.name for one in people.invitations()] == ["fay"]


def test_an_invitation_gives_nobody_a_password_who_logs_in_elsewhere(people: PeopleStore) -> None:
    people.invite(invitation("code", BOB))
    people.save_user(BOB)

    assert people.accept(digest_of("code"), "new", START) is None
    assert (people.user("bob"), people.invitations()) == (BOB, ())


def test_an_invitation_ends_what_ran_with_the_old_password(people: PeopleStore) -> None:
    people.save_user(ADA)
    people.start_session(session(1), ADA.password)
    people.invite(invitation("code"))

    after = replace(ADA, password="new", logged_in_at=session(1).created_at)
    assert people.accept(digest_of("code"), "new", START) == after
    assert people.accept(digest_of("code"), "once more", START) is None
    assert people.user("ada") == after
    assert people.sessions("ada") == ()


def test_a_change_keeps_what_happened_meanwhile_and_ends_the_sessions(people: PeopleStore) -> None:
    people.save_user(ADA)
    people.start_session(session(1), ADA.password)
    people.start_session(session(2), ADA.password)
    people.save_user(replace(ADA, role=Role.VIEWER))
    changed = people.change_user("ada", lambda now: replace(now, password="new"), but=session(2).digest)

    assert changed is not None
    assert (changed.role, changed.password) == (Role.VIEWER, "new")
    assert people.user("ada") == changed
    assert [one.digest for one in people.sessions("ada")] == [session(2).digest]
    people.change_user("ada", lambda now: replace(now, password="newer"), ends=False)
    assert [one.digest for one in people.sessions("ada")] == [session(2).digest]


def test_nobody_comes_back_by_a_change(people: PeopleStore) -> None:
    people.save_user(ADA)
    people.remove_user("ada")

    assert people.change_user("ada", lambda now: replace(now, password="new")) is None
    assert people.user("ada") is None


def test_an_invitation_is_used_once_by_many_at_the_same_time(database: Database, people: PeopleStore) -> None:
    people.invite(invitation("code"))
    others = [database.people(database.store()) for _ in range(4)]
    done: list[User | None] = []

    def accept(store: PeopleStore, number: int) -> None:
        done.append(store.accept(digest_of("code"), f"of {number}", START))

    threads = [threading.Thread(target=accept, args=(other, number)) for number, other in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(user is not None for user in done) == 1


def test_the_audit_log_is_searched(people: PeopleStore) -> None:
    people.write_audit([entry(1), entry(2, name="bob", action="key create", subject="key/1", why="50% of Caf\xe9")])
    people.write_audit([entry(3, refused=True, outcome="too low", name="")])
    everything = people.audit(AuditFilter(), limit=9)

    assert [found.subject for found in everything] == ["node/gpu-3", "key/1", "node/gpu-1"]
    assert replace(everything[-1], id=0) == entry(1)
    for wanted, subjects in (
        (AuditFilter(name="bob"), ["key/1"]),
        (AuditFilter(action="order drain"), ["node/gpu-3", "node/gpu-1"]),
        (AuditFilter(text="NODE/GPU"), ["node/gpu-3", "node/gpu-1"]),
        (AuditFilter(text="0% of"), ["key/1"]),
        (AuditFilter(text="node_gpu"), []),
        (AuditFilter(text="\0\ud800"), []),
        (AuditFilter(name="\0", action="\ud800"), []),
        (AuditFilter(refused=True), ["node/gpu-3"]),
        (AuditFilter(refused=False), ["key/1", "node/gpu-1"]),
        (AuditFilter(since=entry(2).at), ["node/gpu-3", "key/1"]),
        (AuditFilter(until=entry(2).at), ["key/1", "node/gpu-1"]),
        (AuditFilter(before=everything[0].id), ["key/1", "node/gpu-1"]),
    ):
        assert [found.subject for found in people.audit(wanted, limit=9)] == subjects, wanted
    assert [found.subject for found in people.audit(AuditFilter(), limit=1)] == ["node/gpu-3"]


def test_nothing_is_written_once_another_leads(database: Database, store: Any, people: PeopleStore) -> None:
    store.take_term()
    people.save_user(ADA)
    people.invite(invitation("code"))
    database.store().take_term()

    for change in (
        lambda: people.save_user(BOB),
        lambda: people.change_user("ada", lambda user: BOB),
        lambda: people.remove_user("ada"),
        lambda: people.invite(invitation("another", BOB)),
        lambda: people.take_in(OUTSIDE),
        lambda: people.put_out("ada", ADA.source),
        lambda: people.withdraw("ada"),
        lambda: people.accept(digest_of("code"), "new", START),
        lambda: people.start_session(session(1), ADA.password),
        lambda: people.end_sessions("ada"),
        lambda: people.add_token(token(1)),
        lambda: people.write_audit([entry(1)]),
    ):
        with pytest.raises(LostLease):
            change()
    assert people.users() == (ADA,)
    assert people.invitation(digest_of("code")) is not None


def test_without_the_database_nothing_is_done(database: Database, people: PeopleStore) -> None:
    people.save_user(ADA)
    with database.gone():
        for change in (lambda: people.save_user(BOB), lambda: people.write_audit([entry(1)])):
            with pytest.raises(TransientError):
                change()

    assert people.users() == (ADA,)
    assert people.audit(AuditFilter(), limit=9) == ()
