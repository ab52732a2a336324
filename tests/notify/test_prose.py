"""A message as plain text: it says what matters first, fits, counts the rest, and obeys no name."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.log import register_secret
from driftwatch.model import (
    UNKNOWN_VALUE,
    AttributeChange,
    Cause,
    ErrorReport,
    Finding,
    FindingKind,
    Incident,
    IncidentLine,
    Severity,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.notify import prose

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Announcement, Message

LIMIT = 20_000
STACK = "platform/envs/prod/network"


def incident(*announcements: Announcement, over: int = 0, **other: Any) -> Incident:
    lines = tuple(
        IncidentLine(announcement=told, over=place >= len(announcements) - over)
        for place, told in enumerate(announcements)
    )
    given: dict[str, Any] = {
        "id": 7,
        "title": None,
        "opened_at": announcements[0].at,
        "closed_at": None,
        "lines": lines,
        "total": len(lines),
        "open": len(lines) - over,
        "seen": "digest",
    }
    return Incident(**given | other)


def is_shown_as_it_is(text: str) -> bool:
    """True without control, formatting, surrogate and line-breaking characters, newlines aside."""
    wrong = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return all(character == "\n" or unicodedata.category(character) not in wrong for character in text)


def test_the_ordinary_case_reads_from_what_to_where(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    finding = a_finding(attributes=(a_change(), a_change(path="/password", sensitive=True)))
    message = a_message(announcement=an_announcement(findings=(finding,), total=3, opened=(finding.address,)))

    assert prose.subject(message) == f"{STACK}: drifted, 3 findings"
    assert prose.body(message, LIMIT) == (
        f"{STACK}: drifted, 3 findings\n"
        "New: aws_sqs_queue.jobs\n"
        "\n"
        "HIGH aws_sqs_queue.jobs\n"
        "  modified: changed outside Terraform\n"
        "  /delay_seconds: 90 → 0\n"
        "  /password: (sensitive, changed)\n"
        "and 2 more\n"
        "\n"
        f"Look: driftwatch findings list --stack {STACK}\n"
        "Owners: @platform\n"
        "Commit: 0123456789\n"
        "At: 2026-01-02 12:00 UTC"
    )


@pytest.mark.parametrize(
    ("kind", "other", "words"),
    [
        (TransitionKind.DRIFT_FOUND, {"verdict": Verdict.PENDING}, "changes not applied, 1 finding"),
        (
            TransitionKind.DRIFT_CHANGED,
            {"verdict": Verdict.MIXED, "total": 1234},
            "drifted, and changes not applied, 1,234 findings",
        ),
        (TransitionKind.RESOLVED, {"set_aside": 2}, "resolved, 2 snoozed or accepted"),
        (TransitionKind.REMINDER, {"total": 2}, "still drifted, 2 findings"),
        (
            TransitionKind.CHECK_FAILING,
            {"error": ErrorReport(code="timeout", message="It took too long.")},
            "the check fails (timeout)",
        ),
        (TransitionKind.CHECK_FAILING, {}, "the check fails (no reason given)"),
        (TransitionKind.RECOVERED, {"verdict": Verdict.IN_SYNC}, "the check works again, in sync"),
        (TransitionKind.REPLAY_DISAGREED, {}, "a replay was wrong"),
        (TransitionKind.STALE, {}, "nobody watches it any more"),
        (TransitionKind.HANDLED, {"total": 1}, "drifted, 1 finding"),
    ],
)
def test_the_subject_says_what_happened(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    kind: TransitionKind,
    other: dict[str, Any],
    words: str,
) -> None:
    message = a_message(announcement=an_announcement(kind, **other))

    assert prose.subject(message) == f"{STACK}: {words}"
    assert prose.body(message, LIMIT).splitlines()[0] == prose.subject(message)


def test_every_kind_verdict_and_cause_has_words(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(a_finding(kind=kind, causes=tuple(Cause)) for kind in FindingKind)
    for verdict in Verdict:
        told = an_announcement(verdict=verdict, findings=findings, total=len(findings))
        assert "unmanaged: changed outside Terraform, commit not applied, provider upgrade" in prose.body(
            a_message(announcement=told), LIMIT
        )


def test_a_mass_deletion_is_told_before_any_finding(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    message = a_message(announcement=an_announcement(mass_deletion="13 of 15 resources are gone."))

    assert prose.body(message, LIMIT).splitlines()[1] == (
        "So much is gone that this may not be true. 13 of 15 resources are gone."
    )


@pytest.mark.parametrize("kind", [TransitionKind.CHECK_FAILING, TransitionKind.STALE])
def test_what_concerns_the_watching_tells_code_message_and_advice_and_no_findings(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    kind: TransitionKind,
) -> None:
    error = ErrorReport(code="credentials_expired", message="The token expired.", advice="Renew it.")
    told = an_announcement(kind, error=error, findings=(a_finding(),), total=1)

    shown = prose.body(a_message(announcement=told), LIMIT)

    assert "credentials_expired: The token expired.\nWhat to do: Renew it.\nUntil it works again" in shown
    assert "aws_sqs_queue.jobs" not in shown


def test_a_wrong_replay_is_told_with_its_sentence_or_without_one(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement(TransitionKind.REPLAY_DISAGREED, disagreement="A plan saw otherwise.")

    assert "A plan saw otherwise." in prose.body(a_message(announcement=told), LIMIT)
    assert "No more is known." in prose.body(a_message(announcement=replace(told, disagreement=None)), LIMIT)


def test_what_is_new_is_told_over_all_that_goes_out_at_once(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    first = an_announcement(opened=("a", "b"))
    second = an_announcement(
        TransitionKind.DRIFT_CHANGED, opened=("b", "c", "d"), changed=("a",), resolved=("z",), flapping=("f",)
    )

    lines = prose.body(a_message(announcement=first, more=(second,)), LIMIT).splitlines()

    assert lines[1:5] == [
        "New: a, b, c and 1 more",
        "Changed: a",
        "Gone: z",
        "Comes and goes; told again when it has settled: f",
    ]


def test_the_present_is_that_of_the_incident_and_else_the_latest(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    found, gone = an_announcement(), an_announcement(TransitionKind.RESOLVED, resolved=("a",))

    together = a_message(announcement=found, more=(gone,))
    alone = a_message(announcement=found, incident=incident(gone, over=1))

    assert prose.subject(together) == prose.subject(alone) == f"{STACK}: resolved"
    assert prose.present(together) is prose.present(alone) is gone


def test_what_a_person_did_is_told_in_their_words_latest_last(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    said = [
        an_announcement(TransitionKind.HANDLED, said=f"{name} acknowledged it.") for name in ("Ada", "Bob")
    ]

    shown = prose.body(a_message(announcement=said[0], more=(said[1],)), LIMIT)

    assert "Bob acknowledged it." in shown
    assert "Ada" not in shown


def test_what_was_done_in_several_stacks_is_told_of_each(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    told = [
        an_announcement(TransitionKind.REPAIR, stack=f"platform/s{place}", said=f"Proposal {number}.")
        for number, place in enumerate([0, 1, 2, 3, 4, 1])
    ]

    shown = prose.body(a_message(1, told[0], more=tuple(told[1:]), incident=an_incident(*told)), LIMIT)

    assert shown.split("\n")[1:5] == [
        "In 2 more stacks something was done, too.",
        "platform/s3: Proposal 3.",
        "platform/s4: Proposal 4.",
        "platform/s1: Proposal 5.",
    ]


def test_what_became_of_a_proposal_is_told(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement(TransitionKind.REPAIR, said="Proposal 12 failed: the state is locked.")

    assert "\nProposal 12 failed: the state is locked.\n" in prose.body(a_message(1, told), LIMIT)


def test_an_incident_of_one_stack_with_a_title_is_that_stack_and_why(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement()
    message = a_message(announcement=told, incident=incident(told, title="commit 1a2b3c4d5e is not applied"))

    assert prose.subject(message) == f"{STACK}: drifted, 1 finding"
    assert "Why: commit 1a2b3c4d5e is not applied" in prose.body(message, LIMIT)


def test_an_incident_of_several_stacks_has_a_line_for_each_and_counts_the_rest(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = [an_announcement(stack=f"platform/{name}", verdict=Verdict.PENDING) for name in ("a", "b")]
    gone = an_announcement(TransitionKind.RESOLVED, stack="platform/c")
    message = a_message(
        announcement=told[0],
        more=(told[1], gone),
        incident=incident(*told, gone, over=1, title="commit 1a2b is not applied", total=40, open=39),
    )

    assert prose.subject(message) == "commit 1a2b is not applied: 40 stacks, 39 still open"
    assert prose.body(message, LIMIT) == (
        "commit 1a2b is not applied: 40 stacks, 39 still open\n"
        "\n"
        "open  platform/a: changes not applied, 1 finding\n"
        "open  platform/b: changes not applied, 1 finding\n"
        "over  platform/c: resolved\n"
        "and 37 more\n"
        "\n"
        "Look, for the first: driftwatch findings list --stack platform/a\n"
        "At: 2026-01-02 12:00 UTC"
    )


def test_several_stacks_without_a_title_are_told_without_one(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = [an_announcement(stack=name) for name in ("p/a", "p/b")]

    message = a_message(announcement=told[0], incident=incident(*told))

    assert prose.subject(message) == "The same difference: 2 stacks, 2 still open"


def test_a_digest_has_a_line_for_each_announcement(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = [an_announcement(stack="p/a"), an_announcement(TransitionKind.RESOLVED, stack="p/a")]
    message = a_message(
        announcement=told[0], more=(told[1], an_announcement(stack="p/b")), thread="digest:2026-01-02"
    )

    assert prose.subject(message) == "Digest: 3 messages on 2 stacks"
    assert prose.body(message, LIMIT) == (
        "Digest: 3 messages on 2 stacks\n"
        "\n"
        "2026-01-02 12:00 UTC  p/a: drifted, 1 finding\n"
        "2026-01-02 12:00 UTC  p/a: resolved\n"
        "2026-01-02 12:00 UTC  p/b: drifted, 1 finding\n"
        "\n"
        "Look: driftwatch findings list"
    )


def test_times_are_utc_whatever_zone_they_come_in(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    at = datetime(2026, 1, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert "At: 2026-01-01 23:30 UTC" in prose.body(a_message(announcement=an_announcement(at=at)), LIMIT)


def test_a_long_name_gives_way_by_its_beginning_and_the_verdict_stays(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    subject = prose.subject(a_message(announcement=an_announcement(stack="p/" + "x" * 5_000_000 + "/end")))

    assert len(subject) == prose.SUBJECT_LIMIT
    assert subject.startswith("…x")
    assert subject.endswith("x/end: drifted, 1 finding")


def test_ten_thousand_findings_are_as_many_as_fit_and_the_true_count(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(a_finding(f"null_resource.n[{number}]") for number in range(10_000))
    message = a_message(announcement=an_announcement(findings=findings, total=10_000))

    started = time.monotonic()
    shown = prose.body(message, 1500)

    assert time.monotonic() - started < 1
    count = shown.count("HIGH ")
    assert count > 10
    assert f"and {10_000 - count:,} more" in shown.splitlines()
    assert len(shown) <= 1500
    assert "Look: driftwatch" in shown


def test_detail_gives_way_before_findings_do(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    changes = tuple(a_change(path=f"/{number}" * 20) for number in range(9))
    findings = tuple(a_finding(f"r.n{number}", attributes=changes) for number in range(10))
    message = a_message(announcement=an_announcement(findings=findings, total=10))

    full, short = prose.body(message, LIMIT), prose.body(message, 1000)

    assert full.count("and 5 attributes more") == 10
    assert [short.count("HIGH "), short.count("→"), short.count("more")] == [10, 0, 0]


def test_values_of_megabytes_are_cut(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    finding = a_finding(attributes=(a_change(actual="a" * 5_000_000, after=UNKNOWN_VALUE),))
    message = a_message(announcement=an_announcement(findings=(finding,)))

    assert f'/delay_seconds: "{"a" * 68}… → (known after apply)' in prose.body(message, 1500)


@pytest.mark.parametrize("limit", [1, 20, 67, 160, 400])
def test_a_text_message_gets_the_first_lines(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement], limit: int
) -> None:
    message = a_message(announcement=an_announcement(opened=("a" * 80,), resolved=("b" * 80,)))

    shown = prose.body(message, limit)

    assert len(shown) <= limit
    assert shown.splitlines()[0] == prose.cut(prose.subject(message), limit)


def test_a_small_body_still_names_what_differs(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    message = a_message(announcement=an_announcement(total=57))

    assert prose.body(message, 160) == (
        f"{STACK}: drifted, 57 findings\n\n"
        "HIGH aws_sqs_queue.jobs\n  modified: changed outside Terraform\nand 56 more"
    )


def test_no_name_can_begin_a_line_or_turn_one_round(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    forged = "x\r\nOwners: nobody\u2028Commit: f\u202egnp.\x1b[2Jexe\x00\ud800"
    told = an_announcement(
        stack=forged,
        findings=(a_finding(forged, message=forged),),
        owners=(forged,),
        opened=(forged,),
        mass_deletion=forged,
        said=forged,
    )

    message = a_message(announcement=told)
    shown = prose.body(message, LIMIT)

    assert is_shown_as_it_is(prose.subject(message) + shown)
    assert [line[:7] for line in shown.splitlines()].count("Owners:") == 1
    assert not [line for line in shown.splitlines() if line.startswith("Commit: f")]


def test_a_registered_secret_is_in_no_text(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    register_secret("canary-in-prose-1")
    told = an_announcement(
        stack="p/canary-in-prose-1", mass_deletion="canary-in-prose-1", opened=("canary-in-prose-1",)
    )

    message = a_message(announcement=told)

    assert "canary-in-prose-1" not in prose.subject(message) + prose.body(message, LIMIT)


def test_cut_says_that_something_is_missing() -> None:
    assert [prose.cut("abcdef", limit) for limit in (6, 5, 1, 0)] == ["abcdef", "abcd…", "…", ""]


SENSITIVE = "sensitive:hmac-sha256:00112233"
texts = st.text(st.characters(), max_size=40) | st.sampled_from(["a" * 3000, "\r\nX: y", "@everyone <!here>"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=3,
)


@st.composite
def changes(draw: st.DrawFn) -> AttributeChange:
    sensitive = draw(st.booleans())
    shown = st.just(SENSITIVE) if sensitive else values
    return AttributeChange(
        path=draw(texts),
        before=draw(shown),
        actual=draw(shown),
        after=draw(shown),
        sensitive=sensitive,
        cause=draw(st.sampled_from(Cause)),
    )


findings = st.builds(
    Finding,
    address=texts,
    type=texts,
    kind=st.sampled_from(FindingKind),
    action=texts,
    causes=st.lists(st.sampled_from(Cause), max_size=3).map(tuple),
    severity=st.sampled_from(Severity),
    fingerprint=texts,
    counted=st.booleans(),
    attributes=st.lists(changes(), max_size=6).map(tuple),
    message=st.none() | texts,
)
some_texts = st.lists(texts, max_size=5).map(tuple)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), limit=st.integers(1, 4000), shape=st.sampled_from(["alone", "digest", "incident"]))
def test_subject_and_body_are_bounded_and_printable_and_hold_nothing_sensitive(
    data: st.DataObject,
    limit: int,
    shape: str,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
) -> None:
    def told() -> Announcement:
        return an_announcement(
            data.draw(st.sampled_from(TransitionKind)),
            stack=data.draw(texts),
            verdict=data.draw(st.sampled_from(Verdict)),
            trigger=data.draw(st.sampled_from(Trigger)),
            commit=data.draw(st.none() | texts),
            findings=tuple(data.draw(st.lists(findings, max_size=3))),
            total=data.draw(st.integers(0, 10**12)),
            set_aside=data.draw(st.integers(0, 10**9)),
            owners=data.draw(some_texts),
            opened=data.draw(some_texts),
            resolved=data.draw(some_texts),
            mass_deletion=data.draw(st.none() | texts),
            disagreement=data.draw(st.none() | texts),
            said=data.draw(st.none() | texts),
            error=data.draw(st.none() | st.builds(ErrorReport, code=texts, message=texts, advice=texts)),
        )

    first, second = told(), told()
    title = data.draw(st.none() | texts)
    message = a_message(
        announcement=first,
        more=(second,),
        thread="digest:x" if shape == "digest" else "7",
        incident=incident(first, second, title=title) if shape == "incident" else None,
    )

    subject, body = prose.subject(message), prose.body(message, limit)

    assert 0 < len(subject) <= prose.SUBJECT_LIMIT
    assert "\n" not in subject
    assert len(body) <= limit
    assert is_shown_as_it_is(subject + body)
    assert "hmac" not in subject + body
