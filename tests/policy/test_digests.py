"""An approval is bound to all that would be done: any difference is another digest, and nothing else is."""

from __future__ import annotations

import copy
import random
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.drift import plan as plans
from driftwatch.drift.redaction import Digester
from driftwatch.model import Engine, StackId
from driftwatch.policy.digests import (
    approval_digest,
    differing,
    exact,
    is_unknown,
    pointer,
    replace_paths_of,
)
from tests.drift.recorder import Recorder
from tests.drift.samples import change, plan
from tests.drift.scenarios import CANARY, SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DIGESTER = Digester(b"a key of thirty-two bytes length")
STACK = StackId(repository="platform", path="envs/prod")
ENGINE = Engine(name="terraform", version="1.11.4", providers={"example.test/acme/thing": "1.2.3"})

CONTENT: dict[str, Any] = {
    "stack": STACK,
    "findings": ("one", "two"),
    "commit": "c0ffee",
    "state_lineage": "line",
    "state_serial": 7,
    "engine": ENGINE,
    "provider_hashes": {"example.test/acme/thing": ["h1:a", "h1:b"]},
    "digest": DIGESTER,
}


def digest_of(document: Mapping[str, Any], **other: Any) -> str:
    return approval_digest(
        plan=plans.read(document), replaced=replace_paths_of(document), **{**CONTENT, **other}
    )


def document() -> dict[str, Any]:
    """One of everything that an apply can do."""
    return plan(
        change(
            {"size": 1, "tags": {"a": "x"}, "list": [1, 2]}, {"size": 2, "tags": {"a": "y"}, "list": [2, 1]}
        ),
        change(
            None, {"name": "new", "secret": "hunter2-canary"}, actions=("create",), address="thing_box.new"
        ),
        change({"id": "i-1", "name": "old"}, None, actions=("delete",), address="thing_box.old"),
        change(
            {"id": "i-2", "zone": "a"},
            {"zone": "b"},
            actions=("delete", "create"),
            address="thing_box.moves_zone",
            unknown={"id": True},
            replace_paths=[["zone"]],
        ),
        change(
            {"same": 1, "read_at": "10:00"},
            {"same": 1, "read_at": "10:00"},
            actions=("no-op",),
            address="thing_box.calm",
        ),
        {
            **change({"x": 1}, {"x": 1}, actions=("no-op",), address="thing_box.renamed"),
            "previous_address": "thing_box.name",
        },
        change({"x": 1}, {"x": 1}, actions=("no-op",), address="thing_box.found", importing={"id": "i-9"}),
        outputs={
            "url": {"actions": ["update"], "before": "a", "after": "b", "after_unknown": False},
            "calm": {"actions": ["no-op"], "before": "a", "after": "a", "after_unknown": False},
        },
        configured={
            "thing_box.it": ("size", "tags", "list"),
            "thing_box.new": ("name", "secret"),
            "thing_box.moves_zone": ("zone",),
            "thing_box.calm": ("same",),
        },
        timestamp="2026-11-25T03:00:00Z",
    )


# ---- the same content ------------------------------------------------------------------------------------


def test_the_same_content_has_the_same_digest() -> None:
    first = digest_of(document())
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first)
    assert digest_of(document()) == first


@given(seed=st.integers(min_value=0, max_value=2**32))
def test_no_order_that_means_nothing_matters(seed: int) -> None:
    """Of resources, of keys, of findings, of hashes."""
    shuffled = random.Random(seed)  # noqa: S311  (an order, no secret)

    def stirred(value: Any, *, lists: bool = False) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            shuffled.shuffle(keys)
            return {key: stirred(value[key], lists=key == "resource_changes") for key in keys}
        if isinstance(value, list) and lists:
            return shuffled.sample([stirred(each) for each in value], len(value))
        return value

    again = digest_of(
        stirred(document()),
        findings=("two", "one"),
        provider_hashes={"example.test/acme/thing": ["h1:b", "h1:a"]},
    )
    assert again == digest_of(document())


