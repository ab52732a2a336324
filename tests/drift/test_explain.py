"""What is said of a finding: in words that one can pass on, without a secret, whatever is in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.drift.explain import LONGEST_VALUE, explain
from driftwatch.model import (
    KEPT_COMMITS,
    UNKNOWN_VALUE,
    AttributeChange,
    Cause,
    Commit,
    Evidence,
    Finding,
    FindingKind,
    InputKind,
    Movement,
    Severity,
)

if TYPE_CHECKING:
    from driftwatch.model import JsonValue

DIGEST = "sensitive:hmac-sha256:0123456789abcdef"
ADA = Commit(
    id="3f2a91c" + "0" * 33,
    author="Ada Example",
    at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
    subject="Open 8443",
)
MOVED = Movement(input=InputKind.COMMIT, before="1" * 40, after=ADA.id)
BY_COMMIT = Evidence(movements=(MOVED,), commits=(ADA,))


def _attribute(
    cause: Cause,
    *,
    path: str = "/ttl",
    values: tuple[JsonValue, JsonValue, JsonValue] = (300, 300, 60),
    sensitive: bool = False,
    also: Cause | None = None,
    rule: str | None = None,
) -> AttributeChange:
    before, actual, after = values
    return AttributeChange(
        path=path,
        before=before,
        actual=actual,
        after=after,
        sensitive=sensitive,
        cause=cause,
        also=also,
        rule=rule,
    )


def _finding(
    *attributes: AttributeChange,
    causes: tuple[Cause, ...] = (),
    kind: FindingKind = FindingKind.MODIFIED,
    action: str = "update",
    evidence: Evidence | None = None,
) -> Finding:
    told = causes or tuple(
        dict.fromkeys(cause for each in attributes for cause in (each.cause, each.also) if cause)
    )
    return Finding(
        address="thing_box.it",
        type="thing_box",
        kind=kind,
        action=action,
        causes=told,
        severity=Severity.LOW,
        fingerprint="f",
        counted=told != (Cause.NOISE,),
        attributes=attributes,
        evidence=evidence,
    )


def _of(
    kind: InputKind, name: str | None = None, before: str | None = None, after: str | None = None
) -> Evidence:
    return Evidence(movements=(Movement(input=kind, name=name, before=before, after=after),))


COMMIT, HAND, UPGRADE = Cause.UNAPPLIED_COMMIT, Cause.OUT_OF_BAND, Cause.PROVIDER_UPGRADE
INPUT, STATE, UNKNOWN, NOISE = Cause.INPUT_CHANGE, Cause.STATE_EDIT, Cause.UNDETERMINED, Cause.NOISE
AWS = "registry.example.test/hashicorp/aws"

TOLD: dict[str, tuple[Finding, tuple[str, ...]]] = {
    "by hand": (
        _finding(_attribute(HAND, values=(300, 5, 300))),
        (
            (
                "Somebody changed /ttl outside of Terraform: the state remembered 300, the cloud has 5,"
                " the code wants 300."
            ),
        ),
    ),
    "a secret by hand": (
        _finding(_attribute(HAND, path="/password", values=("a", DIGEST, "a"), sensitive=True)),
        ("Somebody changed /password outside of Terraform; its values are sensitive and not shown.",),
    ),
    "a secret that the provider does not mark": (
        _finding(_attribute(HAND, path="/out", values=(None, {"it": [DIGEST]}, {}))),
        (
            (
                "Somebody changed /out outside of Terraform: the state remembered nothing,"
                ' the cloud has {"it": ["(sensitive)"]}, the code wants {}.'
            ),
        ),
    ),
    "a consequence": (
        _finding(_attribute(HAND, path="/values", values=("a", "a", UNKNOWN_VALUE))),
        (
            (
                "/values follows from something that was changed outside of Terraform:"
                ' the cloud has "a", and what the code wants only an apply will know.'
            ),
        ),
    ),
    "deleted": (
        _finding(kind=FindingKind.DELETED, action="create", causes=(HAND,)),
        (
            (
                "Somebody deleted it outside of Terraform: the state remembers it, the cloud no longer has"
                " it, and the code wants it."
            ),
        ),
    ),
    "one commit": (
        _finding(_attribute(COMMIT), evidence=BY_COMMIT),
        (
            (
                "The code of commit 3f2a91c (Ada Example, 23 Nov 2026, “Open 8443”) is not applied yet:"
                " the code wants /ttl to be 60, and the cloud has 300."
            ),
        ),
    ),
    "a commit whose author is not known": (
        _finding(_attribute(COMMIT), evidence=Evidence(movements=(MOVED,))),
        (
            (
                "The code of commit 3f2a91c is not applied yet:"
                " the code wants /ttl to be 60, and the cloud has 300."
            ),
        ),
    ),
    "two commits": (
        _finding(
            kind=FindingKind.CREATED,
            action="create",
            causes=(COMMIT,),
            evidence=replace(BY_COMMIT, commits=(ADA, replace(ADA, id="a" * 40, subject="Prepare"))),
        ),
        (
            (
                "2 commits that touched the stack's files are not applied yet, the newest 3f2a91c"
                " (Ada Example, 23 Nov 2026, “Open 8443”):"
                " the code wants it, and the cloud does not have it yet."
            ),
            "Before it: aaaaaaa (Ada Example, 23 Nov 2026, “Prepare”).",
        ),
    ),
    "no longer in the code": (
        _finding(kind=FindingKind.DESTROYED, action="delete", causes=(COMMIT,), evidence=BY_COMMIT),
        (
            (
                "The code of commit 3f2a91c (Ada Example, 23 Nov 2026, “Open 8443”) is not applied yet:"
                " the code no longer has it, and an apply would destroy it."
            ),
        ),
    ),
    "by hand and by a commit, at one attribute": (
        _finding(_attribute(HAND, values=(300, 5, 60), also=COMMIT), evidence=BY_COMMIT),
        (
            (
                "Somebody changed /ttl outside of Terraform: the state remembered 300, the cloud has 5,"
                " the code wants 60."
            ),
            (
                "The code of commit 3f2a91c (Ada Example, 23 Nov 2026, “Open 8443”) is not applied yet:"
                " beside what was done by hand, the code wants something else at /ttl than before."
            ),
        ),
    ),
    "a provider's upgrade": (
        _finding(_attribute(UPGRADE), evidence=_of(InputKind.PROVIDER, AWS, "5.99.0", "5.100.0")),
        (
            (
                "The provider hashicorp/aws went from 5.99.0 to 5.100.0:"
                " it now plans /ttl to be 60, and the cloud has 300."
            ),
        ),
    ),
    "a lock file": (
        _finding(_attribute(UPGRADE), evidence=_of(InputKind.LOCK_FILE)),
        ("The lock file of the providers has changed: it now plans /ttl to be 60, and the cloud has 300.",),
    ),
    "a variable, to a secret": (
        _finding(
            _attribute(INPUT, values=("a", "a", "b"), sensitive=True), evidence=_of(InputKind.VARIABLE, "key")
        ),
        (
            (
                "The variable key has changed since the stack was last in sync:"
                " the code wants another value at /ttl, which is sensitive and not shown."
            ),
        ),
    ),
    "a state that somebody wrote": (
        _finding(_attribute(STATE), evidence=_of(InputKind.STATE, "serial", "7", "9")),
        (
            (
                "The state was written by something else than driftwatch since the stack was last in sync"
                " (serial 7, now 9), so that somebody applied it or edited it:"
                " the code wants /ttl to be 60, and the cloud has 300."
            ),
        ),
    ),
    "another state": (
        _finding(_attribute(STATE), evidence=_of(InputKind.STATE, "lineage", "7", "1")),
        (
            (
                "The state is not the one that it was (its lineage is another):"
                " the code wants /ttl to be 60, and the cloud has 300."
            ),
        ),
    ),
    "nothing to compare with": (
        _finding(_attribute(UNKNOWN)),
        (
            (
                "Why is not known, as there is no earlier check in sync to compare with:"
                " the code wants /ttl to be 60, and the cloud has 300."
            ),
        ),
    ),
    "nothing moved but the engine": (
        _finding(
            _attribute(UNKNOWN, values=(300, 300, UNKNOWN_VALUE)),
            evidence=_of(InputKind.ENGINE, None, "terraform 1.11.4", "terraform 1.12.0"),
        ),
        (
            (
                "Why is not known, as nothing that driftwatch follows but the engine (terraform 1.11.4 became"
                " terraform 1.12.0) has moved since the stack was in sync:"
                " the code wants /ttl to be what only an apply will know, and the cloud has 300."
            ),
        ),
    ),
    "another provider configuration": (
        _finding(
            kind=FindingKind.CREATED,
            action="create",
            causes=(COMMIT,),
            evidence=_of(InputKind.PROVIDER_CONFIGURATION, AWS, "aws (eu-west-1)", "aws.west (us-west-2)"),
        ),
        (
            "The code is not applied yet: the code wants it, and the cloud does not have it yet.",
            (
                "Its provider configuration was aws (eu-west-1) and is aws.west (us-west-2):"
                " it is looked for where it never was."
            ),
            "The one that is where it was stays there, and after an apply no state knows of it.",
        ),
    ),
    "noise, and noise by a rule": (
        _finding(_attribute(NOISE), _attribute(NOISE, path="/etag", rule="etags")),
        (
            "Not counted: /etag, by the rule etags.",
            "Not counted: /ttl; an apply would change nothing there.",
        ),
    ),
    "a check": (
        _finding(kind=FindingKind.CHECK_FAILED, action="check", causes=(UNKNOWN,)),
        ("What thing_box.it asserts does not hold.",),
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_each_finding_is_told_as_a_colleague_would(name: str) -> None:
    finding, sentences = TOLD[name]

    assert explain(finding) == sentences


def test_many_commits_and_attributes_are_counted_and_not_listed() -> None:
    commits = tuple(replace(ADA, id=f"{number:040x}") for number in range(KEPT_COMMITS))
    attributes = tuple(_attribute(COMMIT, path=f"/a{number}") for number in range(1_000))

    told = explain(_finding(*attributes, evidence=replace(BY_COMMIT, commits=commits)))

    assert told[0].startswith(f"At least {KEPT_COMMITS} commits")
    assert "995 more attributes are to be changed." in told
    assert told[-1].endswith("and 14 more.")
    assert len(told) < 10


def test_inputs_that_are_left_out_are_counted() -> None:
    names = tuple(Movement(input=InputKind.VARIABLE, name=f"v{number}") for number in range(8))

    (told,) = explain(_finding(_attribute(INPUT), evidence=Evidence(movements=names, more=70)))

    assert told.startswith("The variable v0, the variable v1,")
    assert "and 73 more have changed" in told


def test_a_large_value_is_cut() -> None:
    (told,) = explain(_finding(_attribute(HAND, values=("x" * 10_000, "y" * 10_000, None))))

    assert len(told) < 3 * LONGEST_VALUE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(UNKNOWN_VALUE),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)
SECRET = "canary-hunter2"
ATTRIBUTES = st.builds(
    AttributeChange,
    path=st.text(max_size=8),
    before=JSON,
    actual=JSON,
    after=JSON,
    sensitive=st.sampled_from([False]),
    cause=st.sampled_from(Cause),
    also=st.none() | st.sampled_from(Cause),
    rule=st.none() | st.text(max_size=4),
)
HIDDEN = st.builds(
    AttributeChange,
    path=st.just("/it"),
    before=st.just(SECRET),
    actual=JSON,
    after=st.just(SECRET),
    sensitive=st.sampled_from([True]),
    cause=st.sampled_from(Cause),
    also=st.none() | st.sampled_from(Cause),
)
EVIDENCE = st.builds(
    Evidence,
    movements=st.lists(
        st.builds(
            Movement,
            input=st.sampled_from(InputKind),
            name=st.none() | st.text(max_size=5),
            before=st.none() | st.text(max_size=5),
            after=st.none() | st.text(max_size=5),
        ),
        max_size=6,
    ).map(tuple),
    commits=st.lists(st.just(ADA), max_size=3).map(tuple),
    more=st.integers(0, 3),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    attributes=st.lists(ATTRIBUTES | HIDDEN, max_size=8),
    whole=st.lists(st.sampled_from(Cause), max_size=2),
    kind=st.sampled_from(FindingKind),
    action=st.sampled_from(["create", "update", "delete", "replace", "forget", "import", "no-op"]),
    evidence=st.none() | EVIDENCE,
)
def test_whatever_is_stored_is_told_and_no_sensitive_value_with_it(
    attributes: list[AttributeChange],
    whole: list[Cause],
    kind: FindingKind,
    action: str,
    evidence: Evidence | None,
) -> None:
    """Even where what a sensitive attribute holds is no digest: other writers are not trusted."""
    of_attributes = [cause for each in attributes for cause in (each.cause, each.also) if cause]
    causes = tuple(dict.fromkeys([*whole, *of_attributes])) or (NOISE,)

    told = explain(_finding(*attributes, causes=causes, kind=kind, action=action, evidence=evidence))

    assert told
    assert all(told)
    assert SECRET not in " ".join(told)
