"""Row 29: whatever is done to a plan document, it is read or refused, and never in sync by mistake."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftwatch.drift import Digester, Reading, parse_document, read_plan
from driftwatch.drift.plan import MAX_DEPTH, read, without_indexes
from driftwatch.errors import PlanUnreadableError
from driftwatch.model import Engine, Inputs, Verdict
from tests.drift.conftest import CORPUS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.row(29)

DIGEST = Digester(b"key")
NAMES = sorted(file.name.removesuffix(".json") for file in CORPUS.glob("*.json"))
TEXTS = {name: (CORPUS / f"{name}.json").read_text() for name in NAMES}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([[{"actions": ["no-op"]}]]),
    st.just({"actions": ["no-op"]}),
)


def _read(document: Any) -> Reading | None:
    """None where the document is refused; any other exception is a bug."""
    try:
        return read_plan(document, digest=DIGEST, inputs=Inputs(), baseline=None)
    except PlanUnreadableError:
        return None


def _document(name: str = "update") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(TEXTS[name])
    return document


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a document."""
    yield path
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _places(member, (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _places(element, (*path, index))


def _mutate(document: dict[str, Any], path: tuple[Any, ...], how: str, junk: Any) -> None:
    container: Any = document
    for step in path[:-1]:
        container = container[step]
    if how == "delete":
        del container[path[-1]]
    elif how == "twice" and isinstance(container, list):
        container.append(copy.deepcopy(container[path[-1]]))
    else:
        container[path[-1]] = copy.deepcopy(junk)


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.data_too_large]
)
@given(data=st.data())
def test_a_mutated_document_is_read_or_refused(data: st.DataObject) -> None:
    """Row 29: never another exception; and nothing of a plan that did not finish is ever believed."""
    document = _document(data.draw(st.sampled_from(NAMES)))
    for _ in range(data.draw(st.integers(1, 3))):
        places = [path for path in _places(document) if path]
        path = data.draw(st.sampled_from(places))
        _mutate(document, path, data.draw(st.sampled_from(["delete", "twice", "junk"])), data.draw(JUNK))

    result = _read(document)

    if document.get("errored") is not False or document.get("complete") is not True:
        assert result is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(name=st.sampled_from(NAMES), at=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=3))
def test_a_damaged_text_is_parsed_or_refused(name: str, at: float, junk: bytes) -> None:
    """Row 29: bytes lost and bytes changed."""
    text = TEXTS[name].encode()
    cut = int(at * len(text))
    for damaged in (text[:cut], text[:cut] + junk + text[cut + 1 :]):
        try:
            document = parse_document(damaged)
        except PlanUnreadableError:
            continue
        _read(document)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("refused")])
@pytest.mark.parametrize(
    "change",
    [{"errored": True}, {"errored": None}, {"complete": False}, {"complete": None}, {"applyable": 1}],
)
def test_flags_that_are_not_what_they_must_be_are_refused(name: str, change: dict[str, Any]) -> None:
    """Row 29: for every document of the corpus, in sync or not."""
    assert _read(_document(name) | change) is None


@pytest.mark.parametrize("name", ["update", "delete", "pending", "drift_and_pending", "output_only", "count"])
def test_a_document_that_lost_a_part_is_never_in_sync(name: str) -> None:
    """Row 29: each top-level key in turn is missing."""
    for key in _document(name):
        document = _document(name)
        del document[key]

        result = _read(document)

        assert result is None or result.verdict is not Verdict.IN_SYNC, key


@pytest.mark.parametrize("version", ["2.0", "10.0", "0.9", "", "1", "one", "1.x", None, 1.2, "-1.0", "1.2.3"])
def test_a_format_other_than_1_is_refused(version: Any) -> None:
    """Row 29: a future major version may mean anything; a future minor one only adds."""
    assert _read(_document() | {"format_version": version}) is None
    assert _read(_document() | {"format_version": "1.99"}) is not None


def test_a_future_format_is_refused_by_its_name() -> None:
    with pytest.raises(PlanUnreadableError, match=r"format 2\.0.*reads format 1") as caught:
        read(_document() | {"format_version": "2.0"})

    assert caught.value.code == "plan_unreadable"
    assert "Upgrade driftwatch" in str(caught.value.advice)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"text"',
        "{",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5_000 + "}",
        b"\xff\xfe\x00",
        b'{"a": "\xff"}',
    ],
)
def test_what_is_no_sound_json_object_is_refused(text: bytes | str) -> None:
    """Row 29: NaN, infinity, duplicate keys, deep nesting, huge numbers, other encodings, other types."""
    with pytest.raises(PlanUnreadableError) as caught:
        _ = read_plan(parse_document(text), digest=DIGEST, inputs=Inputs(), baseline=None)

    assert str(text)[:40] not in caught.value.message or len(text) < 3