def test_neither_time_nor_refresh_noise_matters() -> None:
    """What stays is not looked at, nor what the refresh saw elsewhere, nor what a provider computes anew."""
    other = document()
    other["timestamp"] = "2027-01-01T00:00:00Z"
    other["terraform_version"] = "1.11.4"
    other["relevant_attributes"] = [{"resource": "thing_box.it", "attribute": ["size"]}]
    calm = other["resource_changes"][4]["change"]
    calm["before"]["read_at"] = calm["after"]["read_at"] = "11:00"
    update = other["resource_changes"][0]["change"]
    update["before"]["etag"] = update["after"]["etag"] = "moves with every read"
    other["resource_drift"] = [change({"read_at": "9:00"}, {"read_at": "11:00"}, address="thing_box.calm")]
    assert digest_of(other) == digest_of(document())


def test_what_a_provider_computes_is_in_it_only_as_that() -> None:
    """Its old value moves with every read, and neither code nor person said it."""

    def computed(before: str, *, configured: tuple[str, ...] = ("size",)) -> str:
        return digest_of(
            plan(
                change({"size": 1, "etag": before}, {"size": 2}, unknown={"etag": True}),
                configured={"thing_box.it": configured},
            )
        )

    assert computed("one") == computed("two")
    assert computed("one", configured=("size", "etag")) != computed("two", configured=("size", "etag"))
    known = plan(
        change({"size": 1, "etag": "a"}, {"size": 2, "etag": "a"}), configured={"thing_box.it": ("size",)}
    )
    assert digest_of(known) != computed("a")


def test_what_is_given_up_is_known_by_its_id_and_by_what_the_code_says() -> None:
    def given_up(configured: dict[str, tuple[str, ...]], **before: str) -> str:
        gone = {"id": "i-1", "size": "1", "seen": "10:00", **before}
        return digest_of(plan(change(gone, None, actions=("delete",)), configured=configured))

    for configured in ({}, {"thing_box.it": ("size",)}):
        assert given_up(configured, seen="11:00") == given_up(configured)
        assert given_up(configured, id="i-2") != given_up(configured)
    assert given_up({"thing_box.it": ("size",)}, size="2") != given_up({"thing_box.it": ("size",)})
    assert given_up({}, size="2") == given_up({})


def test_the_time_of_the_plan_is_no_content() -> None:
    """What `plantimestamp()` gives is another text in every plan, and could never be approved."""

    def stamped(time: str) -> str:
        made = change({"at": "2020"}, {"at": f"made {time}"})
        out = {"when": {"actions": ["update"], "before": "2020", "after": [time]}}
        return digest_of(plan(made, outputs=out, timestamp=time))

    assert stamped("2026-11-25T03:00:00Z") == stamped("2027-01-01T00:00:00Z")
    fixed = plan(change({"at": "2020"}, {"at": "made 2026"}), timestamp="2027-01-01T00:00:00Z")
    assert digest_of(fixed) != stamped("2027-01-01T00:00:00Z")


# ---- any difference --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"stack": StackId(repository="platform", path="envs/test")},
        {"stack": StackId(repository="platform", path="envs/prod", workspace="w")},
        {"findings": ("one",)},
        {"findings": ("one", "two", "three")},
        {"findings": ("one", "other")},
        {"commit": "c0ffef"},
        {"state_lineage": "another"},
        {"state_lineage": None},
        {"state_serial": 8},
        {"state_serial": None},
        {"engine": Engine(name="tofu", version="1.11.4", providers=ENGINE.providers)},
        {"engine": Engine(name="terraform", version="1.11.5", providers=ENGINE.providers)},
        {
            "engine": Engine(
                name="terraform", version="1.11.4", providers={"example.test/acme/thing": "1.2.4"}
            )
        },
        {"engine": Engine(name="terraform", version="1.11.4")},
        {"provider_hashes": {"example.test/acme/thing": ["h1:a"]}},
        {"provider_hashes": {}},
        {"provider_hashes": None},
        {"digest": Digester(b"another key, of another instance")},
    ],
)
def test_what_the_plan_stands_on_is_in_it(other: dict[str, Any]) -> None:
    assert digest_of(document(), **other) != digest_of(document())


