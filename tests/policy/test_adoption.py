"""Whether a draft holds, by the plan without it and the plan with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.policy.adoption import unproved
from driftwatch.policy.guards import PlanFacts, PlannedResource

if TYPE_CHECKING:
    from collections.abc import Mapping

UPDATE, REPLACE, FORGET = ("update",), ("delete", "create"), ("forget",)


def change(address: str, *attributes: str, actions: tuple[str, ...] = UPDATE, **more: Any) -> PlannedResource:
    return PlannedResource(address=address, type="t", actions=actions, attributes=attributes, **more)


def facts(*changes: PlannedResource, outputs: tuple[str, ...] = ()) -> PlanFacts:
    return PlanFacts(changes=changes, outputs=outputs, known=9, mass_deletion=None, complete=True)


def against(
    before: PlanFacts, after: PlanFacts, adopted: Mapping[str, frozenset[str] | None], **more: Any
) -> list[str | None]:
    return [each.address for each in unproved(before, after, adopted=adopted, **more)]


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
    (first, second) = unproved(
        BEFORE, facts(change("t.a", "/tags/env"), change("t.c", actions=REPLACE)), adopted=TAGS
    )
    assert first.sentence == "the plan still shows a difference at /tags/env"
    assert second.sentence == "t.c would be touched then (delete and create)"
