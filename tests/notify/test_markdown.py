"""What an issue says: how things stand, within its limits, and that no name in it speaks for itself."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from driftwatch.log import register_secret
from driftwatch.model import (
    UNKNOWN_VALUE,
    ErrorReport,
    FindingKind,
    IncidentLine,
    Severity,
    TransitionKind,
    Verdict,
)
from driftwatch.notify import markdown
from driftwatch.notify.text import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.model import Announcement, AttributeChange, Finding, Incident, Message

MARK = "<!-- driftwatch:0123456789abcdef -->"
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
"""Reads as the forges do, before they look for mentions and references in what is not code."""

HOSTILE = [
    "@octocat",
    "@acme/everyone",
    "@all please",
    "#1",
    "acme/infra#12",
    "GH-1",
    "closes #1",
    "!7 ~bug %v1 &3 $5",
    "https://evil.example.com/x",
    "www.evil.example.com",
    "![x](https://evil.example.com/x.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<!-- driftwatch:0123456789abcdef -->",
    "-->",
    "<details><summary>@octocat</summary>",
    "` @octocat",
    "@octocat `",
    "``` @octocat ``` @octocat `` @octocat",
    "`" * 81 + "@octocat" + "`" * 81,
    "`" * 80 + " @octocat " + "`" * 79,
    "\\` @octocat \\",
    "$`@octocat`$",
    "line\n\n@octocat\n# Heading\n/close\n",
    "line\r/close\u2028/close\x85/close\x0b/close",
    "/close",
    "| a | b |\n|---|---|\n| @octocat | #1 |",
    "- [ ] @octocat",
    "[x]: https://evil.example.com",
    "&#64;octocat &commat;octocat",
    "**bold** _it_ ~~gone~~ $x$",
    "\u202e@octocat\u200b",
    " ",
    "`",
    "````",
]
hostile = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=4).map(" ".join),
    st.text(alphabet=st.sampled_from("`@#\\<>[]()!*_~-|\n /a1&;$:"), max_size=40),
    st.text(max_size=40),
).filter(bool)


def spans(text: str) -> Iterator[Any]:
    for token in READER.parse(text):
        yield from token.children if token.children is not None else (token,)


def prose(text: str) -> str:
    """What a forge looks through for names: all but code."""
    return "".join(
        token.content if token.type in ("text", "html_block", "html_inline") else f"<{token.type}>"
        for token in spans(text)
        if token.type not in ("softbreak", "hardbreak")
    )


def code_of(text: str) -> list[str]:
    return [token.content for token in spans(text) if token.type == "code_inline"]


@pytest.fixture(scope="session")
def filled(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> Callable[..., Message]:
    """A message in which every text that comes from outside is `words`."""

    def fill(words: str, kind: TransitionKind = TransitionKind.DRIFT_CHANGED, *, stacks: int = 1) -> Message:
        changes = (
            a_change(path=words, actual=words, after={"key": [words, {words: 1}]}),
            a_change(path=words, actual="", after="", sensitive=True),
        )
        told = an_announcement(
            kind,
            stack=words,
            commit=words,
            owners=(words, words),
            findings=(a_finding(words, message=words, attributes=changes),),
            total=3,
            opened=(words,),
            changed=(words,),
            resolved=(words,),
            flapping=(words,),
            error=ErrorReport(code=words, message=words, advice=words, detail=words),
            mass_deletion=words,
            disagreement=words,
            said=words,
        )
        incident = an_incident(*[told] * stacks, title=words if stacks > 1 else None)
        return a_message(7, told, incident=incident, more=(told,), thread=f"incident:{words}")

    return fill


# How it stands.


def test_the_title_says_stack_verdict_and_how_many(a_message: Callable[..., Message]) -> None:
    assert markdown.title(a_message()) == "platform/envs/prod/network: drifted, 1 finding"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TransitionKind.RESOLVED, "resolved, 2 snoozed or accepted"),
        (TransitionKind.REMINDER, "still drifted, 2 snoozed or accepted"),
        (TransitionKind.CHECK_FAILING, "the check fails"),
        (TransitionKind.RECOVERED, "the check works again, drifted, 2 snoozed or accepted"),
        (TransitionKind.REPLAY_DISAGREED, "a replay was wrong"),
        (TransitionKind.STALE, "nobody watches it any more"),
        (TransitionKind.HANDLED, "drifted, 2 snoozed or accepted"),
    ],
)
def test_each_kind_has_its_words_in_title_body_and_comment(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    kind: TransitionKind,
    words: str,
) -> None:
    message = a_message(1, an_announcement(kind, set_aside=2))

    assert markdown.title(message) == f"platform/envs/prod/network: {words}"
    assert f"`platform/envs/prod/network`: **{words}**." in markdown.body(message, MARK)
    assert markdown.comment(message).startswith(f"- `platform/envs/prod/network`: {words}")


def test_the_title_of_a_shared_cause_says_it_and_how_far_it_reaches(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    told = [an_announcement(stack=f"platform/{name}") for name in "abc"]
    over = an_announcement(TransitionKind.RESOLVED, stack="platform/d")
    incident = an_incident(*told, over, title="commit 1a2b3c4d5e is not applied")

    message = a_message(incident=incident)
    done = a_message(incident=replace(incident, open=0))

    assert markdown.title(message) == "commit 1a2b3c4d5e is not applied: open in 3 of 4 stacks"
    assert markdown.title(done) == "commit 1a2b3c4d5e is not applied: over in all 4 stacks"
    body = markdown.body(message, MARK)
    assert "`commit 1a2b3c4d5e is not applied`: **open in 3 of 4 stacks**." in body
    assert "- **open**: `platform/a` drifted, 1 finding\n" in body
    assert "- over: `platform/d` resolved" in body


def test_a_shared_cause_of_one_stack_so_far_is_called_by_the_stack(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    message = a_message(incident=an_incident(an_announcement(), title="commit 1a2b3c4d5e is not applied"))

    assert markdown.title(message) == "platform/envs/prod/network: drifted, 1 finding"
    assert "Why: `commit 1a2b3c4d5e is not applied`" in markdown.body(message, MARK)


def test_several_stacks_without_a_known_cause_are_called_by_the_first(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    incident = an_incident(an_announcement(stack="platform/a"), an_announcement(stack="platform/b"))

    assert markdown.title(a_message(incident=incident)) == "platform/a: drifted, 1 finding, and 1 more"


def test_the_body_tells_how_things_stand_and_not_what_the_message_was_written_for(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    now = an_announcement(TransitionKind.RESOLVED, resolved=("aws_sqs_queue.jobs",))

    body = markdown.body(a_message(1, an_announcement(), more=(now,), incident=an_incident(now)), MARK)

    assert "**resolved**" in body
    assert "Gone: `aws_sqs_queue.jobs`" in body
    assert "drifted" not in body


def test_the_whole_of_an_ordinary_body(a_message: Callable[..., Message]) -> None:
    assert markdown.body(a_message(), MARK) == (
        f"{MARK}\n"
        "\n"
        "`platform/envs/prod/network`: **drifted, 1 finding**.\n"
        "\n"
        "- **HIGH** `aws_sqs_queue.jobs` modified: changed outside Terraform\n"
        "  - `/delay_seconds`: `90` → `0`\n"
        "\n"
        "Look: `driftwatch findings list --stack platform/envs/prod/network`  \n"
        "Check again: `driftwatch trigger platform/envs/prod/network`  \n"
        "Owners: `@platform` · commit `0123456789` · trigger schedule · 2026-01-02 12:00 UTC"
    )


def test_findings_without_a_gap_are_one_list(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    told = an_announcement(
        findings=(a_finding("a.a", attributes=()), a_finding("b.b", attributes=())), total=2
    )

    body = markdown.body(a_message(1, told), MARK)

    assert "`a.a` modified: changed outside Terraform\n- **HIGH** `b.b`" in body
    assert [token.type for token in READER.parse(body)].count("bullet_list_open") == 1


@pytest.mark.parametrize("kind", list(FindingKind))
@pytest.mark.parametrize("severity", list(Severity))
def test_each_finding_says_how_severe_it_is_and_in_which_way_it_differs(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    kind: FindingKind,
    severity: Severity,
) -> None:
    told = an_announcement(findings=(a_finding(kind=kind, severity=severity, causes=()),))

    body = markdown.body(a_message(1, told), MARK)

    assert re.search(rf"- \*\*{severity.upper()}\*\* `aws_sqs_queue.jobs` [a-z, ]+\n", body)


def test_an_unknown_value_is_told_in_terraforms_words(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    told = an_announcement(findings=(a_finding(attributes=(a_change(after=UNKNOWN_VALUE),)),))

    assert "`90` → `(known after apply)`" in markdown.body(a_message(1, told), MARK)


def test_a_failing_check_says_why_and_what_to_do(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    error = ErrorReport(code="credentials_expired", message="The token has expired.", advice="Renew it.")
    message = a_message(1, an_announcement(TransitionKind.CHECK_FAILING, error=error, verdict=Verdict.ERROR))

    body = markdown.body(message, MARK)

    assert "**Error** `credentials_expired`: `The token has expired.`" in body
    assert "**What to do:** `Renew it.`" in body
    assert "findings stay as they were" in body
    assert "`credentials_expired`: `The token has expired.`" in markdown.comment(message)


def test_a_stack_that_nobody_watches_is_told_without_a_reason_where_there_is_none(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    body = markdown.body(a_message(1, an_announcement(TransitionKind.STALE)), MARK)

    assert "**Error**" not in body
    assert "findings stay as they were" in body


def test_a_disagreement_says_what_differs(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement(TransitionKind.REPLAY_DISAGREED, disagreement="A plan saw a bucket.")

    assert "What differs: `A plan saw a bucket.`" in markdown.body(a_message(1, told), MARK)


def test_so_much_gone_is_a_warning_before_the_findings(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    body = markdown.body(a_message(1, an_announcement(mass_deletion="40 of 41 are gone.")), MARK)

    assert "may not be true.** `40 of 41 are gone.`" in body
    assert body.index("may not be true") < body.index("aws_sqs_queue.jobs")


def test_who_owns_nothing_and_has_no_commit_is_told_so(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    body = markdown.body(a_message(1, an_announcement(owners=(), commit=None)), MARK)

    assert "Owners: none declared · no commit" in body


def test_one_comment_tells_all_that_came(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    first = an_announcement(opened=("a.new",), changed=("a.other",), flapping=("a.restless",))
    second = an_announcement(
        TransitionKind.HANDLED, stack="platform/b", said="Ada acknowledged it: on it", resolved=("b.gone",)
    )

    assert markdown.comment(a_message(1, first, more=(second,))) == (
        "- `platform/envs/prod/network`: drifted, 1 finding\n"
        "  - New: `a.new`\n"
        "  - Changed: `a.other`\n"
        "  - Comes and goes, told again when it has settled: `a.restless`\n"
        "- `platform/b`: drifted\n"
        "  - `Ada acknowledged it: on it`\n"
        "  - Gone: `b.gone`"
    )


@pytest.mark.parametrize("kind", [TransitionKind.HANDLED, TransitionKind.REPAIR])
def test_the_body_says_what_was_last_done(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    kind: TransitionKind,
) -> None:
    told = an_announcement(kind, said="Proposal 12 failed: @ops")

    assert "Last: `Proposal 12 failed: @ops`" in markdown.body(
        a_message(1, told, incident=an_incident(told)), MARK
    )


def test_a_digest_is_called_by_its_day_and_tells_of_all_stacks(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = [an_announcement(stack=f"platform/{name}") for name in "ab"]
    over = an_announcement(TransitionKind.RESOLVED, stack="platform/c")
    message = a_message(1, over, more=tuple(told), thread="digest:0:2026-03-04T08:00:00+00:00")

    assert markdown.title(message) == "Drift digest, 2026-03-04"
    body = markdown.body(message, MARK)
    assert "3 announcements since the last digest, of 3 stacks." in body
    assert "- **open**: `platform/a` drifted, 1 finding\n" in body
    assert body.index("platform/b` drifted") < body.index("- over: `platform/c` resolved")


def test_a_digest_without_a_day_in_its_thread_takes_that_of_the_latest_news(
    a_message: Callable[..., Message],
) -> None:
    message = a_message(thread="digest:weekly")

    assert markdown.title(message) == "Drift digest, 2026-01-02"
    assert "One announcement since the last digest, of 1 stack." in markdown.body(message, MARK)


def test_a_digest_tells_a_stack_as_it_was_told_last(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    message = a_message(
        1, an_announcement(), more=(an_announcement(TransitionKind.RESOLVED),), thread="digest:0:2026-03-04"
    )

    assert "**resolved**" not in markdown.title(message)
    assert "drifted" not in markdown.body(message, MARK)


# Nothing from outside speaks.


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize("kind", list(TransitionKind))
def test_nothing_from_outside_stands_outside_of_code(
    filled: Callable[..., Message], kind: TransitionKind, words: str
) -> None:
    for stacks in (1, 2):
        message, harmless = filled(words, kind, stacks=stacks), filled("name", kind, stacks=stacks)

        assert prose(markdown.body(message, MARK)) == prose(markdown.body(harmless, MARK))
        assert prose(markdown.comment(message)) == prose(markdown.comment(harmless))


def test_the_prose_of_a_body_names_nobody_and_links_nowhere(filled: Callable[..., Message]) -> None:
    for kind in TransitionKind:
        message = filled("name", kind, stacks=2)
        for text in (markdown.body(message, MARK).removeprefix(MARK), markdown.comment(message)):
            said = prose(text)
            assert not re.search(r"[@#!~&$\\`]|://|www\.|[A-Za-z]-[0-9]|/", said.replace("</", ""))
            assert "link" not in said
            assert "image" not in said


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=hostile, kind=st.sampled_from(TransitionKind), stacks=st.integers(1, 3))
def test_no_words_at_all_get_out_of_their_code(
    filled: Callable[..., Message], words: str, kind: TransitionKind, stacks: int
) -> None:
    message, harmless = filled(words, kind, stacks=stacks), filled("name", kind, stacks=stacks)
    body, comment = markdown.body(message, MARK), markdown.comment(message)

    assert prose(body) == prose(markdown.body(harmless, MARK))
    assert prose(comment) == prose(markdown.comment(harmless))
    assert body.startswith(f"{MARK}\n\n")
    for line in (body + "\n" + comment).split("\n"):
        assert re.match(
            r"(?:\Z|- |  - |### |`|<!-- |Look: |Check again: |Owners: |Why: |What differs: |Gone: |Last: "
            r"|Comes and goes|\*\*|Until it |These are |More does |\N{WARNING SIGN} )",
            line,
        ), line
    assert max(map(len, re.findall("`+", body + comment))) <= markdown.LONGEST_FENCE + 1


@settings(max_examples=150, deadline=None)
@given(text=hostile, limit=st.integers(1, 60))
def test_a_code_span_is_one_span_of_its_text(text: str, limit: int) -> None:
    span = markdown.code(text, limit)

    tokens = [
        token for token in spans(f"before {span} after") if token.type != "text" or token.content.strip()
    ]
    kinds = [token.type for token in tokens if token.type not in ("paragraph_open", "paragraph_close")]
    assert kinds == ["text", "code_inline", "text"]
    assert len(next(token.content for token in tokens if token.type == "code_inline")) <= limit + 2
    assert "\n" not in span


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("name", "`name`"),
        ("a`b", "``a`b``"),
        ("`a`", "`` `a` ``"),
        ("a```b", "````a```b````"),
        ("", "` `"),
        (" two  words ", "`two words`"),
        ("0123456789abc", "`012345678…`"),
    ],
)
def test_code_spans_by_example(text: str, span: str) -> None:
    assert markdown.code(text, 10) == span


def test_a_fence_longer_than_forges_read_is_never_written() -> None:
    """A run of 81 would be no code on either forge, and its text would ping."""
    span = markdown.code("`" * 200 + "@octocat", 300)

    assert span.count("`") == 2
    assert "@octocat" in span


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("platform/envs/prod@blue", "platform/envs/prod@blue"),
        ("@octocat", "«@»octocat"),
        ("x/@acme/team", "x/«@»acme/team"),
        ("x.@octocat", "x.«@»octocat"),
        ("_@octocat", "_«@»octocat"),
        ("é@octocat", "é«@»octocat"),
        ("infra#12 !3 ~bug %v1 &4 $5", "infra«#»12 «!»3 «~»bug «%»v1 «&»4 «$»5"),
        ("GH-12 gh-3 JIRA-7 eu-west-1", "GH\u201112 gh\u20113 JIRA\u20117 eu-west-1"),
        ("https://evil.example.com", "https«:»//evil.example.com"),
        ("<b>`x`[y]", "«<»b«>»\u02cbx\u02cb«[»y«]»"),
        ("a\n/close", "a /close"),
    ],
)
def test_a_title_names_nobody_and_is_still_to_be_read(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement], name: str, shown: str
) -> None:
    """«@» stands for the sign in full width."""
    wide = re.sub("«(.)»", lambda sign: chr(ord(sign[1]) + 0xFEE0), shown)

    assert markdown.title(a_message(1, an_announcement(stack=name))) == f"{wide}: drifted, 1 finding"


@settings(max_examples=100, deadline=None)
@given(words=hostile, stacks=st.integers(1, 3))
def test_no_title_holds_a_mention_a_reference_or_a_link(
    filled: Callable[..., Message], words: str, stacks: int
) -> None:
    title = markdown.title(filled(words, stacks=stacks))

    assert not re.search(r"(?<![A-Za-z0-9])@|[#!~%&$^*\[\]<>`\\]|://", title)
    assert not re.search(r"(?i)\bgh-[0-9]", title)
    assert "\n" not in title
    assert len(title) <= markdown.TITLE_LIMIT


# Secrets.


@settings(max_examples=60, deadline=None)
@given(
    nested=st.recursive(
        st.just("canary-value-42"),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.just("k"), inner, min_size=1)
        ),
        max_leaves=5,
    )
)
def test_no_sensitive_value_survives(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    nested: Any,
) -> None:
    change = a_change(path="/password", before=nested, actual=nested, after=nested, sensitive=True)
    told = an_announcement(findings=(a_finding(attributes=(change,)),))
    message = a_message(1, told, incident=an_incident(told))

    written = markdown.title(message) + markdown.body(message, MARK) + markdown.comment(message)

    assert "canary" not in written
    assert "`/password`: (sensitive, changed)" in written


@pytest.mark.parametrize("stacks", [1, 2])
def test_a_registered_secret_survives_nowhere(filled: Callable[..., Message], stacks: int) -> None:
    register_secret("canary-of-markdown-0815")
    for kind in TransitionKind:
        message = filled("before canary-of-markdown-0815 after", kind, stacks=stacks)
        written = markdown.title(message) + markdown.body(message, MARK) + markdown.comment(message)

        assert "canary" not in written
        assert "redacted" in written


def test_a_secret_where_a_value_is_cut_does_not_survive_in_part(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    secret = "canary-of-the-cut-4711"
    register_secret(secret)
    for place in range(markdown.VALUE_LIMIT - 30, markdown.VALUE_LIMIT + 5):
        change = a_change(actual="x" * place + secret)
        told = an_announcement(findings=(a_finding(attributes=(change,)),))
        assert "canary" not in markdown.body(a_message(1, told), MARK)


# Limits.


def test_megabytes_and_thousands_are_bounded_quick_and_counted_truly(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    large = "@octocat " * 600_000
    changes = tuple(a_change(path=large, actual=large, after={large: [large] * 50}) for _ in range(40))
    findings = tuple(a_finding(large, message=large, attributes=changes) for _ in range(20))
    told = an_announcement(
        stack=large,
        commit=large,
        owners=(large,) * 1000,
        findings=findings,
        total=9_000,
        opened=(large,) * 10_000,
        resolved=(large,) * 10_000,
        mass_deletion=large,
        said=large,
    )
    lines = (IncidentLine(announcement=told, over=False),) * 10_000
    incident = replace(an_incident(told, title=large), lines=lines, total=10_000, open=9_999)
    message = a_message(1, told, more=(told,) * 9_999, incident=incident)
    began = time.perf_counter()

    title, body, comment = markdown.title(message), markdown.body(message, MARK), markdown.comment(message)

    assert time.perf_counter() - began < 10
    assert len(title) <= markdown.TITLE_LIMIT
    assert len(body) <= markdown.BODY_LIMIT
    assert len(comment) <= markdown.COMMENT_LIMIT
    assert "open in 9,999 of 10,000 stacks" in title
    assert "- … and 9,950 more" in body
    assert "of **450,000** findings" in body
    assert re.search(r"\n- … and 9,9\d\d more\Z", comment)
    assert "@" not in prose(body) + prose(comment)


def test_attributes_of_megabytes_are_shown_by_their_beginning_and_quickly(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    large = "@octocat " * 600_000
    wide: Any = {f"{n}{large[:40_000]}": [large] * 200 for n in range(200)}
    deep: Any = large
    for _ in range(200):
        deep = [deep] * 20
    changes = tuple(
        a_change(path=large, actual=value, after=large) for value in (large, wide, deep, [wide] * 99)
    )
    findings = tuple(a_finding(f"a.a{n}", attributes=changes * 10) for n in range(12))
    began = time.perf_counter()

    body = markdown.body(a_message(1, an_announcement(findings=findings, total=12)), MARK)

    assert time.perf_counter() - began < 10
    assert len(body) <= markdown.BODY_LIMIT
    assert body.count("… and 32 attributes more") == 12
    assert "@" not in prose(body)


def test_the_count_of_what_is_shown_is_the_true_one(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    told = an_announcement(findings=tuple(a_finding(f"a.a{n}") for n in range(20)), total=57)

    body = markdown.body(a_message(1, told), MARK)

    assert "These are 20 of **57** findings" in body
    assert body.count("**HIGH**") == 20


@pytest.mark.parametrize(("count", "shown"), [(1, 8), (12, 8), (13, 4), (20, 4)])
def test_the_more_findings_the_fewer_attributes_of_each(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    count: int,
    shown: int,
) -> None:
    changes = tuple(a_change(path=f"/p{n}") for n in range(10))
    findings = tuple(a_finding(f"a.a{n}", attributes=changes) for n in range(count))

    body = markdown.body(a_message(1, an_announcement(findings=findings, total=count)), MARK)

    assert body.count("`/p") == count * shown
    assert body.count(f"  - … and {10 - shown} attributes more") == count


def test_of_very_many_findings_only_the_names_are_shown(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    a_finding: Callable[..., Finding],
) -> None:
    told = [
        an_announcement(stack=f"s/{n}", findings=tuple(a_finding(f"a.a{m}") for m in range(20)), total=20)
        for n in range(5)
    ]

    body = markdown.body(a_message(incident=an_incident(*told)), MARK)

    assert body.count("**HIGH**") == 100
    assert "/delay_seconds" not in body
    assert "attributes more" not in body


@pytest.mark.parametrize(
    ("value", "beginning"),
    [
        (list(range(200)), "[0, 1, 2, "),
        ("x" * 500, '"xxx'),
        ("x" * 100_000, '"xxx'),
        ({f"k{n:03}": {} for n in reversed(range(300))}, '{"k000": {}, "k001": {}, '),
        ([[[[["deep" * 10] * 9] * 9] * 9] * 9], '[[[[["deepdeep'),
    ],
)
def test_of_a_long_value_the_beginning_is_shown_with_an_ellipsis(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    value: Any,
    beginning: str,
) -> None:
    told = an_announcement(findings=(a_finding(attributes=(a_change(actual=value),)),))

    body = markdown.body(a_message(1, told), MARK)

    span = next(text for text in code_of(body) if text.startswith(beginning))
    assert len(span) == markdown.VALUE_LIMIT
    assert span.endswith("…")


@settings(max_examples=80, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | st.text(st.characters(codec="ascii"), max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_a_short_value_is_shown_whole(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    value: Any,
) -> None:
    told = an_announcement(findings=(a_finding(attributes=(a_change(actual=value),)),))
    whole = markdown.code(literal(value), markdown.VALUE_LIMIT)

    assert f"`/delay_seconds`: {whole} → " in markdown.body(a_message(1, told), MARK)


def test_a_value_behind_a_long_secret_is_not_left_out_without_a_sign(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    secret = "canary-" + "0123456789" * 30
    register_secret(secret)
    change = a_change(actual={"a": secret, "b": "   " * 100, "c": 3})
    told = an_announcement(findings=(a_finding(attributes=(change,)),))

    assert '{"a": "[redacted]", "b": " ", "c": 3}' in code_of(markdown.body(a_message(1, told), MARK))