def _renamed(edited: dict[str, Any]) -> None:
    edited["resource_changes"][0]["address"] = "thing_box.them"
    edited["prior_state"]["values"]["root_module"]["resources"][0]["address"] = "thing_box.them"


def _edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(edited: dict[str, Any]) -> None:
        place: Any = edited
        *steps, last = path.split(".")
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[int(last) if isinstance(place, list) else last] = value

    return apply


@pytest.mark.parametrize(
    "edit",
    [
        _edit("resource_changes.0.change.before.size", 3),
        _edit("resource_changes.0.change.after.size", 3),
        _edit("resource_changes.0.change.after.size", "2"),
        _edit("resource_changes.0.change.after.list", [1, 2, 2]),
        _edit("resource_changes.0.change.after.list", [2, 1, 1]),
        _edit("resource_changes.0.change.before.list", [2, 2]),
        _edit("resource_changes.0.change.after.tags.a", "z"),
        _edit("resource_changes.0.change.after.tags.b", ""),
        _edit("resource_changes.0.change.after.tags", {}),
        _edit("resource_changes.0.change.after_unknown", {"size": True}),
        _edit("resource_changes.0.change.actions", ["create", "delete"]),
        _renamed,
        _edit("resource_changes.0.provider_name", "registry.example.test/evil/thing"),
        _edit("resource_changes.0.type", "thing_sphere"),
        _edit("resource_changes.0.deposed", "0badcafe"),
        _edit("resource_changes.1.change.after.secret", "hunter3-canary"),
        _edit("resource_changes.1.change.after.more", 1),
        _edit("resource_changes.2.change.before.id", "i-3"),
        _edit("resource_changes.2.change.actions", ["forget"]),
        _edit("resource_changes.3.change.actions", ["create", "delete"]),
        _edit("resource_changes.3.change.replace_paths", [["zone"], ["name"]]),
        _edit("resource_changes.3.change.replace_paths", []),
        _edit("resource_changes.3.action_reason", "replace_because_tainted"),
        _edit("resource_changes.3.change.before.zone", "c"),
        _edit("resource_changes.4.change.actions", ["update"]),
        _edit("resource_changes.5.previous_address", "thing_box.other_name"),
        _edit("resource_changes.6.change.importing", None),
        _edit("output_changes.url.after", "c"),
        _edit("output_changes.url.before", "c"),
        _edit("output_changes.url", {"actions": ["update"], "before": "a", "after_unknown": True}),
        _edit("output_changes.calm.actions", ["update"]),
    ],
)
def test_whatever_an_apply_would_do_otherwise_is_another_digest(
    edit: Callable[[dict[str, Any]], None],
) -> None:
    """Row 19: also a cloud that moved since, with the same serial of the state."""
    other = document()
    edit(other)
    assert digest_of(other) != digest_of(document())


def test_one_resource_more_or_less_is_another_digest() -> None:
    for place in (0, 1, 2, 3, 5, 6):
        other = document()
        del other["resource_changes"][place]
        other["prior_state"]["values"]["root_module"]["resources"] = []
        assert digest_of(other) != digest_of(document())
    other = document()
    other["resource_changes"].append(change(None, {"a": 1}, actions=("create",), address="thing_box.extra"))
    assert digest_of(other) != digest_of(document())


def test_a_secret_that_moves_is_another_digest_and_none_is_guessed_from_it() -> None:
    """Also where the order of a sensitive list is all that moved."""

    def secret(value: Any, key: bytes = b"a key of thirty-two bytes length") -> str:
        marked = change({"token": "x"}, {"token": value}, after_sensitive={"token": True})
        return digest_of(plan(marked), digest=Digester(key))

    assert secret("hunter2-canary") != secret("hunter3-canary")
    assert secret(["a", "b"]) != secret(["b", "a"])
    assert secret("hunter2-canary") != secret("hunter2-canary", b"another key, of another instance")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from("xyz"), below, max_size=2),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def said(before: Any, after: Any) -> set[str]:
    """A change as what it makes of what, path by path, where a null is no more than an absent key."""
    return {exact([[*path], left, right]) for path, left, right in differing(before, after)}


