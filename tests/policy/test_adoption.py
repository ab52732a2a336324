"""Whether a draft holds, by the plan without it and the plan with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import Adopted, Adoption, AdoptionWish, StackId
from driftwatch.policy.adoption import AGAIN, SOON, Deeds, fresh, unproved
from driftwatch.policy.guards import PlanFacts, PlannedResource

if TYPE_CHECKING:
    from collections.abc import Mapping

UPDATE, REPLACE, FORGET = ("update",), ("delete", "create"), ("forget",)


def change(address: str, *attributes: str, actions: tuple[str, ...] = UPDATE, **more: Any) -> PlannedResource:
    return PlannedResource(address=address, type="t", actions=actions, attributes=attributes, **more)


def facts(*changes: PlannedResource, outputs: tuple[str, ...] = ()) -> PlanFacts:
    return PlanFacts(changes=changes, outputs=outputs, known=9, mass_deletion=None, complete=True)


def deeds(facts: PlanFacts, **more: Any) -> Deeds:
    return Deeds(facts=facts, **more)


def against(
    before: PlanFacts, after: PlanFacts, adopted: Mapping[str, frozenset[str] | None], **more: Any
) -> list[str | None]:
    return [each.address for each in unproved(deeds(before), deeds(after), adopted=adopted, **more)]


TAGS = {"t.a": frozenset({"/tags/env"})}
BEFORE = facts(change("t.a", "/tags/env", "/size"), change("t.b", "/x"))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (facts(change("t.b", "/x")), []),
        (facts(), []),
        (facts(change("t.a", "/size"), change("t.b", "/x")), []),
        (facts(change("t.a", "/tags/env")), ["t.a"]),
        (facts(change("t.a", "/tags")), ["t.a"]),
        (facts(change("t.a", "/tags/env/deeper")), ["t.a"]),
        (facts(change("t.a", "/tags/envy")), ["t.a"]),
        (facts(change("t.a", "/other")), ["t.a"]),
        (facts(change("t.a", "/size", actions=REPLACE)), ["t.a"]),
        (facts(change("t.a", actions=FORGET)), ["t.a"]),
        (facts(change("t.c", "/x")), [None]),
        (facts(change("t.b", "/x", "/y")), [None]),
        (facts(change("t.b", "/x", actions=REPLACE)), [None]),
    ],
)
def test_a_draft_holds_where_the_difference_is_gone_and_no_other_has_come(
    after: PlanFacts, expected: list[str | None]
) -> None:
    """What differed before may go on to differ, and no more than that."""
    assert against(BEFORE, after, TAGS) == expected


def test_a_replacement_may_become_an_update() -> None:
    before = facts(change("t.a", "/region", "/size", actions=REPLACE))
    after = facts(change("t.a", "/size"))
    assert against(before, after, {"t.a": frozenset({"/region"})}) == []


def test_a_resource_as_a_whole_may_only_leave_the_state_or_come_to_it() -> None:
    before = facts(change("t.a", actions=("create",)))
    whole = {"t.a": None}
    assert against(before, facts(), whole) == []
    assert against(before, facts(change("t.a", actions=FORGET)), whole) == []
    assert against(facts(), facts(change("t.a", actions=("no-op",), importing=True)), whole) == []
    assert against(facts(), facts(change("t.a", "/x", importing=True)), whole) == ["t.a"]
    assert against(before, before, whole) == ["t.a"]
    assert against(before, facts(change("t.a", actions=("delete",))), whole) == ["t.a"]


def test_outputs_that_pass_on_what_was_adopted_may_change() -> None:
    after = facts(outputs=("a", "b"))
    assert against(facts(), after, TAGS) == [None, None]
    assert against(facts(), after, TAGS, following=frozenset({"a"})) == [None]
    assert against(facts(outputs=("b",)), after, TAGS, following={"a"}) == []


def test_what_speaks_against_it_is_said_in_words() -> None:
    after = facts(change("t.a", "/tags/env"), change("t.c", actions=REPLACE))
    (first, second) = unproved(deeds(BEFORE), deeds(after), adopted=TAGS)
    assert first.sentence == "the plan still shows a difference at /tags/env"
    assert second.sentence == "t.c would be touched then (delete and create)"


@pytest.mark.parametrize(
    ("address", "path", "expected"),
    [
        (
            "t.a",
            "/size",
            [("t.a", "the plan would do something else to it (update, with another value at /size)")],
        ),
        ("t.b", "/x", [(None, "t.b would be touched then (update, with another value at /x)")]),
        ("t.a", "/tags/env", []),
    ],
)
def test_what_goes_on_to_differ_does_so_with_the_same_values(
    address: str, path: str, expected: list[tuple[str | None, str]]
) -> None:
    """The names alone say little: an edit may have the same attribute become another."""
    values = {"t.a": {"/tags/env": "1", "/size": "2"}, "t.b": {"/x": "3"}}
    moved = {**values, address: {**values[address], path: "other"}}
    after = facts(change("t.a", "/size"), change("t.b", "/x"))
    said = unproved(deeds(BEFORE, values=values), deeds(after, values=moved), adopted=TAGS)
    assert [(each.address, each.sentence) for each in said] == expected


def test_an_output_that_changes_anyway_does_so_to_the_same_value() -> None:
    both = facts(outputs=("a", "b"))
    before, after = deeds(both, outputs={"a": "1", "b": "2"}), deeds(both, outputs={"a": "1", "b": "3"})
    assert [each.sentence for each in unproved(before, after, adopted=TAGS)] == [
        "the output b would become another then"
    ]
    assert unproved(before, after, adopted=TAGS, following={"b"}) == ()
    assert unproved(before, before, adopted=TAGS) == ()


NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def past(*marks: str, ago: timedelta, adopted: Adopted | None = None) -> Adoption:
    wish = AdoptionWish(stack=StackId(repository="r", path="p"), by="driftwatch", marks=marks)
    return Adoption(
        number=1, wish=wish, at=NOW - ago, done_at=NOW - ago if adopted else None, adopted=adopted
    )


GOOD, FAILED = Adopted(branch="driftwatch/x"), Adopted(error="the forge was not told: 403")
SKIPPED = Adopted(error="it is no longer wanted", skipped=True)


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ([], "ab"),
        ([past("1", ago=9 * AGAIN, adopted=GOOD)], "b"),
        ([past("1", ago=2 * AGAIN, adopted=GOOD), past("2", ago=9 * AGAIN, adopted=GOOD)], ""),
        ([past("3", ago=AGAIN, adopted=GOOD)], "ab"),
        ([past("3", ago=AGAIN - MINUTE, adopted=GOOD)], ""),
        ([past("3", ago=9 * AGAIN)], ""),
        ([past("1", "2", ago=AGAIN, adopted=FAILED)], "ab"),
        ([past("1", "2", ago=AGAIN - MINUTE, adopted=FAILED)], ""),
        ([past("1", "2", ago=SOON, adopted=SKIPPED)], "ab"),
        ([past("1", "2", ago=SOON - MINUTE, adopted=SKIPPED)], ""),
    ],
)
def test_by_itself_a_difference_is_adopted_once_and_a_stack_once_a_day(
    earlier: list[Adoption], expected: str
) -> None:
    """What was not delivered is tried again after that day; while one waits, no other is wanted."""
    assert "".join(fresh({"a": "1", "b": "2"}, earlier, NOW)) == expected