@pytest.mark.parametrize(
    "junk", [float("nan"), float("inf"), b"bytes", {1: "a key that is no text"}, object(), {"a", "set"}]
)
def test_values_that_json_does_not_have_are_refused(junk: Any) -> None:
    """Row 29: whoever parses less strictly than `parse_document` gets no further than here."""
    document = _document()
    document["resource_changes"][0]["change"]["after"]["tags"] = junk

    assert _read(document) is None


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    """Row 29: in a value, and in the modules of the state."""
    deep: Any = "bottom"
    for _ in range(50_000):
        deep = [deep]
    document = _document()
    document["resource_changes"][0]["change"]["after"]["tags"] = deep

    assert _read(document) is None


def test_as_deep_as_is_allowed_is_read() -> None:
    """Row 29: the limit is one that the reader itself can stand."""
    deep: Any = "bottom"
    for level in range(MAX_DEPTH - 6):
        deep = {"k": deep} if level % 2 else [deep]
    document = _document()
    change = document["resource_changes"][0]["change"]
    change["after"]["tags"] = {"deep": deep}
    change["after_sensitive"] = {"tags": {"deep": copy.deepcopy(deep)}}
    change["after_unknown"] = {"tags": {"deep": copy.deepcopy(deep)}}

    assert _read(document) is not None


def test_an_unknown_action_is_refused() -> None:
    """Row 29: a word that Terraform learns tomorrow must not be taken for nothing."""
    for actions in (["conjure"], [], ["delete", "delete"], "update", None, [["update"]]):
        document = _document()
        document["resource_changes"][0]["change"]["actions"] = actions

        assert _read(document) is None


def test_a_resource_that_no_entry_speaks_of_is_refused() -> None:
    """Row 29: Terraform names untouched resources, too, so that one that is missing was cut off."""
    document = _document()
    document["resource_changes"].pop()

    with pytest.raises(PlanUnreadableError, match="1 of the resources"):
        read(document)


def test_one_resource_named_twice_is_refused() -> None:
    """Row 29: two stories of one address cannot both be true."""
    document = _document()
    document["resource_changes"].append(copy.deepcopy(document["resource_changes"][0]))

    assert _read(document) is None


def test_changes_in_a_plan_that_has_nothing_to_apply_are_refused() -> None:
    """Row 29: a document that contradicts itself."""
    assert _read(_document() | {"applyable": False}) is None


def test_only_opentofu_may_leave_out_whether_a_plan_is_complete() -> None:
    """OpenTofu forked before the flag; its failed plans say `errored`."""
    document = _document()
    del document["complete"], document["applyable"]
    tofu = Inputs(engine=Engine(name="tofu", version="1.10.6"))

    with pytest.raises(PlanUnreadableError, match="does not say whether it is complete"):
        read(document)
    result = read_plan(document, digest=DIGEST, inputs=tofu, baseline=None)
    assert result.verdict is Verdict.DRIFTED
    with pytest.raises(PlanUnreadableError):
        read_plan(document | {"errored": True}, digest=DIGEST, inputs=tofu, baseline=None)


@pytest.mark.parametrize(
    ("version", "lacking", "readable"),
    [
        ("1.5.7", ["complete", "applyable"], True),
        ("1.7.5", ["complete", "applyable"], True),
        ("1.3.10", ["complete", "applyable", "errored"], True),
        ("1.5.7", ["complete", "applyable", "errored"], False),
        ("1.8.0", ["complete", "applyable"], False),
        ("2.0.0", ["complete"], False),
        ("", ["complete"], False),
    ],
)
def test_older_terraforms_say_less_of_a_plan(version: str, lacking: list[str], readable: bool) -> None:
    """What a release could not say yet is no reason to refuse it; what it leaves out is."""
    document = {key: value for key, value in _document().items() if key not in lacking}
    assert (_read(document | {"terraform_version": version}) is not None) is readable


def test_fields_that_nobody_knows_yet_are_ignored() -> None:
    """The format promises that minor versions only add."""
    document = _document() | {"tomorrow": [{"everything": "new"}]}
    document["resource_changes"][0]["tomorrow"] = {}

    assert _read(document) == _read(_document())


@pytest.mark.parametrize(
    ("address", "configuration"),
    [
        ("a.b", "a.b"),
        ("a.b[0]", "a.b"),
        ('a.b["x"]', "a.b"),
        ('module.m["a.b[0]"].a.b["q\\"]"]', "module.m.a.b"),
        ("module.m[1].module.n[2].a.b[3]", "module.m.module.n.a.b"),
    ],
)
def test_the_configuration_address_of_an_instance(address: str, configuration: str) -> None:
    assert without_indexes(address) == configuration


def test_a_large_plan_is_read_whole() -> None:
    """Every one of two thousand drifted resources is a finding."""
    document = _document()
    (logs,) = [entry for entry in document["resource_changes"] if entry["type"] == "sandbox_bucket"]
    many = [{**logs, "address": f"sandbox_bucket.many[{index}]"} for index in range(2_000)]

    result = _read(document | {"resource_changes": document["resource_changes"] + many})

    assert result is not None
    assert len(result.findings) == 2_001