@given(one=st.tuples(OBJECTS, OBJECTS), other=st.tuples(OBJECTS, OBJECTS))
def test_two_changes_have_one_digest_where_they_make_the_same_of_the_same(
    one: tuple[Any, Any], other: tuple[Any, Any]
) -> None:
    first, second = (digest_of(plan(change(*each))) for each in (one, other))
    assert (first == second) == (said(*one) == said(*other))


# ---- the pieces ------------------------------------------------------------------------------------------


@given(before=OBJECTS, after=OBJECTS)
def test_what_differs_is_all_that_differs(before: Any, after: Any) -> None:
    """Putting what is told into what was makes what is to be, but for nulls and empty objects."""
    found = list(differing(before, after))
    assert len({path for path, _, _ in found}) == len(found)
    for _, left, right in found:
        assert exact(left) != exact(right)
    made = copy.deepcopy(before)
    for path, _, right in found:
        place = made
        for step in path[:-1]:
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
        place[path[-1]] = right
    assert list(_leaves(made)) == list(_leaves(after))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _leaves(value[key], (*path, key))
    elif value is not None:
        yield path, exact(value)


def test_differences_are_where_findings_have_them() -> None:
    """Maps are entered, a null too; a list is one value; a number is one however it is written."""
    before = {"tags": None, "list": [{"a": 1}], "same": 1, "odd/key~": 1}
    after = {"tags": {"a": "x"}, "list": [{"a": 2}], "same": 1.0, "odd/key~": 2}
    assert [pointer(path) for path, _, _ in differing(before, after)] == ["/list", "/odd~1key~0", "/tags/a"]
    assert [path for path, _, _ in differing(None, {})] == [()]
    assert exact({"b": 2.0, "a": [1.5]}) == '{"a":[1.5],"b":2}'
    assert exact(True) != exact(1)  # noqa: FBT003  (a value)


def test_unknown_is_seen_at_every_depth() -> None:
    unknown = "(known after apply)"
    assert is_unknown(unknown)
    assert is_unknown({"a": [{"b": unknown}]})
    assert not is_unknown({"a": ["known", 1, None]})


def test_replace_paths_are_told_by_object() -> None:
    """A deposed object shares its address with its successor; order means nothing."""
    found = replace_paths_of(
        {
            "resource_changes": [
                {"address": "a.b", "change": {"replace_paths": [["z"], ["a", 0]]}},
                {"address": "a.b", "deposed": "cafe", "change": {"replace_paths": [["z"]]}},
                {"address": "a.c", "change": {"actions": ["no-op"]}},
            ]
        }
    )
    assert found == {"a.b": [["a", 0], ["z"]], "a.b cafe": [["z"]]}
    assert replace_paths_of({}) == {}


# ---- with real terraform ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["nested_set_block", "sensitive_value", pytest.param("drift_and_pending", marks=pytest.mark.slow)],
)
def test_a_plan_made_again_of_the_same_has_the_same_digest(
    name: str, terraform_binary: Path, sandbox_cli_config: Path, tmp_path: Path
) -> None:
    """What approvals live by: nothing in a real document is another by chance alone."""
    recorder = Recorder(binary=terraform_binary, cli_config=sandbox_cli_config, root=tmp_path / "it")
    first = recorder.play(SCENARIOS[name])[""]
    second = recorder.plan(*SCENARIOS[name].plan)

    assert digest_of(first) == digest_of(second)
    assert digest_of(first) == digest_of({**second, "timestamp": "2030-01-01T00:00:00Z"})
    assert any(each["change"]["actions"] != ["no-op"] for each in first["resource_changes"])


def test_the_corpus_has_as_many_digests_as_plans_that_differ(corpus_documents: Mapping[str, Any]) -> None:
    digests = {name: digest_of(each) for name, each in corpus_documents.items()}
    assert len(digests) > 10
    assert CANARY not in "".join(digests.values())
    done = {
        name: exact(
            sorted(
                [each["address"], *each["change"]["actions"]]
                for each in document["resource_changes"]
                if each["change"]["actions"] != ["no-op"]
            )
        )
        for name, document in corpus_documents.items()
    }
    for (one, left), (other, right) in combinations(digests.items(), 2):
        if done[one] != done[other]:
            assert left != right, (one, other)
