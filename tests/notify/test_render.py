"""What an announcement looks like in Slack: it says what matters, fits, and obeys no name."""

from __future__ import annotations

import json
import re
import shlex
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
    Severity,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.notify import render
from driftwatch.notify.text import code, escaped, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Announcement


def texts(rendered: Any) -> Any:
    return [part["text"] for block in rendered.blocks for part in block.get("elements", [block.get("text")])]


def whole(rendered: Any) -> Any:
    return "\n".join(texts(rendered))


def test_the_headline_says_stack_verdict_and_how_many(an_announcement: Callable[..., Announcement]) -> None:
    header = render.message(an_announcement(total=57)).blocks[0]

    assert header["type"] == "header"
    assert header["text"]["text"].endswith("platform/envs/prod/network: drifted, 57 findings")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.DRIFTED, "drifted"),
        (Verdict.PENDING, "changes not applied"),
        (Verdict.MIXED, "drifted, and changes not applied"),
    ],
)
def test_each_verdict_has_its_words(
    an_announcement: Callable[..., Announcement], verdict: Verdict, words: str
) -> None:
    assert render.headline(an_announcement(verdict=verdict)).endswith(f": {words}, 1 finding")


def test_a_finding_says_severity_address_kind_cause_and_attributes(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    finding = a_finding(attributes=(a_change(), a_change(path="/tags/team", actual=None, after="infra")))

    section = texts(render.message(an_announcement(findings=(finding,))))[1]

    assert section.splitlines() == [
        "*HIGH* `aws_sqs_queue.jobs` modified: changed outside Terraform",
        "• `/delay_seconds`: `90` → `0`",
        '• `/tags/team`: `null` → `"infra"`',
    ]


def test_every_kind_and_every_cause_has_words(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> None:
    for kind in FindingKind:
        finding = a_finding(kind=kind, causes=tuple(Cause))
        assert whole(render.message(an_announcement(findings=(finding,))))


def test_a_sensitive_attribute_shows_that_it_changed_and_nothing_else(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    digest = "sensitive:hmac-sha256:0011223344556677"
    change = a_change(path="/password", actual=digest, after=digest[::-1], sensitive=True)

    shown = whole(render.message(an_announcement(findings=(a_finding(attributes=(change,)),))))

    assert "`/password`: (sensitive, changed)" in shown
    assert digest not in shown
    assert digest[::-1] not in shown


def test_what_only_an_apply_will_tell_is_shown_in_terraforms_words(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    finding = a_finding(attributes=(a_change(after=UNKNOWN_VALUE),))

    assert "→ `(known after apply)`" in whole(render.message(an_announcement(findings=(finding,))))


def test_more_attributes_than_are_shown_are_counted(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    finding = a_finding(attributes=tuple(a_change(path=f"/{number}") for number in range(9)))

    assert "… and 5 attributes more" in whole(render.message(an_announcement(findings=(finding,))))


def test_owners_commit_and_commands_are_there(an_announcement: Callable[..., Announcement]) -> None:
    shown = whole(render.message(an_announcement(owners=("@platform", "sre"))))

    assert "Owners: @platform, sre · commit `0123456789` · trigger schedule · 2026-01-02 12:00 UTC" in shown
    assert "`driftwatch findings list --stack platform/envs/prod/network`" in shown
    assert "`driftwatch trigger platform/envs/prod/network`" in shown


def test_a_mass_deletion_is_told_before_any_finding(an_announcement: Callable[..., Announcement]) -> None:
    rendered = render.message(an_announcement(mass_deletion="13 of 15 resources are gone."))

    assert "*So much is gone that this may not be true.* 13 of 15 resources are gone." in texts(rendered)[1]
    assert "13 of 15 resources are gone." in rendered.text


def test_a_failing_check_tells_class_message_and_advice(an_announcement: Callable[..., Announcement]) -> None:
    error = ErrorReport(code="credentials_expired", message="The token expired.", advice="Renew it.")

    rendered = render.message(
        an_announcement(TransitionKind.CHECK_FAILING, verdict=Verdict.ERROR, error=error)
    )

    assert rendered.blocks[0]["text"]["text"].endswith("network: the check fails (credentials_expired)")
    assert "The token expired." in texts(rendered)[1]
    assert "*What to do:* Renew it." in texts(rendered)[1]
    assert "in sync" not in whole(rendered)


def test_resolved_is_green_and_strikes_out_what_is_gone(an_announcement: Callable[..., Announcement]) -> None:
    rendered = render.message(an_announcement(TransitionKind.RESOLVED, resolved=("aws_sqs_queue.jobs",)))

    assert rendered.blocks[0]["text"]["text"] == "🟢 platform/envs/prod/network: resolved"
    assert texts(rendered)[1] == "~`aws_sqs_queue.jobs`~ gone"


def test_recovered_says_what_is_known_now(an_announcement: Callable[..., Announcement]) -> None:
    found = an_announcement(TransitionKind.RECOVERED, verdict=Verdict.DRIFTED, total=3)

    assert render.headline(found).endswith("the check works again, drifted, 3 findings")


def test_the_reply_says_what_is_new_changed_and_gone(an_announcement: Callable[..., Announcement]) -> None:
    told = an_announcement(
        TransitionKind.DRIFT_CHANGED,
        total=8,
        opened=tuple(f"aws_sqs_queue.new[{number}]" for number in range(7)),
        changed=("aws_sqs_queue.other",),
        resolved=("aws_sqs_queue.old",),
    )

    lines = render.reply(told).text.splitlines()

    assert lines[0].endswith("drifted, 8 findings")
    assert lines[1].startswith("New: `aws_sqs_queue.new[0]`, ")
    assert lines[1].endswith(" and 2 more")
    assert lines[2:] == ["Changed: `aws_sqs_queue.other`", "Gone: `aws_sqs_queue.old`"]


@pytest.mark.row(54)
def test_more_findings_than_are_announced_are_counted_truly(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> None:
    """Row 54: a message that leaves findings out says how many there are, and where all of them are."""
    findings = tuple(a_finding(f"aws_sqs_queue.jobs[{number}]") for number in range(20))

    shown = whole(render.message(an_announcement(findings=findings, total=1234)))

    assert "These are 20 of *1234* findings." in shown
    assert "driftwatch findings list --stack" in shown


@pytest.mark.row(54)
def test_detail_gives_way_before_findings_do(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    """Row 54: twenty findings with long attributes are all named, with fewer attributes each."""
    long = tuple(a_change(path="/" + "p" * 200, actual="x" * 5000, after="y" * 5000) for _ in range(6))
    findings = tuple(a_finding(f"aws_sqs_queue.jobs[{number}]", attributes=long) for number in range(20))

    rendered = render.message(an_announcement(findings=findings, total=20))

    assert all(finding.address in whole(rendered) for finding in findings)
    assert "These are" not in whole(rendered)


@pytest.mark.row(54)
@pytest.mark.parametrize("name", ["<!channel>", "<!here|x>", "<@U012AB3CD>", "<https://evil.example|click>"])
def test_names_cannot_mention_or_link(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
    name: str,
) -> None:
    """Row 54: what looks like Slack's markup in names arrives as the text that it is."""
    change = a_change(path=f"/{name}", actual=name, after=name)
    finding = a_finding(f'aws_sqs_queue.jobs["{name}"]', attributes=(change,), message=name)
    told = an_announcement(findings=(finding,), stack=f"platform/{name}", owners=(name,), mass_deletion=name)

    for rendered in (render.message(told), render.reply(told)):
        assert name not in json.dumps([rendered.text, rendered.blocks], ensure_ascii=False)
        assert not re.search(r"[<>]", rendered.text + whole(rendered))


def test_slack_makes_nothing_of_what_merely_looks_like_a_link_or_a_mention(
    an_announcement: Callable[..., Announcement],
) -> None:
    for block in render.message(an_announcement()).blocks:
        for part in block.get("elements", [block.get("text")]):
            assert part["type"] == "plain_text" or part["verbatim"] is True


@pytest.mark.row(69)
def test_control_characters_and_turned_lines_do_not_arrive(
    an_announcement: Callable[..., Announcement], a_finding: Callable[..., Finding]
) -> None:
    """Row 69: escape sequences, newlines, bidirectional marks and lone surrogates in names are taken out."""
    nasty = "a\x1b[31mred\x1b[0m\r\n\x00\x07b\u202edlot\u2066\u200b\ud800\u2028c"

    rendered = render.message(an_announcement(stack=nasty, findings=(a_finding(nasty),)))

    assert plain(nasty) == "ared bdlot\N{REPLACEMENT CHARACTER} c"
    sent = json.dumps([rendered.text, rendered.blocks], ensure_ascii=False).encode("utf-8").decode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b]", sent)


def test_a_command_to_copy_cannot_carry_another_command(an_announcement: Callable[..., Announcement]) -> None:
    shown = whole(render.message(an_announcement(stack="platform/x; rm -rf ~ #")))

    command = re.search(r"`driftwatch findings list --stack (.*)`", shown).group(1)
    assert shlex.split(command) == ["platform/x; rm -rf ~ #"]


def test_a_backtick_does_not_end_a_code_span() -> None:
    assert code("a`*b*`c", 50).count("`") == 2


@pytest.mark.row(68)
def test_a_registered_secret_in_a_name_or_value_is_blotted_out(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    """Row 68: a known secret in an attribute, a key, an error or an address does not reach Slack."""
    canary = "canary-s3cr3t-render"
    register_secret(canary)
    change = a_change(path=f"/{canary}", actual={canary: [f"a{canary}b"]}, after=canary)
    finding = a_finding(f"x.{canary}", attributes=(change,), message=canary)
    error = ErrorReport(code="e", message=canary, advice=canary)

    for kind in TransitionKind:
        told = an_announcement(
            kind, findings=(finding,), total=1, error=error, resolved=(canary,), owners=(canary,)
        )
        for rendered in (render.message(told), render.reply(told)):
            assert canary not in json.dumps([rendered.text, rendered.blocks])


# What hypothesis makes of all that: any text anywhere, and the limits hold.

nasty_text = st.text(
    st.one_of(st.characters(), st.sampled_from("<>&`*_~|@!#\n\r\t\x00\x1b\u202e\ud800😀")), max_size=400
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | nasty_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty_text, inner, max_size=3),
    max_leaves=6,
)
changes = st.builds(
    AttributeChange,
    path=nasty_text,
    before=json_values,
    actual=json_values,
    after=json_values,
    sensitive=st.booleans(),
    cause=st.sampled_from(Cause),
)
findings = st.builds(
    Finding,
    address=nasty_text,
    type=nasty_text,
    kind=st.sampled_from(FindingKind),
    action=st.just("update"),
    causes=st.lists(st.sampled_from(Cause), max_size=7).map(tuple),
    severity=st.sampled_from(Severity),
    fingerprint=st.just("f"),
    counted=st.booleans(),
    attributes=st.lists(changes, max_size=4).map(tuple),
    message=st.none() | nasty_text,
)
reports = st.builds(ErrorReport, code=nasty_text, message=nasty_text, advice=st.none() | nasty_text)
names = st.lists(nasty_text, max_size=8).map(tuple)


@pytest.mark.row(54)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_announcement_keeps_within_slacks_limits_and_has_no_markup_of_others(
    an_announcement: Callable[..., Announcement], data: st.DataObject
) -> None:
    """Row 54: whatever the names hold: 50 blocks, 150 and 3,000 characters, no `<` for Slack to read."""
    some = data.draw(st.lists(findings, max_size=2))
    told = an_announcement(
        data.draw(st.sampled_from(TransitionKind)),
        stack=data.draw(nasty_text),
        verdict=data.draw(st.sampled_from(Verdict)),
        commit=data.draw(st.none() | nasty_text),
        trigger=Trigger.MANUAL,
        findings=tuple(some * data.draw(st.integers(1, 10))),
        total=data.draw(st.integers(0, 10**6)),
        opened=data.draw(names),
        resolved=data.draw(names),
        owners=data.draw(names),
        error=data.draw(st.none() | reports),
        mass_deletion=data.draw(st.none() | nasty_text),
    )

    message, reply = render.message(told), render.reply(told)

    for rendered in (message, reply):
        assert len(rendered.blocks) <= 50
        assert sum(length(text) for text in texts(rendered)) <= 10_000
        assert 0 < length(rendered.text) <= 3000
        for block in rendered.blocks:
            for part in block.get("elements", [block.get("text")]):
                assert 0 < length(part["text"]) <= (150 if block["type"] == "header" else 3000)
                assert_tame(part["text"])
        assert_tame(rendered.text)
    assert len(message.text) <= 900


@settings(deadline=None)
@given(nasty_text, st.integers(2, 60))
def test_cutting_never_splits_an_entity_and_keeps_the_limit(text: str, limit: int) -> None:
    shown = escaped(text, limit)

    assert length(shown) <= limit
    assert_tame(shown)
    if length(shown) < limit - 5:
        assert "…" not in shown.removesuffix("…") or "…" in text


def length(text: str) -> Any:
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def assert_tame(text: str) -> None:
    assert "<" not in text
    assert ">" not in text
    assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", text, re.DOTALL)


def test_a_stale_stack_says_for_how_long_and_what_to_do(
    an_announcement: Callable[..., Announcement],
) -> None:
    error = ErrorReport(code="stale", message="no good check for 2h", advice="See whether the daemon runs.")
    told = an_announcement(TransitionKind.STALE, verdict=Verdict.IN_SYNC, error=error)

    shown = whole(render.message(told))

    assert render.headline(told).endswith(": nobody watches it any more")
    assert "no good check for 2h" in shown
    assert "*What to do:* See whether the daemon runs." in shown
    assert "in sync" not in shown


def test_a_reminder_shows_what_is_still_there(an_announcement: Callable[..., Announcement]) -> None:
    told = an_announcement(TransitionKind.REMINDER, total=3, set_aside=2)

    assert render.headline(told).endswith(": still drifted, 3 findings, 2 snoozed or accepted")


def test_what_was_set_aside_does_not_make_a_stack_look_clean(
    an_announcement: Callable[..., Announcement],
) -> None:
    told = an_announcement(TransitionKind.RESOLVED, verdict=Verdict.DRIFTED, set_aside=1)

    assert render.headline(told).endswith(": resolved, 1 snoozed or accepted")


def test_one_that_comes_and_goes_is_named_as_such(an_announcement: Callable[..., Announcement]) -> None:
    told = an_announcement(TransitionKind.DRIFT_CHANGED, flapping=("aws_sqs_queue.<jobs>",))

    assert "*Comes and goes:* `aws_sqs_queue.&lt;jobs&gt;`" in whole(render.message(told))
    assert "`aws_sqs_queue.&lt;jobs&gt;`" in render.reply(told).text


def test_what_a_person_did_stands_under_the_present_condition(
    an_announcement: Callable[..., Announcement],
) -> None:
    told = an_announcement(
        TransitionKind.HANDLED, total=2, set_aside=1, said="anna acknowledged `aws_x.y`: on <it>"
    )

    rendered = render.message(told)

    assert rendered.blocks[0]["text"]["text"] == (
        "🔴 platform/envs/prod/network: drifted, 2 findings, 1 snoozed or accepted"
    )
    assert rendered.blocks[1]["type"] == "context"
    assert texts(rendered)[1] == "anna acknowledged `aws_x.y`: on &lt;it&gt;"
    assert rendered.text.splitlines()[1] == texts(rendered)[1]
    assert render.reply(told).text.splitlines()[1] == texts(rendered)[1]


@pytest.mark.parametrize("said", [None, "", " ", "\u202e\u200b"])
def test_nothing_said_is_no_empty_block(an_announcement: Callable[..., Announcement], said: str) -> None:
    """Slack refuses all blocks for one without text."""
    rendered = render.message(an_announcement(TransitionKind.HANDLED, said=said, total=1))

    assert [block["type"] for block in rendered.blocks[:2]] == ["header", "section"]
    assert all(texts(rendered))


def test_what_was_all_put_aside_is_green_and_not_in_sync(
    an_announcement: Callable[..., Announcement],
) -> None:
    told = an_announcement(TransitionKind.HANDLED, total=0, set_aside=2)

    assert render.headline(told) == "🟢 platform/envs/prod/network: drifted, 2 snoozed or accepted"


def test_a_failing_check_stays_yellow_whatever_was_put_aside(
    an_announcement: Callable[..., Announcement],
) -> None:
    told = an_announcement(TransitionKind.CHECK_FAILING, verdict=Verdict.ERROR, set_aside=2)

    assert render.headline(told).startswith("🟡")


@pytest.mark.row(54)
@pytest.mark.timeout(30)
def test_a_value_of_megabytes_is_cut(
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    """Row 54: it neither fills the message nor keeps it from being made."""
    large = "<!channel> " * (5 * 1024 * 1024 // 11)
    finding = a_finding(attributes=(a_change(actual=large, after=[large]),))

    rendered = render.message(an_announcement(findings=(finding,)))

    shown = texts(rendered)[1].splitlines()[1]
    assert length(shown) < 200
    assert shown.count("…") == 2
    assert_tame(whole(rendered))
