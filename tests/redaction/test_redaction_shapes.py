"""Row 68: each way in which a secret may stand in a plan, by itself, and that the rest can still be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch import log
from driftwatch.errors import PlanFailedError
from driftwatch.log import REDACTED
from driftwatch.model import UNKNOWN_VALUE, AttributeChange, Finding, FindingKind
from driftwatch.terraform import failures
from driftwatch.terraform.command import Finished
from tests.drift import samples
from tests.redaction.canaries import DIGITS, STEM, leaks
from tests.redaction.outputs import DIGEST, reading_of, result_of, said_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from driftwatch.drift import Reading
    from tests.redaction.outputs import House

SECRET = f"{STEM}-hunter2"
ANOTHER = f"{STEM}-hunter3"
NUMBER = int(DIGITS)
KEY_FILE = f"-----BEGIN KEY-----\n{SECRET}\n-----END KEY-----\n"


def read(*changes: dict[str, Any], **document: Any) -> Reading:
    """Reads a document, and holds that nothing that is said of it says a secret."""
    result = reading_of(json.dumps(samples.plan(*changes, **document)))
    assert leaks(said_of(result_of(result))) == {}
    return result


def only(reading: Reading) -> Finding:
    (finding,) = reading.findings
    return finding


def attributes(reading: Reading) -> dict[str, AttributeChange]:
    return {each.path: each for each in only(reading).attributes}


def elsewhere(secret: Any) -> dict[str, Any]:
    """A resource that stays as it is and in which a secret stands marked."""
    return samples.change(
        {"p": secret},
        {"p": secret},
        address="thing_box.safe",
        actions=("no-op",),
        before_sensitive={"p": True},
    )


def failing(*messages: str) -> list[dict[str, Any]]:
    problems = [{"message": message} for message in messages]
    failed = {"address": {"to_display": "check.it"}, "status": "fail", "problems": problems}
    return [{"address": {"kind": "check", "to_display": "check.it"}, "status": "fail", "instances": [failed]}]


@pytest.mark.row(68)
@pytest.mark.parametrize("side", ["before", "after", "both"])
def test_a_container_that_is_marked_as_a_whole_is_one_digest_with_its_keys(side: str) -> None:
    """Row 68: a map with a secret key is marked as a whole, on the side on which it has that key."""
    marks = {"before_sensitive": {"m": True}, "after_sensitive": {"m": True}}
    if side != "both":
        del marks[f"{'after' if side == 'before' else 'before'}_sensitive"]

    found = attributes(
        read(samples.change({"m": {SECRET: 1, "b": [NUMBER]}}, {"m": {ANOTHER: {"c": SECRET}}}, **marks))
    )

    assert found.keys() == {"/m"}
    assert found["/m"].sensitive
    assert found["/m"].actual == DIGEST({SECRET: 1, "b": [NUMBER]})


@pytest.mark.row(68)
def test_a_secret_element_of_a_list_is_hidden_and_the_others_are_not() -> None:
    """Row 68: an element of a set may stand elsewhere in `after`, so that the mask of one is that of all."""
    before = [{"name": "ada", "key": SECRET}, {"name": "bob", "key": None}]
    after = [{"name": "bob", "key": None}, {"name": "ada", "key": ANOTHER}]
    marks = {"before_sensitive": {"users": [{"key": True}, {}]}}

    (users,) = attributes(read(samples.change({"users": before}, {"users": after}, **marks))).values()

    assert users.actual == [{"name": "ada", "key": DIGEST(SECRET)}, {"name": "bob", "key": None}]
    assert users.after == [{"name": "bob", "key": None}, {"name": "ada", "key": DIGEST(ANOTHER)}]


@pytest.mark.row(68)
def test_a_secret_deep_in_nested_blocks_is_hidden_by_itself() -> None:
    """Row 68: at every depth, and what stands beside it stays."""

    def nested(secret: Any) -> dict[str, Any]:
        return {"outer": [{"inner": [{"deep": {"pin": secret, "open": "plain"}}]}]}

    mask = {"outer": [{"inner": [{"deep": {"pin": True}}]}]}

    (outer,) = attributes(
        read(samples.change(nested(SECRET), nested(NUMBER), before_sensitive=mask, after_sensitive=mask))
    ).values()

    assert {"outer": outer.actual} == nested(DIGEST(SECRET))
    assert {"outer": outer.after} == nested(DIGEST(NUMBER))


@pytest.mark.row(68)
@pytest.mark.parametrize("marked", ["before_sensitive", "after_sensitive"])
def test_a_value_that_is_marked_on_one_side_is_hidden_on_both(marked: str) -> None:
    """Row 68: whoever takes `sensitive = true` out of the code does not publish what was there before."""
    (password,) = attributes(
        read(samples.change({"p": SECRET}, {"p": ANOTHER}, **{marked: {"p": True}}))
    ).values()

    assert (password.sensitive, password.actual, password.after) == (True, DIGEST(SECRET), DIGEST(ANOTHER))


@pytest.mark.row(68)
def test_what_the_state_remembers_is_hidden_by_the_marks_of_what_is_planned_and_the_other_way_round() -> None:
    """Row 68: the views of one resource come from two lists, each with masks of its own."""
    moved = samples.change(
        {"p": f"{STEM}-old", "q": 1}, {"p": SECRET, "q": NUMBER}, after_sensitive={"q": True}
    )
    planned = samples.change({"p": SECRET, "q": NUMBER}, {"p": ANOTHER, "q": 1}, before_sensitive={"p": True})

    found = attributes(read(planned, drift=(moved,)))

    assert found["/p"].before == DIGEST(f"{STEM}-old")
    assert found["/q"].actual == DIGEST(NUMBER)


@pytest.mark.row(68)
@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        (("delete", "create"), FindingKind.REPLACED),
        (("create", "delete"), FindingKind.REPLACED),
        (("delete",), FindingKind.DESTROYED),
        (("forget",), FindingKind.DESTROYED),
        (("create",), FindingKind.CREATED),
    ],
)
def test_a_resource_that_comes_or_goes_as_a_whole_says_nothing_of_its_secrets(
    actions: tuple[str, ...], kind: FindingKind
) -> None:
    """Row 68: replaced, destroyed and created."""
    marks = {"before_sensitive": {"p": True}, "after_sensitive": {"p": True}}
    before = None if kind is FindingKind.CREATED else {"p": SECRET, "name": "old"}
    after = None if kind is FindingKind.DESTROYED else {"p": ANOTHER, "name": "new"}

    assert only(read(samples.change(before, after, actions=actions, **marks))).kind is kind


@pytest.mark.row(68)
def test_a_resource_that_was_deleted_or_moved_says_nothing_of_its_secrets() -> None:
    """Row 68: what was there stands in `resource_drift`, at the address that it had before the move."""
    marks = {"before_sensitive": {"p": True}}
    gone = samples.change({"p": SECRET}, None, actions=("delete",), **marks)
    anew = samples.change(None, {"p": SECRET}, actions=("create",), after_sensitive={"p": True})
    moved = samples.change({"p": SECRET}, {"p": ANOTHER}, address="thing_box.before", **marks)
    back = samples.change({"p": ANOTHER}, {"p": SECRET}) | {"previous_address": "thing_box.before"}

    assert only(read(anew, drift=(gone,))).kind is FindingKind.DELETED
    assert attributes(read(back, drift=(moved,)))["/p"].before == DIGEST(SECRET)


@pytest.mark.row(68)
def test_what_only_an_apply_will_know_is_said_and_what_is_there_is_not() -> None:
    """Row 68: what is not known yet is no secret, and within a marked container a part of its digest."""
    change = samples.change(
        {"p": SECRET, "m": {"a": SECRET}},
        {"m": {"b": ANOTHER}},
        unknown={"p": True, "m": {"a": True}},
        before_sensitive={"p": True, "m": True},
        after_sensitive={"p": True, "m": True},
    )

    found = attributes(read(change))

    assert (found["/p"].actual, found["/p"].after) == (DIGEST(SECRET), UNKNOWN_VALUE)
    assert found["/m"].after == DIGEST({"a": UNKNOWN_VALUE, "b": ANOTHER})


@pytest.mark.row(68)
def test_a_value_that_is_also_a_secret_is_hidden_wherever_it_is_shown() -> None:
    """Row 68: who reads the one place learns what stands at the other. Short ones are ordinary words."""
    short = samples.change(
        {"p": "prod"},
        {"p": "prod"},
        address="thing_box.short",
        actions=("no-op",),
        before_sensitive={"p": True},
    )
    change = samples.change(
        {"name": SECRET, "url": f"https://{SECRET}@x", "env": "prod", "size": 1},
        {"name": "plain", "url": "plain", "env": "stage", "size": 2},
    )

    found = attributes(read(change, elsewhere(SECRET), short))

    assert found["/name"].actual == DIGEST(SECRET)
    assert found["/url"].actual == DIGEST(f"https://{SECRET}@x")
    assert (found["/env"].actual, found["/size"].actual) == ("prod", 1)


@pytest.mark.row(68)
@pytest.mark.parametrize(
    ("secret", "copy"),
    [
        (NUMBER, NUMBER),
        (NUMBER, float(NUMBER)),
        (NUMBER, f"pin-{NUMBER}"),
        (NUMBER + 0.5, [NUMBER + 0.5]),
        (str(NUMBER), NUMBER),
        (KEY_FILE, KEY_FILE.strip()),
        (KEY_FILE, json.dumps({"key": KEY_FILE})),
        (f'"{SECRET}"', json.dumps({"key": f'"{SECRET}"'})),
        (f"<{SECRET}&>", f'{{"key":"\\u003c{SECRET}\\u0026\\u003e"}}'),
        (SECRET, {"m": {SECRET: 1}}),
        (SECRET, [{f"x-{SECRET}": "plain"}]),
    ],
)
def test_a_secret_that_lost_its_mark_is_known_again_in_another_dress(secret: Any, copy: Any) -> None:
    """Row 68: as a number, without the line end of a file, in a policy's JSON, as the key of a map."""
    (found,) = only(read(samples.change({"it": copy}, {"it": "plain"}), elsewhere(secret))).attributes

    assert found.after == "plain"


