"""What an incident looks like in Slack: all of its stacks, how they stand, and what can be done with it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.log import register_secret
from driftwatch.model import (
    AttributeChange,
    Cause,
    Decision,
    ErrorReport,
    Finding,
    FindingKind,
    Hold,
    Incident,
    IncidentLine,
    PlannedChange,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    Severity,
    StackId,
    TransitionKind,
    Verdict,
)
from driftwatch.notify import render
from driftwatch.notify.buttons import LONGEST_VALUE, Button, read_value
from driftwatch.notify.render_incident import head, is_digest, is_escalation, present, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.model import Announcement, Message

AT = datetime(2026, 1, 2, 12, tzinfo=UTC)
TITLE = "commit 1a2b3c4d5e is not applied"
DETECTOR = [kind for kind in TransitionKind if kind.is_of_detector]
DRIFT = [kind for kind in TransitionKind if not kind.is_of_detector]


def elements(rendered: Any, kind: str) -> list[Any]:
    """Everything of this `type` in the blocks, at whatever depth."""
    return list(of_type(list(rendered.blocks), kind))


def of_type(part: Any, kind: str) -> Iterator[Any]:
    if isinstance(part, dict):
        if part.get("type") == kind:
            yield part
        for value in part.values():
            yield from of_type(value, kind)
    elif isinstance(part, list):
        for item in part:
            yield from of_type(item, kind)


def shown(rendered: Any) -> str:
    """What stands in the channel, beside buttons."""
    return "\n".join(
        part["text"]
        for block in rendered.blocks
        if block["type"] != "actions"
        for part in block.get("elements", [block.get("text")])
    )


def length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.fixture(scope="session")
def stacks(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> Callable[..., list[Announcement]]:
    """So many stacks with a finding each, by default of the same severity."""

    def made(number: int, kind: TransitionKind = TransitionKind.DRIFT_FOUND, **other: Any) -> Any:
        findings = (a_finding(fingerprint="0123456789abcdef" * 2),)
        given = {"findings": findings, "total": 1, "opened": ("aws_sqs_queue.jobs",)} | other
        return [an_announcement(kind, stack=f"platform/s{place:03}", **given) for place in range(number)]

    return made


@pytest.fixture(scope="session")
def of(a_message: Callable[..., Message], an_incident: Callable[..., Incident]) -> Callable[..., Message]:
    """A message of an incident over these announcements."""

    def made(*told: Announcement, **other: Any) -> Message:
        return a_message(1, told[0], more=told[1:], incident=an_incident(*told, **other), thread="incident:7")

    return made


# One stack with a difference of its own: the ordinary case.


@pytest.mark.parametrize("kind", TransitionKind)
def test_a_stack_by_itself_looks_as_its_announcement_does(
    of: Callable[..., Message], an_announcement: Callable[..., Announcement], kind: TransitionKind
) -> None:
    told = an_announcement(kind)

    assert head(of(told), buttons=False) == render.message(told)
    assert head(replace(of(told), incident=None), buttons=True) == render.message(told)
    assert reply([told]) == render.reply(told)


def test_of_several_announcements_the_last_one_is_the_present_condition(
    of: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    changed = an_announcement(TransitionKind.DRIFT_CHANGED, total=4)
    message = replace(of(an_announcement()), more=(changed,))

    assert head(message, buttons=False) == render.message(changed)


def test_what_was_done_since_shows_in_what_was_found(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> None:
    """The numbers are those of after, the warning and the kind those of what was found."""
    found = an_announcement(
        TransitionKind.REMINDER,
        findings=(a_finding("aws_x.a"), a_finding("aws_x.b")),
        total=2,
        mass_deletion="9 of 10 are gone.",
    )
    handled = an_announcement(
        TransitionKind.HANDLED, findings=(a_finding("aws_x.b"),), total=1, set_aside=1, said="anna snoozed it"
    )

    now = present([found, handled])

    assert render.headline(now).endswith(": still drifted, 1 finding, 1 snoozed or accepted")
    assert now.said == "anna snoozed it"
    assert now.mass_deletion == "9 of 10 are gone."
    assert [finding.address for finding in now.findings] == ["aws_x.b"]


def test_what_became_of_a_repair_shows_in_what_was_found(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> None:
    """The kind and the colour are those of the drift, also after its end."""
    found = an_announcement(mass_deletion="9 of 10 are gone.")
    repair = an_announcement(TransitionKind.REPAIR, total=1, findings=(a_finding(),), said="It is applied.")
    proved = an_announcement(TransitionKind.REPAIR, verdict=Verdict.IN_SYNC, said="It is proved.")
    resolved = an_announcement(TransitionKind.RESOLVED)

    assert present([found, repair]) == replace(found, said="It is applied.")
    assert render.headline(present([found, repair])).startswith("\N{LARGE RED CIRCLE}")
    assert render.headline(present([repair])).startswith("\N{LARGE RED CIRCLE}")
    assert render.headline(present([resolved, proved])).startswith("\N{LARGE GREEN CIRCLE}")
    assert render.headline(proved).startswith("\N{LARGE GREEN CIRCLE}")


def test_what_was_reopened_after_the_end_is_not_resolved(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> None:
    reopened = an_announcement(
        TransitionKind.HANDLED, findings=(a_finding(),), total=1, said="anna re-opened it"
    )

    assert present([an_announcement(TransitionKind.RESOLVED), reopened]) == reopened


def test_where_people_only_did_things_the_last_of_them_counts(
    an_announcement: Callable[..., Announcement],
) -> None:
    first, second = (an_announcement(TransitionKind.HANDLED, total=number, said="x") for number in (2, 1))

    assert present([first, second]) == second


# One cause over several stacks.


def test_many_stacks_are_one_message_with_a_line_each(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    an_announcement: Callable[..., Announcement],
) -> None:
    over = an_announcement(TransitionKind.RESOLVED, stack="platform/last")

    rendered = head(of(*stacks(39), over, title=TITLE), buttons=False)

    assert rendered.blocks[0]["text"]["text"] == f"🔴 {TITLE}: 40 stacks, 39 open"
    lines = rendered.blocks[1]["text"]["text"].splitlines()
    assert lines[0] == "*HIGH* `platform/s000` drifted, 1 finding"
    assert lines[39] == "~`platform/last`~ resolved"
    assert len(lines) == 40
    assert rendered.stacks == {*(f"platform/s{place:03}" for place in range(39)), "platform/last"}
    assert rendered.text.splitlines() == [
        f"🔴 {TITLE}: 40 stacks, 39 open",
        "`platform/s000`, `platform/s001`, `platform/s002` and 37 more",
    ]


def test_a_line_says_the_worst_of_its_stack(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    a_finding: Callable[..., Finding],
) -> None:
    mixed = [a_finding(severity=severity) for severity in (Severity.LOW, Severity.CRITICAL, Severity.INFO)]
    told = stacks(2, findings=tuple(mixed), total=57, set_aside=3, verdict=Verdict.MIXED)

    assert (
        "*CRITICAL* `platform/s001` drifted, and changes not applied, 57 findings, 3 snoozed or accepted"
        in shown(head(of(*told), buttons=False)).splitlines()
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TransitionKind.DRIFT_FOUND, "🔴 the same change in 2 stacks: 2 open"),
        (TransitionKind.CHECK_FAILING, "🟡 the same failure in 2 stacks: 2 open"),
        (TransitionKind.STALE, "🟡 the same failure in 2 stacks: 2 open"),
        (TransitionKind.RESOLVED, "🟢 the same change in 2 stacks: none open"),
        (TransitionKind.RECOVERED, "🟢 the same failure in 2 stacks: none open"),
    ],
)
@pytest.mark.parametrize("title", [None, " ", "\u202e"])
def test_the_headline_says_how_it_stands_also_where_the_cause_has_no_name(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    kind: TransitionKind,
    words: str,
    title: str | None,
) -> None:
    assert head(of(*stacks(2, kind), title=title), buttons=False).blocks[0]["text"]["text"] == words


def test_one_stack_of_a_cause_with_a_name_is_shown_with_all_its_findings(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(a_finding(f"aws_x.n{number}", fingerprint=f"{number:032x}") for number in range(3))

    rendered = head(of(*stacks(1, findings=findings, total=3), title=TITLE), buttons=True)

    assert rendered.blocks[0]["text"]["text"] == f"🔴 {TITLE}: 1 stack, 1 open"
    assert all(finding.address in shown(rendered) for finding in findings)
    assert len(elements(rendered, "overflow")) == 3
    assert "`driftwatch findings list --stack platform/s000`" in shown(rendered)


def test_findings_of_the_worst_stack_stand_as_an_example(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    rendered = head(of(*stacks(2)), buttons=True)

    assert rendered.blocks[2]["text"]["text"].splitlines() == [
        "*For example* `platform/s000`",
        "*HIGH* `aws_sqs_queue.jobs` modified: changed outside Terraform",
        "• `/delay_seconds`: `90` → `0`",
    ]
    assert not elements(rendered, "overflow")


def test_an_example_that_is_cut_says_how_many_there_are(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(a_finding(f"aws_x.{'n' * 170}{number:03}") for number in range(20))

    example = head(of(*stacks(2, findings=findings, total=1234)), buttons=False).blocks[2]["text"]["text"]

    named = example.count("aws_x.")
    assert 0 < named < 20
    assert example.splitlines()[-1] == f"… and {1234 - named} findings more"


def test_a_failure_over_stacks_says_what_fails_and_what_to_do(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    error = ErrorReport(code="credentials_expired", message="The token expired.", advice="Renew it.")
    told = stacks(3, TransitionKind.CHECK_FAILING, findings=(), verdict=Verdict.ERROR, error=error)

    rendered = head(of(*told), buttons=True)

    assert "`platform/s002` the check fails (credentials_expired)" in shown(rendered).splitlines()
    assert "*For example* `platform/s000`\n*credentials_expired*\nThe token expired." in shown(rendered)
    assert "*What to do:* Renew it." in shown(rendered)
    assert "in sync" not in shown(rendered)
    assert "`driftwatch stacks list`" in shown(rendered)


def test_a_mass_deletion_is_told_before_any_stack(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    rendered = head(of(*stacks(3, mass_deletion="9 of 10 are <gone>.")), buttons=False)

    assert rendered.blocks[1]["text"]["text"].endswith(
        "*So much is gone that this may not be true.* `platform/s000`: 9 of 10 are &lt;gone&gt;. "
        "And so in 2 more stacks."
    )
    assert "9 of 10 are &lt;gone&gt;." in rendered.text


def test_a_mass_deletion_that_is_over_is_no_warning_any_more(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    rendered = head(of(*stacks(2, TransitionKind.RESOLVED, mass_deletion="9 of 10 are gone.")), buttons=False)

    assert "may not be true" not in shown(rendered)


def test_what_a_person_did_last_stands_under_the_headline(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    rendered = head(of(*stacks(2, TransitionKind.HANDLED, said="anna acknowledged <all>")), buttons=False)

    assert rendered.blocks[1]["elements"][0]["text"] == "anna acknowledged &lt;all&gt;"


def test_owners_of_all_stacks_are_named_once_and_the_rest_counted(
    of: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = [
        an_announcement(stack=f"platform/s{number}", owners=("@all", f"@team-{number}"))
        for number in range(13)
    ]

    last = shown(head(of(*told), buttons=False)).splitlines()[-1]

    assert last.startswith("Owners: @all, @team-0, @team-1, ")
    assert " and 4 more · since 2026-01-02 12:00 UTC · as of 2026-01-02 12:00 UTC" in last
    assert last.count("@all") == 1


def test_what_is_over_is_green_struck_through_and_says_since_when(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]], noon: Any
) -> None:
    told = stacks(2, TransitionKind.RESOLVED, findings=(), total=0, owners=())

    rendered = head(of(*told, title=TITLE, closed_at=noon + timedelta(hours=1)), buttons=True)

    assert rendered.blocks[0]["text"]["text"] == f"🟢 {TITLE}: 2 stacks, none open"
    assert rendered.blocks[1]["text"]["text"] == "~`platform/s000`~ resolved\n~`platform/s001`~ resolved"
    assert shown(rendered).endswith(
        "Owners: no owners declared · since 2026-01-02 12:00 UTC · over 2026-01-02 13:00 UTC"
    )
    assert [block["type"] for block in rendered.blocks] == ["header", "section", "section", "context"]


@pytest.mark.row(54)
def test_stacks_that_are_not_shown_are_counted_truly(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    """Row 54: more stacks than lines, and every number is that of all of them."""
    rendered = head(of(*stacks(50), title=TITLE, total=4000, open=3999), buttons=False)

    assert rendered.blocks[0]["text"]["text"].endswith(": 4000 stacks, 3999 open")
    assert "These are 50 of *4000* stacks." in shown(rendered)
    assert rendered.text.endswith(" and 3997 more")


@pytest.mark.row(54)
def test_lines_that_do_not_fit_are_counted_truly_and_leave_room_for_an_example(
    of: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    """Row 54: fifty stacks with endless names."""
    told = [an_announcement(stack=f"platform/{number:02}{'x' * 5000}") for number in range(50)]

    rendered = head(of(*told), buttons=True)

    named = shown(rendered).count("*HIGH* `platform/")
    assert 20 < named < 50
    assert f"These are {named} of *50* stacks." in shown(rendered)
    assert rendered.stacks == {each.stack for each in told[:named]}
    assert "*For example*" in shown(rendered)
    assert len(elements(rendered, "button")) == 5


# The reply in the thread.


def test_several_announcements_are_one_reply_with_a_line_each(
    an_announcement: Callable[..., Announcement],
) -> None:
    told = [
        an_announcement(
            TransitionKind.DRIFT_CHANGED,
            stack="platform/a",
            opened=tuple(f"n{number}" for number in range(5)),
            changed=("c",),
            resolved=("g",),
        ),
        an_announcement(TransitionKind.HANDLED, stack="platform/b", total=1, said="anna snoozed `aws_x.y`"),
        an_announcement(TransitionKind.RESOLVED, stack="platform/c", resolved=("aws_x.z",)),
    ]

    rendered = reply(told)

    assert rendered.text.splitlines() == [
        "🔴 `platform/a` drifted, 1 finding · New: `n0`, `n1`, `n2` and 2 more · Changed: `c` · Gone: `g`",
        "🔴 `platform/b` drifted, 1 finding · anna snoozed `aws_x.y`",
        "🟢 `platform/c` resolved · Gone: `aws_x.z`",
    ]
    assert shown(rendered) == rendered.text
    assert rendered.stacks == {"platform/a", "platform/b", "platform/c"}


def test_a_reply_that_is_cut_counts_what_it_hides(stacks: Callable[..., list[Announcement]]) -> None:
    rendered = reply(stacks(1000))

    named = shown(rendered).count("`platform/s")
    assert 50 < named < 1000
    assert shown(rendered).endswith(f"… and {1000 - named} more")
    assert rendered.text.endswith(f"… and {1000 - rendered.text.count('`platform/s')} more")
    assert len(rendered.stacks) == named


@pytest.mark.parametrize(
    ("kind", "severity", "opened", "loud"),
    [
        (TransitionKind.DRIFT_FOUND, Severity.CRITICAL, ("aws_x.y",), True),
        (TransitionKind.DRIFT_CHANGED, Severity.CRITICAL, ("aws_x.y",), True),
        (TransitionKind.DRIFT_CHANGED, Severity.CRITICAL, (), False),
        (TransitionKind.DRIFT_CHANGED, Severity.HIGH, ("aws_x.y",), False),
        (TransitionKind.REMINDER, Severity.CRITICAL, ("aws_x.y",), False),
        (TransitionKind.HANDLED, Severity.CRITICAL, ("aws_x.y",), False),
        (TransitionKind.REPAIR, Severity.CRITICAL, ("aws_x.y",), False),
    ],
)
def test_only_what_is_critical_and_new_leaves_its_thread(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    kind: TransitionKind,
    severity: Severity,
    opened: tuple[str, ...],
    loud: bool,
) -> None:
    told = an_announcement(kind, findings=(a_finding(severity=severity),), total=1, opened=opened)

    assert is_escalation([told]) is loud
    assert is_escalation([an_announcement(), told]) is loud


# The digest.


def test_a_digest_is_a_list_of_what_was_told(
    a_message: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    found, gone = stacks(1)[0], stacks(2, TransitionKind.RESOLVED, resolved=("aws_x.y",))[1]
    message = a_message(1, found, more=(gone,), thread="digest:2026-01-02")

    rendered = head(message, buttons=True)

    assert is_digest(message)
    assert rendered.blocks[0]["text"]["text"] == "Drift digest"
    assert shown(rendered).splitlines()[1:4] == [
        "2 messages on 2 stacks",
        "🔴 `platform/s000` drifted, 1 finding · New: `aws_sqs_queue.jobs`",
        "🟢 `platform/s001` resolved · New: `aws_sqs_queue.jobs` · Gone: `aws_x.y`",
    ]
    assert rendered.text.splitlines()[0] == "Drift digest: 2 messages on 2 stacks"
    assert not elements(rendered, "button")


def test_a_digest_that_is_cut_counts_what_it_hides(
    a_message: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    first, *others = stacks(900)

    rendered = head(a_message(1, first, more=tuple(others), thread="digest:x"), buttons=True)

    named = shown(rendered).count("`platform/s")
    assert 50 < named < 900
    assert f"These are {named} of *900* messages." in shown(rendered)
    assert "900 messages on 900 stacks" in shown(rendered)


def test_an_incident_is_no_digest_whatever_its_thread_is_called(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    assert not is_digest(replace(of(*stacks(2)), thread="digest:x"))


# Buttons.


def test_buttons_carry_the_incident_and_what_was_seen_of_it(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    pressed = elements(head(of(*stacks(2), id=12, seen="beef" * 8), buttons=True), "button")

    aims = [read_value(button["value"]) for button in pressed]
    assert [(aim.button, aim.incident, aim.seen, aim.fingerprint, aim.hours) for aim in aims] == [
        (Button.ACKNOWLEDGE, 12, "beef" * 8, None, None),
        (Button.SNOOZE, 12, "beef" * 8, None, 24),
        (Button.ACCEPT, 12, "beef" * 8, None, None),
        (Button.REPAIR, 12, "beef" * 8, None, None),
        (Button.DETAILS, 12, "beef" * 8, None, None),
    ]
    assert [button["text"]["text"] for button in pressed] == [
        "Acknowledge",
        "Snooze 1 day",
        "Accept…",
        "Repair",
        "Details",
    ]
    assert [button["action_id"] for button in pressed] == [f"driftwatch:{aim.button}" for aim in aims]


def test_what_is_done_at_once_to_many_stacks_is_asked_about(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    pressed = elements(head(of(*stacks(3), title=TITLE, total=40, open=37), buttons=True), "button")

    asked = {
        button["text"]["text"]: button["confirm"]["text"]["text"] for button in pressed if "confirm" in button
    }
    assert asked == {
        "Acknowledge": "This acknowledges all that is open in 37 stacks.",
        "Snooze 1 day": "This snoozes for a day all that is open in 37 stacks.",
    }


def test_what_concerns_one_stack_is_done_without_asking(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    for told in (of(*stacks(1)), of(*stacks(1), title=TITLE), of(*stacks(4), title=TITLE, open=1)):
        pressed = elements(head(told, buttons=True), "button")
        assert len(pressed) == 5
        assert not any("confirm" in button for button in pressed)


def test_each_finding_has_a_menu_of_its_own(
    of: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(a_finding(f"aws_x.n{number}", fingerprint=f"{number:032x}") for number in range(12))

    rendered = head(of(an_announcement(findings=findings, total=12), id=9), buttons=True)

    menus = elements(rendered, "overflow")
    assert len(menus) == 10
    assert {menu["action_id"] for menu in menus} == {"driftwatch:finding"}
    aims = [read_value(option["value"]) for option in menus[3]["options"]]
    assert [(aim.button, aim.hours) for aim in aims] == [
        (Button.ACKNOWLEDGE, None),
        (Button.SNOOZE, 24),
        (Button.SNOOZE, 168),
        (Button.ACCEPT, None),
        (Button.DETAILS, None),
    ]
    assert {(aim.incident, aim.fingerprint, aim.seen) for aim in aims} == {(9, f"{3:032x}", f"{3:032x}")}
    beside = [block for block in rendered.blocks if block.get("accessory") == menus[3]]
    assert "`aws_x.n3`" in beside[0]["text"]["text"]


def test_menus_give_way_before_findings_do(
    of: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(
        a_finding(f"aws_x.{number:02}{'n' * 140}", fingerprint=f"{number:032x}", message="m" * 100)
        for number in range(20)
    )

    rendered = head(of(an_announcement(findings=findings, total=20)), buttons=True)

    assert all(finding.address in shown(rendered) for finding in findings)
    assert not elements(rendered, "overflow")
    assert len(elements(rendered, "button")) == 5


@pytest.mark.parametrize("digest", ["", "fp-aws_x", "ABCDEF0123456789", "0123", "<!channel>", "a" * 65])
def test_what_could_not_be_read_again_is_no_button(
    of: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    digest: str,
) -> None:
    told = an_announcement(findings=(a_finding(fingerprint=digest),))

    rendered = head(of(told, seen=digest), buttons=True)

    assert "actions" not in {block["type"] for block in rendered.blocks}
    assert not elements(rendered, "overflow")


def test_where_no_press_can_come_back_there_are_no_buttons(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    for told in (of(*stacks(1)), of(*stacks(3))):
        rendered = head(told, buttons=False)
        assert not elements(rendered, "button")
        assert not elements(rendered, "overflow")


def test_what_is_over_has_no_buttons(
    of: Callable[..., Message], stacks: Callable[..., list[Announcement]]
) -> None:
    for number in (1, 3):
        rendered = head(of(*stacks(number, TransitionKind.RESOLVED)), buttons=True)
        assert not elements(rendered, "button")
        assert not elements(rendered, "overflow")


@pytest.mark.parametrize("kind", DETECTOR)
@pytest.mark.parametrize("number", [1, 3])
def test_there_is_nothing_to_press_about_the_detector(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    kind: TransitionKind,
    number: int,
) -> None:
    rendered = head(of(*stacks(number, kind), open=number), buttons=True)

    assert not elements(rendered, "button")
    assert not elements(rendered, "overflow")


# Whatever the names hold.


@pytest.mark.row(54)
@pytest.mark.timeout(60)
def test_ten_thousand_findings_at_once_keep_within_slacks_limits(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    a_finding: Callable[..., Finding],
) -> None:
    """Row 54: also where they were not cut before they came here."""
    findings = tuple(
        a_finding(f"aws_x.n[{number}]", fingerprint=f"{number:032x}") for number in range(10_000)
    )

    for told in (stacks(1, findings=findings, total=10_000), stacks(40, findings=findings[:250], total=250)):
        rendered = head(of(*told), buttons=True)
        assert_within_limits(rendered)
        assert re.search(r"of \*10000\* findings|… and \d+ findings more", shown(rendered))


@pytest.mark.row(54)
@pytest.mark.timeout(60)
def test_values_of_megabytes_are_cut(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    """Row 54: in one stack and as an example of several."""
    large = "<!channel> " * (5 * 1024 * 1024 // 11)
    finding = a_finding(attributes=(a_change(actual=large, after={"key": large}),))

    for number in (1, 3):
        rendered = head(of(*stacks(number, findings=(finding,))), buttons=True)
        assert_within_limits(rendered)
        assert '`/delay_seconds`: `"&lt;!channel&gt; ' in shown(rendered)


HOSTILE = [
    "<!channel>",
    "<@U1>",
    "<!subteam^S1|x>",
    "<https://evil.example|click>",
    "<javascript:alert(1)|click>",
    "*x* _y_ ~z~",
    "a`<!here>`b",
    "```<!here>```",
    "a\u202edlot\u2066 b\x1b[31m\r\n<!here>",
    "&lt;!channel&gt;",
]


@pytest.mark.row(54)
@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_mention_link_or_turn_a_line_round(
    of: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    name: str,
) -> None:
    """Row 54: in stacks, owners, titles, what was said, errors, addresses, paths and values."""
    change = a_change(path=f"/{name}", actual=name, after=name)
    finding = a_finding(f"aws_x.{name}", attributes=(change,), message=name, fingerprint="ab" * 16)
    for kind in TransitionKind:
        told = an_announcement(
            kind,
            stack=f"platform/{name}",
            findings=(finding,),
            total=1,
            owners=(name,),
            opened=(name,),
            resolved=(name,),
            error=ErrorReport(code=name, message=name, advice=name),
            mass_deletion=name,
            disagreement=name,
            flapping=(name,),
            said=name,
        )
        for state in ProposalState:
            asked = (proposal(name, state=state),) * 5
            for rendered in everything_said_of(of(told, told, title=name, open=2, proposals=asked)):
                assert_within_limits(rendered)
                assert_tame(rendered)


def proposal(name: str, **other: Any) -> Proposal:
    """One in which every word of others is `name`."""
    change = PlannedChange(address=name, type=name, actions=("delete", "create"), attributes=(name,))
    draft = ProposalDraft(
        stack=StackId(repository=name, path=name, workspace=name),
        kind=ProposalKind.REVERT,
        commit=name,
        digest=f"sha256:{12:064x}",
        findings=(name,),
        addresses=(name,),
        summary=PlanSummary(
            adds=10**6, updates=10**6, destroys=10**6, replaces=1, changes=(change,) * 100, outputs=(name,)
        ),
        reason=name,
        created_by=name,
        created_at=AT,
        expires_at=AT,
        automatic=False,
        risks=(name,) * 10,
        author=name,
    )
    said = [
        Decision(by=f"{name}{place}", at=AT, via="slack", approves=True, digest=draft.digest)
        for place in range(10)
    ]
    held = Hold(reason=name, sentence=name, until=AT)
    return Proposal(
        **({"id": 10**14, "state": ProposalState.WAITING, "draft": draft} | other),
        decisions=tuple(said),
        held=held,
    )


def test_a_backtick_in_the_name_of_a_stack_does_not_end_its_code_span(
    of: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement(stack="platform/a` *b* `c")

    assert "`platform/a\N{MODIFIER LETTER GRAVE ACCENT} *b* \N{MODIFIER LETTER GRAVE ACCENT}c`" in shown(
        head(of(told, told), buttons=True)
    )


@pytest.mark.row(68)
def test_a_registered_secret_is_blotted_out_wherever_it_stands(
    of: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    """Row 68: in titles, owners, what was said, and in an example."""
    canary = "canary-s3cr3t-incident"
    register_secret(canary)
    change = a_change(path=f"/{canary}", actual=[canary], after=canary)
    for kind in TransitionKind:
        told = an_announcement(
            kind,
            stack=f"platform/{canary}",
            findings=(a_finding(canary, attributes=(change,), message=canary, fingerprint="ab" * 16),),
            total=1,
            owners=(canary,),
            opened=(canary,),
            error=ErrorReport(code=canary, message=canary, advice=canary),
            mass_deletion=canary,
            said=canary,
        )
        asked = (proposal(canary), proposal(canary, state=ProposalState.PROPOSED))
        for rendered in everything_said_of(of(told, told, title=canary, open=2, proposals=asked)):
            assert canary not in json.dumps([rendered.text, rendered.blocks])


@pytest.mark.parametrize("number", [1, 2])
def test_sensitive_values_are_never_shown(
    of: Callable[..., Message],
    stacks: Callable[..., list[Announcement]],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    number: int,
) -> None:
    digest = "sensitive:hmac-sha256:0011223344556677"
    change = a_change(path="/password", before=digest, actual=digest, after=digest, sensitive=True)

    rendered = head(of(*stacks(number, findings=(a_finding(attributes=(change,)),))), buttons=True)

    assert "`/password`: (sensitive, changed)" in shown(rendered)
    assert digest not in json.dumps([rendered.text, rendered.blocks])


nasty_text = st.text(
    st.one_of(st.characters(), st.sampled_from("<>&`*_~|@!#\n\r\t\x00\x1b\u202e\ud800😀")), max_size=400
)
names = st.lists(nasty_text, max_size=6).map(tuple)
SECRET_VALUE = "never-shown-anywhere"
changes = st.builds(
    AttributeChange,
    path=nasty_text,
    before=nasty_text,
    actual=nasty_text,
    after=nasty_text,
    sensitive=st.just(value=False),
    cause=st.sampled_from(Cause),
) | st.builds(
    AttributeChange,
    path=nasty_text,
    before=st.just(SECRET_VALUE),
    actual=st.just(SECRET_VALUE),
    after=st.just(SECRET_VALUE),
    sensitive=st.just(value=True),
    cause=st.sampled_from(Cause),
)
findings = st.builds(
    Finding,
    address=nasty_text,
    type=nasty_text,
    kind=st.sampled_from(FindingKind),
    action=st.just("update"),
    causes=st.lists(st.sampled_from(Cause), max_size=4).map(tuple),
    severity=st.sampled_from(Severity),
    fingerprint=st.just("0123456789abcdef" * 2) | nasty_text,
    counted=st.just(value=True),
    attributes=st.lists(changes, max_size=4).map(tuple),
    message=st.none() | nasty_text,
)
reports = st.builds(ErrorReport, code=nasty_text, message=nasty_text, advice=st.none() | nasty_text)


proposals = st.builds(
    Proposal,
    id=st.integers(1, 10**15 - 1),
    state=st.sampled_from(ProposalState),
    draft=st.builds(
        ProposalDraft,
        stack=st.builds(StackId, repository=nasty_text, path=nasty_text, workspace=nasty_text),
        kind=st.sampled_from(ProposalKind),
        commit=nasty_text,
        digest=st.just(f"sha256:{'0d' * 32}") | nasty_text,
        findings=names,
        addresses=names,
        summary=st.builds(
            PlanSummary,
            adds=st.integers(0, 10**6),
            updates=st.integers(0, 10**6),
            destroys=st.integers(0, 10**6),
            replaces=st.integers(0, 10**6),
            changes=st.lists(
                st.builds(
                    PlannedChange,
                    address=nasty_text,
                    type=nasty_text,
                    actions=st.just(("update",)) | st.just(("delete",)),
                ),
                max_size=8,
            ).map(tuple),
            outputs=names,
        ),
        reason=nasty_text,
        created_by=nasty_text,
        created_at=st.just(AT),
        expires_at=st.none() | st.just(AT),
        automatic=st.booleans(),
        risks=names,
        author=st.none() | nasty_text,
    ),
    decisions=st.lists(
        st.builds(
            Decision,
            by=nasty_text,
            at=st.just(AT),
            via=st.just("slack"),
            approves=st.booleans(),
            digest=st.just(f"sha256:{'0d' * 32}"),
        ),
        max_size=5,
    ).map(tuple),
    held=st.none() | st.builds(Hold, reason=nasty_text, sentence=nasty_text, until=st.none() | st.just(AT)),
)


@st.composite
def announcements(draw: st.DrawFn, make: Callable[..., Announcement], kind: TransitionKind) -> Announcement:
    return make(
        kind,
        stack=draw(nasty_text),
        verdict=draw(st.sampled_from(Verdict)),
        findings=tuple(draw(st.lists(findings, max_size=2)) * draw(st.integers(1, 10))),
        total=draw(st.integers(0, 10**6)),
        opened=draw(names),
        changed=draw(names),
        resolved=draw(names),
        owners=draw(names),
        flapping=draw(names),
        error=draw(st.none() | reports),
        mass_deletion=draw(st.none() | nasty_text),
        disagreement=draw(st.none() | nasty_text),
        said=draw(st.none() | nasty_text),
        set_aside=draw(st.integers(0, 10**6)),
    )


@pytest.mark.row(54)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_incident_keeps_within_slacks_limits_and_has_no_markup_of_others(
    of: Callable[..., Message], an_announcement: Callable[..., Announcement], data: st.DataObject
) -> None:
    """Row 54: whatever the names hold, however many stacks there are, and whatever waits behind the first."""
    kinds = data.draw(st.sampled_from([DETECTOR, DRIFT]))
    some = data.draw(
        st.lists(
            st.sampled_from(kinds).flatmap(lambda kind: announcements(an_announcement, kind)),
            min_size=1,
            max_size=3,
        )
    )
    told = some * data.draw(st.integers(1, 17))
    lines = tuple(IncidentLine(announcement=each, over=data.draw(st.booleans())) for each in some)
    message = of(
        *told,
        title=data.draw(st.none() | nasty_text),
        lines=lines * (len(told) // len(some)),
        total=data.draw(st.integers(1, 10**6)),
        open=data.draw(st.integers(0, 10**6)),
        seen=data.draw(st.just("5eed" * 8) | nasty_text),
        proposals=data.draw(st.lists(proposals, max_size=5).map(tuple)),
    )

    for rendered in everything_said_of(message):
        assert_within_limits(rendered)
        assert_tame(rendered)
        assert SECRET_VALUE not in json.dumps([rendered.text, rendered.blocks])


def everything_said_of(message: Message) -> list[Any]:
    return [
        head(message, buttons=True),
        head(replace(message, more=(), incident=replace(message.incident, total=1)), buttons=True),
        head(replace(message, incident=replace(message.incident, total=1, title=None)), buttons=True),
        head(replace(message, incident=None, thread="digest:x"), buttons=True),
        reply(message.all_told),
        reply(message.all_told[:1]),
    ]


def assert_within_limits(rendered: Any) -> None:
    """Slack's, for blocks, texts and everything that can be pressed."""
    assert 0 < len(rendered.blocks) <= 50
    assert 0 < length(rendered.text) <= 3000
    assert sum(length(text) for text in written(list(rendered.blocks))) <= 9000
    for block in rendered.blocks:
        limit = 150 if block["type"] == "header" else 3000
        parts = [] if block["type"] == "actions" else block.get("elements", [block.get("text")])
        assert all(0 < length(part["text"]) <= limit for part in parts)
    for row in elements(rendered, "actions"):
        assert 0 < len(row["elements"]) <= 25
        assert len({button["action_id"] for button in row["elements"]}) == len(row["elements"])
    for button in elements(rendered, "button"):
        assert_pressable(button, button["action_id"])
        confirm = button.get("confirm", {})
        assert all(length(confirm[key]["text"]) <= 30 for key in confirm if key in ("confirm", "deny"))
        assert all(length(confirm[key]["text"]) <= 100 for key in confirm if key == "title")
        assert all(length(confirm[key]["text"]) <= 300 for key in confirm if key == "text")
    for menu in elements(rendered, "overflow"):
        assert 2 <= len(menu["options"]) <= 5
        for option in menu["options"]:
            assert_pressable(option, menu["action_id"])


def assert_pressable(pressed: Any, action_id: str) -> None:
    assert 0 < length(pressed["text"]["text"]) <= 75
    assert action_id.startswith("driftwatch:")
    assert len(action_id) <= 255
    assert len(pressed["value"]) <= LONGEST_VALUE
    assert read_value(pressed["value"]) is not None


def assert_tame(rendered: Any) -> None:
    """Nothing that Slack reads as markup of its own, and nothing that is not seen."""
    for text in [rendered.text, *written(list(rendered.blocks))]:
        assert re.fullmatch(r"(?:[^<>&]|&(?:amp|lt|gt);)*", text, re.DOTALL)
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ud800-\udfff]", text
        )
    for part in elements(rendered, "mrkdwn"):
        assert part["verbatim"] is True


def written(part: Any) -> Iterator[str]:
    """Every text and every value in blocks."""
    if isinstance(part, list):
        for item in part:
            yield from written(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("text", "value") and isinstance(value, str):
                yield value
            else:
                yield from written(value)
