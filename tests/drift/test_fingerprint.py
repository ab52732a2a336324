"""Two checks must agree that they saw the same difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.drift import Digester, Reading, read_plan
from driftwatch.drift.values import canonical
from driftwatch.model import Cause, Inputs
from tests.drift import samples

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST = Digester(b"key")
TEXTS = st.text(max_size=4)
RULES = st.lists(
    st.fixed_dictionaries({"port": st.integers(0, 9), "cidrs": st.lists(TEXTS, max_size=3), "key": TEXTS}),
    min_size=1,
    max_size=4,
)


def _fingerprints(document: dict[str, Any], baseline: Inputs | None = None) -> list[str]:
    result = read_plan(document, digest=DIGEST, inputs=Inputs(commit="2"), baseline=baseline)
    return [finding.fingerprint for finding in result.findings]


def _document(state: Any, actual: Any, wanted: Any, **more: Any) -> dict[str, Any]:
    return samples.plan(
        samples.change(actual, wanted, **more), drift=(samples.change(state, actual, **more),)
    )


def _shuffled(value: Any, data: st.DataObject) -> Any:
    """The same content with every list (a set, for all we know) and every object in another order."""
    if isinstance(value, dict):
        members = data.draw(st.permutations(list(value.items())))
        return {key: _shuffled(member, data) for key, member in members}
    if isinstance(value, list):
        return [_shuffled(element, data) for element in data.draw(st.permutations(value))]
    return value


@settings(deadline=None, derandomize=True)
@given(rules=st.tuples(RULES, RULES), data=st.data(), mask=st.sampled_from([False, True, [{"key": True}]]))
def test_the_order_of_sets_and_keys_does_not_matter(
    rules: tuple[Any, Any], data: st.DataObject, mask: Any
) -> None:
    """Whatever is sensitive: nothing, the set as a whole, or one attribute of its elements."""
    state, actual = ({"rules": side, "name": "it"} for side in rules)
    if canonical(rules[0]) == canonical(rules[1]):
        return  # the same set in another order: a difference, or none, as the shuffle will have it
    sensitive = {"before_sensitive": {"rules": mask}}
    turned = [_shuffled(view, data) for view in (state, actual, state)]

    first = _fingerprints(_document(state, actual, state, **sensitive))

    assert _fingerprints(_document(*turned, **sensitive)) == first


def test_another_value_is_another_fingerprint() -> None:
    one = _fingerprints(_document({"size": 1}, {"size": 2}, {"size": 1}))

    assert one == _fingerprints(_document({"size": 1}, {"size": 2}, {"size": 1}))
    assert one != _fingerprints(_document({"size": 1}, {"size": 3}, {"size": 1}))


def test_a_secret_that_changed_again_is_another_fingerprint() -> None:
    mask = {"before_sensitive": {"key": True}}
    one = _fingerprints(_document({"key": "a"}, {"key": "b"}, {"key": "a"}, **mask))

    assert one != _fingerprints(_document({"key": "a"}, {"key": "c"}, {"key": "a"}, **mask))


def test_noise_on_a_finding_that_counts_does_not_touch_it() -> None:
    """A time that moves with every read would announce the same drift for ever."""
    one, two = (
        _document({"size": 1, "seen": 0}, {"size": 2, "seen": seen}, {"size": 1, "seen": seen})
        for seen in (1, 2)
    )

    assert _fingerprints(one) == _fingerprints(two)


def test_noise_alone_is_known_by_its_paths() -> None:
    def noise(path: str, value: int) -> list[str]:
        return _fingerprints(
            samples.plan(
                samples.change({path: value}, {path: value}, actions=("no-op",)),
                drift=(samples.change({path: 0}, {path: value}),),
            )
        )

    assert noise("seen", 1) == noise("seen", 2)
    assert noise("seen", 1) != noise("heard", 1)


def test_better_evidence_is_no_new_difference() -> None:
    """The cause goes from undetermined to a commit once there is a baseline; the difference stays."""
    document = samples.plan(samples.change({"size": 1}, {"size": 2}))
    baseline = Inputs(commit="1")
    known = read_plan(document, digest=DIGEST, inputs=Inputs(commit="2"), baseline=baseline)

    assert known.findings[0].causes == (Cause.UNAPPLIED_COMMIT,)
    assert _fingerprints(document) == _fingerprints(document, baseline)


@pytest.mark.parametrize("name", ["aws_drift", "nested_set_block", "check_failed", "count"])
def test_a_document_read_twice_is_the_same(name: str, reading: Callable[..., Reading]) -> None:
    assert reading(name) == reading(name)