@pytest.mark.row(68)
def test_a_key_that_is_a_secret_is_no_step_of_a_path() -> None:
    """Row 68: AWS's `tags_all` has the keys of `tags`, without the marks. That it changed is still told."""
    change = samples.change({"tags_all": {SECRET: "a", "open": 1}}, {"tags_all": {SECRET: "b", "open": 2}})

    found = attributes(read(change, elsewhere(SECRET)))
    again = attributes(read(change, elsewhere(SECRET)))

    assert found.keys() == {"/tags_all/open", f"/tags_all/{DIGEST(SECRET)}"}
    assert found == again


@pytest.mark.row(68)
def test_the_name_of_an_attribute_is_no_secret_even_where_it_is_one() -> None:
    """Row 68: somebody's password is "password"; what a provider calls its arguments everybody may read."""
    reading = read(samples.change({"password": 1}, {"password": 2}), elsewhere("password"))

    assert attributes(reading).keys() == {"/password"}


@pytest.mark.row(68)
def test_a_secret_that_changes_is_another_finding_and_one_that_stays_is_not() -> None:
    """Row 68: digests still tell that something is new, and new only once."""

    def print_of(secret: str) -> str:
        return only(read(samples.change({"p": secret}, {"p": "x"}, before_sensitive={"p": True}))).fingerprint

    assert print_of(SECRET) == print_of(SECRET) != print_of(ANOTHER)


