"""The comment of a preview: for people to read, in bounds, and nothing that outsiders wrote speaks in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.model import (
    AttributeChange,
    Cause,
    CommitState,
    ErrorReport,
    Finding,
    FindingKind,
    PlannedChange,
    PlanSummary,
    Severity,
)
from driftwatch.notify.render_preview import GoneStack, Preview, StackPreview, Step, Wait, render
from driftwatch.policy.admission import Held

MARK = "<!-- driftwatch:preview platform x -->"
HEAD = "a" * 40
EVIL = "x` @ada closes #12\n<!-- y --> <script>[a](http://b) ``` /approve\n/close"


def finding(address: str, *, value: str = "hot", sensitive: bool = False) -> Finding:
    change = AttributeChange(
        path="/tags/tier",
        before="cold",
        actual="cold",
        after=value,
        sensitive=sensitive,
        cause=Cause.UNAPPLIED_COMMIT,
    )
    return Finding(
        address=address,
        type="sandbox_bucket",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.UNAPPLIED_COMMIT,),
        severity=Severity.LOW,
        fingerprint="f",
        counted=True,
        attributes=(change,),
    )


def change(address: str, *actions: str, kind: str = "sandbox_bucket") -> PlannedChange:
    attributes = ("/tags/tier",) if actions == ("update",) else ()
    return PlannedChange(address=address, type=kind, actions=actions, attributes=attributes)


def stack(name: str = "platform/net", *changes: PlannedChange, **other: Any) -> StackPreview:
    count = {
        word: sum(each.actions == (word,) for each in changes) for word in ("create", "update", "delete")
    }
    summary = PlanSummary(
        adds=count["create"],
        updates=count["update"],
        destroys=count["delete"],
        replaces=sum(len(each.actions) > 1 for each in changes),
        changes=changes,
    )
    standard: dict[str, Any] = {"state": CommitState.SUCCESS, "said": "words", "summary": summary}
    return StackPreview(stack=name, **(standard | other))


def preview(*stacks: StackPreview, step: Step = Step.DONE, **other: Any) -> Preview:
    return Preview(step=step, head=HEAD, base="b" * 40, stacks=stacks, **other)


def bare(text: str) -> str:
    """What is left of a comment where everything in code spans is taken out, as a forge reads it."""
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text)


def test_the_first_line_is_the_mark_and_the_second_says_it_all() -> None:
    changes = change("b.a", "create"), change("b.b", "update"), change("b.c", "delete", "create")
    lines = render(preview(stack("platform/net", *changes)), MARK).splitlines()
    assert lines[0] == MARK
    assert lines[2] == "**driftwatch**: 1 stack: 1 to add, 1 to change, 1 to replace."


def test_what_is_destroyed_is_said_with_what_is_lost_for_good() -> None:
    changes = (
        change("db.orders", "delete", kind="aws_db_instance"),
        change("db.users", "delete", "create", kind="aws_db_instance"),
        change("fw.admin", "delete", kind="sandbox_firewall"),
        change("x.y", "forget", kind="sandbox_firewall"),
    )
    text = render(preview(stack("platform/net", *changes)), MARK)
    assert "- **destroys** `db.orders`" in text
    assert "- **replaces** `db.users`" in text
    assert "- **forgets** `x.y`" in text
    assert "- `db.orders`, `db.users`: a database with all its rows" in text
    assert "- what is forgotten stays in the cloud" in text
    assert "fw.admin`:" not in text


def test_values_are_shown_and_sensitive_ones_are_not() -> None:
    changes = change("b.a", "update"), change("b.b", "update")
    found = (finding("b.a"), finding("b.b", value="sensitive:hmac-sha256:1234", sensitive=True))
    text = render(preview(stack("platform/net", *changes, findings=found)), MARK)
    assert '`/tags/tier`: `"cold"` → `"hot"`' in text
    assert "`/tags/tier`: (sensitive, changed)" in text
    assert "1234" not in text


def test_what_needs_an_approval_says_how_and_who_gave_it() -> None:
    waits = stack("platform/net", change("b", "delete"), approval=True, state=CommitState.FAILURE)
    text = render(preview(waits, digest="d1d1", needed=2), MARK)
    assert "`/driftwatch approve d1d1`" in text
    assert "by 2 people with the right" in text
    done = stack("platform/net", change("b", "delete"), approval=True, approved=("bob",))
    text = render(preview(done, digest="d1d1"), MARK)
    assert "/driftwatch approve" not in text
    assert "Approved by `bob`." in text


def test_what_holds_a_deploy_is_said_with_its_word_and_when_that_may_change() -> None:
    until = datetime.fromisoformat("2026-12-01T01:00:00+01:00")
    held = Held(reason="deny_window", sentence="Window freeze forbids it.", until=until)
    told = stack("platform/net", change("b", "update"), after="It is applied by itself.", held=(held,))
    text = render(preview(told), MARK)
    assert "After the merge: `It is applied by itself.`" in text
    assert "`deny_window`: `Window freeze forbids it.` It may change at 2026-12-01 00:00 UTC." in text
    assert until.astimezone(UTC).hour == 0


@pytest.mark.parametrize(
    ("states", "step", "state"),
    [
        ((), Step.DONE, CommitState.SUCCESS),
        ((CommitState.SUCCESS, CommitState.FAILURE, CommitState.ERROR), Step.DONE, CommitState.FAILURE),
        ((CommitState.SUCCESS, CommitState.ERROR), Step.DONE, CommitState.ERROR),
        ((CommitState.SUCCESS,), Step.PLANNING, CommitState.PENDING),
        ((), Step.WAITING, CommitState.PENDING),
        ((), Step.CONFLICT, CommitState.FAILURE),
        ((), Step.FAILED, CommitState.ERROR),
    ],
)
def test_all_together_stand_as_the_worst_of_them(
    states: tuple[CommitState, ...], step: Step, state: CommitState
) -> None:
    found = preview(*(stack(f"platform/{each}", state=each) for each in states), step=step)
    assert found.state is state
    assert len(found.said) < 140


def everything(word: str) -> Preview:
    """A preview with a word of somebody's in every place there is."""
    error = ErrorReport(code="plan_failed", message=word, advice=word, detail=word)
    told = stack(
        word,
        change(word, "update"),
        change(word, "delete", kind="aws_db_instance"),
        findings=(finding(word, value=word),),
        already=(finding(word),),
        notes=(word,),
        after=word,
        held=(Held(reason="deny_window", sentence=word),),
        approved=(word,),
        error=error,
    )
    return preview(
        told,
        waits=(Wait(sentence="Ours:", path=word, line=word),),
        gone=(GoneStack(stack=word, resources=(word,), open_findings=2),),
        answers=(word,),
        error=error,
        unheard=True,
        own_file=True,
    )


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.just(EVIL), st.text(alphabet="`@#<!->/ \nab|[]()", min_size=1, max_size=60)))
def test_nothing_that_outsiders_wrote_speaks(word: str) -> None:
    """Outside of code there are no mentions, references, links, comments or commands."""
    ours = bare(render(everything("ours"), MARK).removeprefix(MARK))
    for step in (Step.DONE, Step.WAITING):
        text = render(preview(*everything(word).stacks, step=step), MARK).removeprefix(MARK)
        assert not re.search(r"[@#<]|\]\(|-->", bare(text).replace("###", ""))
        said = text.replace(f"```\n/driftwatch plan {HEAD}\n```", "")
        assert not any(line.startswith("/") for line in said.splitlines())
    theirs = bare(render(everything(word), MARK).removeprefix(MARK))
    assert theirs == ours


