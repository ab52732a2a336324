"""Which policies mean the same, which open a door, and that no text makes comparing them fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.drift.policies import opens_to, parsed, same_document, same_policy

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)
BASE: dict[str, Any] = {
    "Sid": "1",
    "Effect": "Allow",
    "Action": ["s3:Get*", "s3:List*"],
    "Resource": "arn:aws:s3:::a",
    "Principal": {"AWS": ["111111111111", "222222222222"], "Service": "events.amazonaws.com"},
    "Condition": {"Bool": {"aws:SecureTransport": True}, "StringLike": {"aws:x": ["a", "b"]}},
}


def document(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


@pytest.mark.parametrize(
    "other",
    [
        {**BASE, "Action": ["s3:List*", "s3:Get*"]},
        {**BASE, "Action": ["S3:get*", "s3:LIST*"]},
        {**BASE, "Action": ["s3:Get*", "s3:List*", "s3:Get*"]},
        {**BASE, "Resource": ["arn:aws:s3:::a"]},
        {**BASE, "Principal": {**BASE["Principal"], "Service": ["events.amazonaws.com"]}},
        {
            **BASE,
            "Principal": {**BASE["Principal"], "AWS": ["222222222222", "arn:aws:iam::111111111111:root"]},
        },
        {**BASE, "Condition": {**BASE["Condition"], "Bool": {"aws:SecureTransport": ["true"]}}},
        {**BASE, "Condition": {**BASE["Condition"], "StringLike": {"aws:x": ["b", "a"]}}},
        dict(reversed(BASE.items())),
    ],
)
def test_other_words_for_the_same(other: dict[str, Any]) -> None:
    assert same_policy(document(BASE), document(other))
    assert same_policy(document(BASE, {**BASE, "Sid": "2"}), document({**other, "Sid": "2"}, BASE))


@pytest.mark.parametrize(
    "other",
    [
        {**BASE, "Effect": "Deny"},
        {**BASE, "Action": ["s3:Get*"]},
        {**BASE, "Resource": "arn:aws:s3:::A"},
        {**BASE, "Sid": "2"},
        {**BASE, "Principal": "*"},
        {**BASE, "Principal": {**BASE["Principal"], "AWS": ["111111111111"]}},
        {**BASE, "Condition": {"Bool": {"aws:SecureTransport": True}}},
        {key: member for key, member in BASE.items() if key != "Condition"},
        {("NotAction" if key == "Action" else key): member for key, member in BASE.items()},
    ],
)
def test_what_means_something_else(other: dict[str, Any]) -> None:
    assert not same_policy(document(BASE), document(other))


def test_everybody_has_two_spellings() -> None:
    star = {"Effect": "Allow", "Action": "a:b", "Principal": "*"}
    assert same_policy(document(star), document({**star, "Principal": {"AWS": "*"}}))


def test_another_version_of_the_language_is_another_policy() -> None:
    assert not same_policy(document(BASE), document(BASE, Version="2008-10-17"))


def test_a_deny_a_condition_and_a_service_open_nothing() -> None:
    star = {"Effect": "Allow", "Action": "*", "Principal": {"AWS": "*"}}
    assert opens_to(document(star), "action")
    assert opens_to(document(star), "principal")
    assert not opens_to(document({**star, "Effect": "Deny"}), "action")
    assert not opens_to(document({**star, "Condition": {"x": {"y": "z"}}}), "principal")
    assert not opens_to(document({**star, "Principal": {"Service": "s3.amazonaws.com"}}), "principal")
    assert not opens_to(document({**star, "Action": "s3:*"}), "action")
    assert opens_to(json.dumps({"Statement": star}), "action")


HOSTILE = [
    None,
    1,
    "",
    "null",
    "[]",
    "{",
    '{"Statement": null}',
    '{"Statement": [null, 1, []]}',
    '{"Statement": {"Principal": [], "Condition": 1, "Action": {"a": 1}}}',
    "[" * 16000,
    '{"a":' * 3000,
    '{"Statement": NaN}',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_makes_it_fail(text: Any) -> None:
    assert not same_policy(text, document(BASE))
    assert not same_document(text, document(BASE))
    assert not opens_to(text, "action")
    assert not opens_to(text, "principal")


def test_what_is_nested_without_end_is_no_document() -> None:
    assert parsed("[" * 100 + "]" * 100) is not None
    assert parsed("[" * 5000 + "]" * 5000) is None


@SETTINGS
@given(st.permutations(list(BASE.items())), st.permutations(["a", "b", "c"]), st.booleans())
def test_order_and_spaces_mean_nothing(items: Any, actions: list[str], spaces: Any) -> None:
    left = document({**BASE, "Action": ["a", "b", "c"]}, {**BASE, "Sid": "2"})
    right = {"Statement": [{**BASE, "Sid": "2"}, {**dict(items), "Action": actions}], "Version": "2012-10-17"}
    assert same_policy(left, json.dumps(right, indent=4 if spaces else None))


@SETTINGS
@given(st.text(max_size=40), st.text(max_size=40))
def test_texts_that_are_no_policies_are_never_the_same_policy(left: str, right: str) -> None:
    assert not same_policy(left, right)
