"""Row 68: what a plan marks as sensitive is nowhere in what is read from it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.drift import Digester, read_plan
from driftwatch.drift.redaction import MAX_VALUE_BYTES, bounded, hide, mask_of, scrub, secrets_in, union
from driftwatch.log import REDACTED
from driftwatch.model import UNKNOWN_VALUE, Inputs
from tests.drift import samples

DIGEST = Digester(b"key")
DIGITS = re.compile(r"sensitive:hmac-sha256:[0-9a-f]{16}")
SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8))
NAMES = st.sampled_from(["a", "b", "tags", "x/y"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def _planted(value: Any, data: st.DataObject, secrets: list[str], *, hidden: bool = False) -> tuple[Any, Any]:
    """Puts secrets into a value and returns it with a mask: at leaves, and at whole containers."""
    whole = hidden or data.draw(st.integers(0, 5)) == 0
    if isinstance(value, dict):
        members = {key: _planted(member, data, secrets, hidden=whole) for key, member in value.items()}
        mask: Any = {key: mask for key, (_, mask) in members.items() if mask}
        return {key: member for key, (member, _) in members.items()}, whole or mask
    if isinstance(value, list):
        elements = [_planted(element, data, secrets, hidden=whole) for element in value]
        return [element for element, _ in elements], whole or [mask for _, mask in elements]
    if whole:
        secrets.append(f"SECRET-{len(secrets)}-")
        return secrets[-1], True
    return value, False


@pytest.mark.row(68)
@SETTINGS
@given(data=st.data())
def test_no_sensitive_leaf_survives_in_a_reading(data: st.DataObject) -> None:
    """Row 68: three views of a resource, each with masks of its own, in every shape that JSON allows.

    Every view has its own mask and the three need not fit one another: the union hides.
    """
    secrets: list[str] = []
    (state, state_mask), (actual, actual_mask), (wanted, wanted_mask) = (
        _planted(data.draw(OBJECTS), data, secrets) for _ in range(3)
    )
    document = samples.plan(
        samples.change(actual, wanted, before_sensitive=actual_mask, after_sensitive=wanted_mask),
        drift=(samples.change(state, actual, before_sensitive=state_mask, after_sensitive=actual_mask),),
    )

    text = repr(read_plan(document, digest=DIGEST, inputs=Inputs(), baseline=None))

    assert not [secret for secret in secrets if secret in text]


@pytest.mark.row(68)
@SETTINGS
@given(data=st.data(), value=VALUES)
def test_no_sensitive_leaf_of_an_output_survives(data: st.DataObject, value: Any) -> None:
    """Row 68: outputs are marked as a whole, or at depth by newer engines."""
    secrets: list[str] = []
    before, mask = _planted(value, data, secrets)
    output = samples.change(before, "new", before_sensitive=mask)["change"]

    text = repr(read_plan(samples.plan(outputs={"o": output}), digest=DIGEST, inputs=Inputs(), baseline=None))

    assert not [secret for secret in secrets if secret in text]


@pytest.mark.row(68)
def test_secrets_in_the_parts_that_are_only_read_for_other_reasons_stay_there() -> None:
    """Row 68: variables, state, provider configuration, expressions and module calls."""
    secret = "canary-hunter2"
    document = samples.plan(
        samples.change({"a": 1}, {"a": 2}),
        variables={"token": {"value": secret}},
        planned_values={"outputs": {}, "root_module": {}, "secret": secret},
    )
    document["configuration"]["provider_config"] = {"aws": {"expressions": {"secret_key": secret}}}
    document["configuration"]["root_module"]["variables"] = {"token": {"default": secret}}
    document["configuration"]["root_module"]["resources"] = [
        {"address": samples.ADDRESS, "expressions": {"a": {"constant_value": secret}}}
    ]
    document["prior_state"]["values"]["root_module"]["resources"].append(
        {"address": "data.x.y", "mode": "data", "values": {"password": secret}}
    )

    assert secret not in repr(read_plan(document, digest=DIGEST, inputs=Inputs(), baseline=None))


@pytest.mark.row(68)
@pytest.mark.parametrize("where", ["change", "drift", "state", "variable", "output"])
def test_a_checks_message_holds_no_secret_from_anywhere_in_the_plan(where: str) -> None:
    """Row 68: a condition may print anything that the configuration can see."""
    secret = "canary-hunter2"
    change = samples.change({"p": secret}, {"p": secret}, before_sensitive={"p": True})
    untouched = samples.change({"p": 1}, {"p": 2})
    document = samples.plan(
        change if where == "change" else untouched,
        drift=(change,) if where == "drift" else (),
        outputs={"o": change["change"] | {"actions": ["no-op"]}} if where == "output" else {},
        checks=[
            {
                "address": {"kind": "check", "to_display": "check.it"},
                "status": "fail",
                "instances": [
                    {
                        "address": {"to_display": "check.it"},
                        "status": "fail",
                        "problems": [{"message": f"It is {secret}, really."}],
                    }
                ],
            }
        ],
        variables={"p": {"value": {"deep": [secret]}}},
    )
    if where == "variable":
        document["configuration"]["root_module"]["variables"] = {"p": {"sensitive": True}}
    if where == "state":
        document["prior_state"]["values"]["root_module"]["resources"].append(
            {"address": "data.x.y", "mode": "data", "values": {"p": secret}, "sensitive_values": {"p": True}}
        )

    result = read_plan(document, digest=DIGEST, inputs=Inputs(), baseline=None)
    (check,) = [finding for finding in result.findings if finding.address == "check.it"]

    assert check.message == f"It is {REDACTED}, really."


@SETTINGS
@given(value=VALUES)
def test_a_container_marked_as_a_whole_is_one_digest(value: Any) -> None:
    hidden = hide(value, union([True]), DIGEST)

    assert hidden is None if value is None else DIGITS.fullmatch(str(hidden))


def test_a_mask_hides_at_depth_and_leaves_the_rest() -> None:
    value = {"user": "ada", "keys": [{"id": 1, "secret": "s3cret"}, {"id": 2, "secret": None}]}
    mask = mask_of({"user": False, "keys": [{"secret": True}, {}]})

    hidden = hide(value, mask, DIGEST)

    assert hidden == {
        "user": "ada",
        "keys": [{"id": 1, "secret": DIGEST("s3cret")}, {"id": 2, "secret": None}],
    }


def test_the_masks_of_elements_are_merged_since_sets_have_no_order() -> None:
    """The second element's mask says true for `b`; the first one's secret might have been the second's."""
    assert mask_of([{"a": True}, {"b": True}]) == [{"a": True, "b": True}]


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (False, {"a": True}, {"a": True}),
        (True, {"a": True}, True),
        ({"a": True}, {"b": True}, {"a": True, "b": True}),
        ([True], [{"a": True}], [True]),
        ({"a": True}, [True], True),
    ],
)
def test_a_union_hides_what_either_hides(left: Any, right: Any, both: Any) -> None:
    assert union([left, right]) == both
    assert union([right, left]) == both