def test_three_hundred_stacks_with_much_to_say_fit_and_none_is_left_out_of_the_list() -> None:
    changes = [change(f'module.a["{number:03}"].aws_instance.b', "update") for number in range(100)]
    stacks = [stack(f"platform/envs/prod/service-{number:03}", *changes) for number in range(300)]
    text = render(preview(*stacks), MARK)
    assert len(text) <= 60_000
    assert all(f"`platform/envs/prod/service-{number:03}`" in text for number in range(300))
    assert "are not told in full" in text
    assert text.rstrip().endswith("`/driftwatch plan` as a comment has it planned anew.")


def test_stacks_with_endless_names_are_counted_where_they_do_not_fit() -> None:
    stacks = [stack(f"{number:04}{'n' * 500}", change("b", "update")) for number in range(1000)]
    text = render(preview(*stacks), MARK)
    assert len(text) <= 60_000
    assert re.search(r"… and [0-9,]+ more stacks", text)


def test_a_value_of_megabytes_is_cut() -> None:
    found = finding("b.a", value="v" * 3_000_000)
    text = render(preview(stack("platform/net", change("b.a", "update"), findings=(found,))), MARK)
    assert len(text) < 2_000


def test_what_lets_it_be_planned_is_there_to_be_copied_with_the_whole_hash() -> None:
    text = render(preview(step=Step.WAITING, waits=(Wait(sentence="It comes from a fork."),)), MARK)
    assert f"\n```\n/driftwatch plan {HEAD}\n```\n" in text