@pytest.mark.row(68)
@pytest.mark.parametrize("secret", [SECRET, KEY_FILE, NUMBER, NUMBER + 0.5, f'"{SECRET}"'])
@pytest.mark.parametrize("where", ["resource", "output", "variable", "data read"])
def test_a_failing_check_quotes_no_secret(secret: Any, where: str) -> None:
    """Row 68: Terraform hides what it knows to be marked, and a provider's message it does not know."""
    mask = {"before_sensitive": True, "after_sensitive": True}
    marked = samples.change(secret, secret, actions=("no-op",), address="thing_box.safe", **mask)
    document = samples.plan(
        *([marked] if where == "resource" else []),
        outputs={"o": marked["change"]} if where == "output" else {},
        variables={"v": {"value": [secret]}} if where == "variable" else {},
        checks=failing(f"It is {secret}.", f"In JSON: {json.dumps([secret])}", f"({str(secret).strip()})"),
    )
    document["configuration"]["root_module"]["variables"] = {"v": {"sensitive": True}}
    if where == "data read":
        document["prior_state"]["values"]["root_module"]["resources"].append(
            {"address": "data.a.b", "mode": "data", "values": {"p": secret}, "sensitive_values": {"p": True}}
        )

    reading = reading_of(json.dumps(document))

    assert leaks(said_of(result_of(reading))) == {}
    (message,) = [each.message for each in reading.findings if each.address == "check.it"]
    assert message is not None
    assert message.startswith("It is ")
    assert message.count(REDACTED) == 3


