"""Nobody may do anything unless the configuration says so: by member id, by right, by stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.settings import PersonSettings
from driftwatch.model import Right, Token
from driftwatch.policy.rights import People, Person

ANNA, ANNA_TOO, BOB = "U0ANNA0001", "W0ANNA0002", "U0BOB00002"
STACK = "platform/envs/prod/network"


def settings_of(*members: str, **words: Any) -> PersonSettings:
    return PersonSettings.model_validate({"slack": members, **words})


def person(*rights: Right, stacks: tuple[str, ...] = ("*",)) -> Person:
    return Person(name="anna", rights=frozenset(rights), stacks=stacks)


def test_without_users_nobody_is_known() -> None:
    nobody = People.compile({})
    assert nobody.in_slack(ANNA) is None
    assert nobody.in_slack("") is None


def test_people_are_known_by_their_member_ids_and_by_nothing_else() -> None:
    people = People.compile(
        {"anna": settings_of(ANNA, ANNA_TOO), "bob": settings_of(BOB), "carol": settings_of()}
    )
    anna = people.in_slack(ANNA)
    assert anna is not None
    assert anna.name == "anna"
    assert people.in_slack(ANNA_TOO) == anna
    for other in ("anna", "carol", ANNA.lower(), f"{ANNA} ", ANNA[:-1], "*", "U0*", "", "None"):
        assert people.in_slack(other) is None


def test_who_is_only_named_may_only_look() -> None:
    """The default rights: everything else is given by name."""
    anna = People.compile({"anna": settings_of(ANNA)}).in_slack(ANNA)
    assert anna is not None
    assert [right for right in Right if anna.may(right, STACK)] == [Right.VIEW]


def test_who_has_no_right_may_not_even_look() -> None:
    anna = People.compile({"anna": settings_of(ANNA, rights=[])}).in_slack(ANNA)
    assert anna is not None
    assert not any(anna.may(right, STACK) for right in Right)


@pytest.mark.parametrize("right", [right for right in Right if right is not Right.ADMIN])
def test_one_right_is_no_other(right: Right) -> None:
    """None is part of another: who may apply may not accept, and who may approve may not even look."""
    assert [each for each in Right if person(right).may(each, STACK)] == [right]


def test_an_admin_may_do_all_of_it_with_their_stacks_only() -> None:
    admin = person(Right.ADMIN, stacks=("platform/*",))
    assert all(admin.may(right, STACK) for right in Right)
    assert not any(admin.may(right, "other/envs/prod") for right in Right)


def test_every_right_of_the_configuration_is_one_of_the_model() -> None:
    every = settings_of(ANNA, rights=[str(right) for right in Right])
    anna = People.compile({"anna": every}).in_slack(ANNA)
    assert anna is not None
    assert anna.rights == frozenset(Right)


@pytest.mark.parametrize(
    ("glob", "stack", "fits"),
    [
        ("*", STACK, True),
        (STACK, STACK, True),
        ("platform/*", STACK, True),
        ("platform/envs/prod/*", STACK, True),
        ("platform/envs/*/network", STACK, True),
        ("platform/envs/pro?/network", STACK, True),
        ("platform", STACK, False),
        ("platform/envs/prod", STACK, False),
        ("envs/prod/network", STACK, False),
        ("PLATFORM/*", STACK, False),
        ("platform/envs/prod/network ", STACK, False),
        (STACK, f"{STACK}@staging", False),
        (f"{STACK}@*", f"{STACK}@staging", True),
        (f"{STACK}@*", STACK, False),
        ("platform/envs/[ps]*", "platform/envs/staging", True),
        ("platform/envs/[!p]*", STACK, False),
        ("platform/envs/[a]", "platform/envs/[a]", True),
        ("platform/envs/[", "platform/envs/[", True),
        ("platform/envs/a.b", "platform/envs/axb", False),
        ("platform/envs/(a|b)", "platform/envs/a", False),
        ("platform/envs/*", "platform/envs/a\nb", True),
        ("platform/envs/a", "platform/envs/a\n", False),
        ("", STACK, False),
    ],
)
def test_stacks_are_named_by_id_or_by_glob(glob: str, stack: str, *, fits: bool) -> None:
    """A directory may be called anything; an id with brackets in it is first of all an id."""
    assert person(Right.VIEW, stacks=(glob,)).may(Right.VIEW, stack) is fits


def test_any_of_several_globs_is_enough_and_none_is_nothing() -> None:
    assert person(Right.VIEW, stacks=("other/*", "platform/*")).may(Right.VIEW, STACK)
    assert not person(Right.ADMIN, stacks=()).may(Right.VIEW, STACK)


MEMBERS = st.from_regex(r"[UW][A-Z0-9]{8,10}", fullmatch=True)
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
RIGHTS = st.lists(st.sampled_from([str(right) for right in Right]), unique=True)
GLOBS = st.sampled_from(["*", "platform/*", "platform/envs/*", STACK, "other/*", "*@*", "platform/[ab]*"])
STACKS = st.sampled_from([STACK, f"{STACK}@x", "platform/a", "platform/b", "other/envs", "platform/[ab]*"])
USERS = st.dictionaries(
    NAMES,
    st.tuples(st.lists(MEMBERS, max_size=3, unique=True), RIGHTS, st.lists(GLOBS, min_size=1, unique=True)),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(users=USERS, stranger=MEMBERS | st.text(), right=st.sampled_from(list(Right)), stack=STACKS)
def test_nobody_may_do_what_is_not_said_of_them(
    users: dict[str, tuple[list[str], list[str], list[str]]], stranger: str, right: Right, stack: str
) -> None:
    """Whoever is not listed is nobody; whoever is has no right that is not written next to their name."""
    people = People.compile(
        {
            name: settings_of(*members, rights=rights, stacks=stacks)
            for name, (members, rights, stacks) in users.items()
        }
    )
    listed = {member for members, _, _ in users.values() for member in members}
    assert (people.in_slack(stranger) is None) == (stranger not in listed)
    for member in listed:
        somebody = people.in_slack(member)
        assert somebody is not None
        members, rights, _ = users[somebody.name]
        assert member in members
        if somebody.may(right, stack):
            assert str(right) in rights or "admin" in rights
        if not rights:
            assert not somebody.may(right, stack)


# ---- tokens --------------------------------------------------------------------------------------------


def token_of(user: str, **words: Any) -> Token:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    standard: dict[str, Any] = {
        "id": 1,
        "user": user,
        "rights": None,
        "stacks": None,
        "note": "x",
        "created_by": "anna",
        "created_at": at,
        "expires_at": at + timedelta(days=1),
    }
    return Token(**(standard | words))


RIGHTS = st.frozensets(st.sampled_from(list(Right)))
GLOBS = st.lists(st.sampled_from(["*", "a/*", "b/*", "a/x", "b/[xy]"]), min_size=1, max_size=3).map(tuple)


@given(
    rights=RIGHTS,
    stacks=GLOBS,
    of_token=st.none() | RIGHTS.map(tuple),
    for_token=st.none() | GLOBS,
    right=st.sampled_from(list(Right)),
    stack=st.sampled_from(["a/x", "a/y", "b/x", "c/z"]),
)
def test_a_token_never_has_more_than_its_user_nor_more_than_it_was_given(
    rights: frozenset[Right],
    stacks: tuple[str, ...],
    of_token: tuple[Right, ...] | None,
    for_token: tuple[str, ...] | None,
    right: Right,
    stack: str,
) -> None:
    words = {"rights": [each.value for each in rights], "stacks": stacks}
    people = People.compile({"ci": PersonSettings.model_validate(words)})
    person = people.with_token(token_of("ci", rights=of_token, stacks=for_token))
    assert person is not None
    user = people.by_name["ci"]
    given_it = of_token is None or right in of_token or Right.ADMIN in of_token
    for_it = for_token is None or any(fnmatchcase(stack, glob) for glob in for_token)
    assert person.may(right, stack) <= user.may(right, stack)
    assert person.may(right, stack) <= (given_it and for_it)
    if user.may(right, stack) and for_it and (of_token is None or right in of_token):
        assert person.may(right, stack)


def test_a_token_of_nobody_who_is_known_speaks_for_nobody() -> None:
    assert People.compile({"ci": PersonSettings()}).with_token(token_of("eve")) is None