@pytest.mark.parametrize(("mask", "value"), [({"a": True}, [1]), ([True], {"a": 1}), ({"a": True}, "text")])
def test_a_mask_that_does_not_fit_hides_everything(mask: Any, value: Any) -> None:
    assert DIGITS.fullmatch(str(hide(value, mask, DIGEST)))


def test_what_is_not_known_yet_is_no_secret() -> None:
    assert hide(UNKNOWN_VALUE, mask_of({"a": True}), DIGEST) == UNKNOWN_VALUE


def test_a_digest_depends_on_the_key_and_on_the_content_alone() -> None:
    assert DIGEST({"a": 1, "b": [1.0, 2]}) == DIGEST({"b": [2, 1], "a": 1.0})
    assert DIGEST("a") != DIGEST("b")
    assert DIGEST("a") != Digester(b"another key")("a")
    assert DIGEST("1") != DIGEST(1)


def test_a_digest_takes_any_text_that_json_can_carry() -> None:
    """A lone surrogate is valid in JSON and in no encoding."""
    assert DIGITS.fullmatch(DIGEST("\ud800"))


def test_a_value_too_large_to_keep_is_known_by_digest_and_size() -> None:
    large = "x" * (MAX_VALUE_BYTES + 1)

    assert bounded("x" * 100, DIGEST) == "x" * 100
    assert re.fullmatch(r"digest:hmac-sha256:[0-9a-f]{16} \(16387 bytes\)", str(bounded(large, DIGEST)))


def test_short_secrets_do_not_blank_out_sentences() -> None:
    found = set(
        secrets_in({"a": "long enough", "b": "abc", "c": ["in a list"]}, mask_of({"a": 1, "c": True}))
    )

    assert found == {"long enough", "in a list"}


def test_the_longest_secret_is_replaced_first() -> None:
    assert scrub("it is hunter2-long", ["hunter2", "hunter2-long"]) == f"it is {REDACTED}"


def test_a_secret_that_lost_its_mark_on_the_way_is_hidden_all_the_same() -> None:
    """Providers hand on in clear what the code marked: the `output` of a `terraform_data` is its `input`."""
    secret = "canary-hunter2"
    document = samples.plan(
        samples.change({"a": 1}, {"a": 2}),
        samples.change(secret, secret, address="thing_box.other", actions=("no-op",), before_sensitive=True),
    )
    document["resource_changes"][0]["change"]["before"] |= {
        "it": [secret, "harmless"],
        "url": f"x:{secret}@y",
    }

    text = repr(read_plan(document, digest=DIGEST, inputs=Inputs(), baseline=None))

    assert secret not in text
    assert "harmless" in text