@pytest.mark.row(68)
def test_a_region_that_is_a_secret_is_no_region_to_be_read() -> None:
    """Row 68: where a provider looks is told, unless a sensitive variable says where."""
    document = samples.plan(variables={"where": {"value": SECRET}, "open": {"value": "eu-west-1"}})
    document["configuration"]["root_module"]["variables"] = {"where": {"sensitive": True}}
    document["configuration"]["provider_config"] = {
        name: {"full_name": samples.PROVIDER, "expressions": {"region": {"references": [f"var.{variable}"]}}}
        for name, variable in (("hidden", "where"), ("shown", "open"))
    }

    reading = reading_of(json.dumps(document))

    assert leaks({"the reading": repr(reading)}) == {}
    configurations = reading.inputs.provider_configurations or {}
    assert {name: each.region for name, each in configurations.items()} == {
        "hidden": None,
        "shown": "eu-west-1",
    }


# ---- What driftwatch itself was given --------------------------------------------------------------------


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret of the configuration: a token, or what a stack's environment holds."""
    monkeypatch.setattr(log, "_secrets", set())
    log.register_secret(SECRET)
    return SECRET


@pytest.mark.row(68)
def test_what_driftwatch_was_given_is_hidden_where_a_plan_shows_it_unmarked(given: str) -> None:
    """Row 68: who says nothing of a variable in the code still gave it as a secret in the configuration."""
    change = samples.change({"p": given, "m": {given: f"x{given}"}, "n": 1}, {"p": "a", "m": {}, "n": 2})

    found = attributes(read(change))

    assert found["/p"].actual == DIGEST(SECRET)
    assert (found["/n"].actual, found["/n"].after) == (1, 2)


@pytest.mark.row(68)
@pytest.mark.parametrize("json_lines", [True, False])
def test_a_failed_plan_that_quotes_what_driftwatch_was_given_is_told_without_it(
    given: str, json_lines: bool, a_house: Callable[[], AbstractContextManager[House]]
) -> None:
    """Row 68: providers put the request that failed into their diagnostics, header by header."""
    said = f"Post https://user:{given}@api.example.test: token {given} is not good"
    finished = Finished(command="plan", returncode=1, stdout="", stderr=f"Error: {said}\n\n{said}\n")
    diagnostic = {"severity": "error", "summary": "Cannot create it", "detail": said}
    line = json.dumps({"type": "diagnostic", "diagnostic": diagnostic}).encode()
    read_line = failures.from_json(line)
    assert read_line is not None
    problem = failures.failure(finished, [read_line] if json_lines else [])

    with a_house() as house:
        outputs = house.outputs(problem, more=[problem, PlanFailedError(f"It said: {said}", detail=said)])

    assert leaks({**outputs, "raised": f"{problem!r} {problem} {problem.report()!r}"}) == {}
    assert problem.code in outputs["log"]
    assert any(REDACTED in text for name, text in outputs.items() if name.endswith("webhook"))


@pytest.mark.row(68)
@pytest.mark.parametrize("blanks", range(384, 400, 3))
@pytest.mark.parametrize("parsed", [True, False])
def test_a_secret_that_is_cut_in_two_is_none_the_less_one(given: str, blanks: int, *, parsed: bool) -> None:
    """Row 68: an error's sentence ends, or begins, in the middle of what a provider said."""
    said = f"{'x' * blanks} {given} {'y' * 20} {given} ExpiredToken {'z' * (blanks - 13)}"
    finished = Finished(command="plan", returncode=1, stdout="", stderr=said)
    read_line = failures.from_json(
        json.dumps({"type": "diagnostic", "diagnostic": {"severity": "error", "summary": said}}).encode()
    )
    assert read_line is not None

    problem = failures.failure(finished, [read_line] if parsed else [])

    pieces = {given[:length] for length in range(4, len(given))} | {given[-4:]}
    assert not [piece for piece in pieces if piece in repr(problem.report())]
    assert ("xxx" if parsed else "zzz") in problem.message
