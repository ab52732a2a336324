"""Plan documents in which anything may be a secret, marked in every way that Terraform has for it.

A strategy draws trees of leaves that are secret or not; here they become values and Terraform's masks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003  (dataclass fields)
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.drift import samples
from tests.redaction.canaries import SHAPES, STEM, Canaries

BEACON = "beacon-lit-by-hand"
"""What may be said, and is: a test that looks for silence must hear this."""

BEACON_ADDRESS = "thing_box.beacon"
CHECK = "check.it"
TIME = "2026-11-25T03:00:00Z"

_View: TypeAlias = tuple[Any, Any]
"""A value and its mask."""

NOTHING: _View = (None, False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A leaf that is marked; `shape` None is a number."""

    shape: str | None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Whole:
    """A container that is marked as a whole, keys and all."""

    inner: Any


SECRETS = st.one_of(
    st.sampled_from(SHAPES).map(Secret),
    st.booleans().map(lambda whole: Secret(None, whole)),
)
OPEN = st.one_of(st.none(), st.booleans(), st.integers(0, 99), st.sampled_from(["", "plain", "other"]))
NAMES = st.sampled_from(["a", "b", "tags", "x/y"])


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3))
    return st.one_of(plain, plain.map(Whole))


TREES = st.recursive(st.one_of(SECRETS, OPEN), _containers, max_leaves=8)
OBJECTS = st.dictionaries(NAMES, TREES, min_size=1, max_size=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a resource has in `resource_drift`: that it is another now, or `gone`."""

    gone: bool = False
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a resource has in `resource_changes`. What `comes` has no before, what `goes` has no after."""

    actions: tuple[str, ...] = ("update",)
    comes: bool = False
    goes: bool = False
    change: Mapping[str, Any] = field(default_factory=dict)
    entry: Mapping[str, Any] = field(default_factory=dict)


CREATED = Planned(actions=("create",), comes=True)
DELETED = Planned(actions=("delete",), goes=True)
LEFT_BEHIND = Planned(actions=("delete",), goes=True, entry={"deposed": "0badcafe"})
READ_LATER = Planned(actions=("read",), comes=True, entry={"mode": "data"})
RENAMED = "_before"

FATES: Mapping[str, tuple[Moved | None, tuple[Planned, ...]]] = {
    "drifted": (Moved(), (Planned(),)),
    "pending": (None, (Planned(),)),
    "ignored": (Moved(), (Planned(actions=("no-op",)),)),
    "replaced": (Moved(), (Planned(actions=("delete", "create")),)),
    "created": (None, (CREATED,)),
    "deleted": (Moved(gone=True), (CREATED,)),
    "destroyed": (Moved(), (DELETED,)),
    "forgotten": (None, (Planned(actions=("forget",), goes=True),)),
    "moved": (Moved(suffix=RENAMED), (Planned(entry={"previous_address": RENAMED}),)),
    "imported": (None, (Planned(change={"importing": {"id": "i-1"}}),)),
    "deposed": (None, (CREATED, LEFT_BEHIND)),
    "read later": (None, (READ_LATER, Planned())),
    "gone from both": (Moved(gone=True, suffix="_gone"), (Planned(),)),
}
"""All that can become of a resource."""

UNKNOWNS = st.sampled_from(
    [{}, {"a": True}, {"b": [True, {"a": True}]}, {"tags": {"a": True}}, {"new": True}]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One resource as it was drawn: its three views, and what became of it."""

    fate: str
    state: Any
    actual: Any
    wanted: Any
    unknown: Any


RESOURCES = st.builds(
    Drawn, fate=st.sampled_from(list(FATES)), state=OBJECTS, actual=OBJECTS, wanted=OBJECTS, unknown=UNKNOWNS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A whole document before its canaries are in it."""

    resources: list[Drawn]
    outputs: list[tuple[str, Any, Any]]
    variables: list[Any]
    reads: list[Any]
    quoted: int
    echoed: bool


SKETCHES = st.builds(
    Sketch,
    resources=st.lists(RESOURCES, min_size=1, max_size=3),
    outputs=st.lists(
        st.tuples(st.sampled_from(["create", "update", "delete", "no-op"]), TREES, TREES), max_size=2
    ),
    variables=st.lists(st.one_of(SECRETS, TREES.map(Whole)), max_size=2),
    reads=st.lists(OBJECTS, max_size=2),
    quoted=st.integers(0, 4),
    echoed=st.booleans(),
)


@dataclass(slots=True)
class Planting:
    """Makes a document of a sketch. `canaries` are those that it put into it."""

    sketch: Sketch
    canaries: Canaries = field(default_factory=Canaries)

    def document(self) -> dict[str, Any]:
        changes, drift = self._resources()
        variables = {f"v{place}": {"value": self._value(each)[0]} for place, each in self._variables()}
        document = samples.plan(
            *changes,
            drift=tuple(drift),
            outputs={f"o{place}": self._output(*each) for place, each in enumerate(self.sketch.outputs)},
            configured={"thing_box.r0": ("a", "b="), samples.ADDRESS: ("tags",)},
            variables={**variables, "open": {"value": "plain"}},
            timestamp=TIME,
            relevant_attributes=[{"resource": "thing_box.r0", "attribute": ["a"]}],
        )
        root = document["configuration"]["root_module"]
        root["variables"] = {name: {"sensitive": True} for name in variables}
        root["outputs"] = {name: {"sensitive": True} for name in document["output_changes"]}
        document["configuration"]["provider_config"] = self._providers()
        known = document["prior_state"]["values"]["root_module"]
        managed = [each for each in known["resources"] if not each["address"].startswith("data.")]
        known["resources"] = [*managed, *self._reads()]
        marked = self._marked(document)
        if self.sketch.echoed:
            self._echo(document, marked[:4])
        document["checks"] = [self._check(marked)]
        return document

    def text(self) -> str:
        return json.dumps(self.document())

    def _variables(self) -> list[tuple[int, Any]]:
        return list(enumerate(self.sketch.variables))

    def _value(self, node: Any, *, hidden: bool = False) -> _View:
        """A tree as a value and as the mask that hides all of its secrets, and in `hidden` everything."""
        match node:
            case Whole(inner=inner):
                return self._value(inner, hidden=True)[0], True
            case dict():
                return self._object(node, hidden=hidden)
            case list():
                elements = [self._value(each, hidden=hidden) for each in node]
                return [value for value, _ in elements], [mask for _, mask in elements]
        return self._leaf(node, hidden=hidden)

    def _object(self, node: dict[str, Any], *, hidden: bool) -> _View:
        found = {
            self.canaries.key() if hidden else key: self._value(each, hidden=hidden)
            for key, each in node.items()
        }
        value = {key: value for key, (value, _) in found.items()}
        return value, {key: mask for key, (_, mask) in found.items() if mask is not False}

    def _leaf(self, node: Any, *, hidden: bool) -> _View:
        match node:
            case Secret(shape=None, whole=whole):
                return self.canaries.number(whole=whole), True
            case Secret(shape=str(shape)):
                return self.canaries.text(shape), True
            case str() if hidden and node:
                return self.canaries.text(), False
        return node, False

    def _resources(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        changes, drift = [], []
        for place, drawn in enumerate(self.sketch.resources):
            moved, planned = self._resource(drawn, f"thing_box.r{place}")
            changes += planned
            drift += moved
        lit = {"actions": ("update",), "address": BEACON_ADDRESS}
        changes.append(samples.change({"aaa": BEACON}, {"aaa": "unlit"}, **lit))
        drift.append(samples.change({"aaa": "unlit"}, {"aaa": BEACON}, **lit))
        return changes, drift

    def _resource(self, it: Drawn, address: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        moved, planned = FATES[it.fate]
        state, actual, wanted = (self._value(view) for view in (it.state, it.actual, it.wanted))
        drift = [_drift(moved, state, actual, address)] if moved else []
        return drift, [_planned(each, actual, wanted, address, it.unknown) for each in planned]

    def _output(self, action: str, before: Any, after: Any) -> dict[str, Any]:
        then, then_mask = NOTHING if action == "create" else self._value(before)
        now, now_mask = NOTHING if action == "delete" else self._value(after)
        if action == "no-op":
            now, now_mask = then, then_mask
        entry = samples.change(
            then, now, actions=(action,), before_sensitive=then_mask, after_sensitive=now_mask
        )
        change: dict[str, Any] = entry["change"]
        return change

    def _reads(self) -> Any:
        for place, tree in enumerate(self.sketch.reads):
            values, mask = self._value(tree)
            yield {
                "address": f"data.thing_box.d{place}",
                "mode": "data",
                "values": values,
                "sensitive_values": mask,
            }
            yield {
                "address": f"data.terraform_remote_state.s{place}",
                "mode": "data",
                "values": {"outputs": values},
                "sensitive_values": {"outputs": mask},
            }

    def _providers(self) -> dict[str, Any]:
        """Literals are no leaves that are marked; what a provider is told is for nobody all the same."""
        secret = {"constant_value": f"{STEM}-of-the-provider"}
        return {
            "thing": {
                "full_name": samples.PROVIDER,
                "expressions": {
                    "region": {"references": ["var.v0"]},
                    "secret_key": secret,
                    "endpoints": [{"thing": secret}],
                },
            }
        }

    def _echo(self, document: dict[str, Any], marked: list[Any]) -> None:
        """A provider hands on in clear what was marked, in all sorts of ways."""
        before: dict[str, Any] = {}
        for place, secret in enumerate(marked):
            said = str(secret)
            before |= {
                f"copy{place}": secret,
                f"within{place}": f"it is {said.strip()}, is it not?",
                f"list{place}": [{"deep": [secret]}, "plain"],
                f"map{place}": {"m": {said: "plain", f"x-{said}-y": 1}},
                f"keyed{place}": {"m": {said: "plain", f"x-{said}-y": 1}},
                f"json{place}": _quoted({"Statement": [{"key": said}]}),
            }
        after: dict[str, Any] = dict.fromkeys(before, "plain")
        after |= {name: {"m": {}} for name in before if name.startswith("keyed")}
        document["resource_changes"].append(samples.change(before, after, address="thing_box.echo"))
        document["prior_state"]["values"]["root_module"]["resources"].append(
            {"address": "thing_box.echo", "mode": "managed"}
        )

    def _check(self, marked: list[Any]) -> dict[str, Any]:
        """A condition whose message prints secrets, as they are and in JSON."""
        known = [str(secret) for secret in marked][: self.sketch.quoted]
        problems = [
            {"message": message}
            for secret in known
            for message in (f"It is {secret}, really.", f"{_quoted([secret])} and {secret.strip()}.")
        ]
        failed = {"address": {"to_display": CHECK}, "status": "fail", "problems": problems}
        return {"address": {"kind": "check", "to_display": CHECK}, "status": "fail", "instances": [failed]}

    def _marked(self, document: dict[str, Any]) -> list[Any]:
        """The secrets that stand marked in the document: those can be known wherever else they are."""
        text = json.dumps(document)
        planted = [*self.canaries.numbers[:2], *self.canaries.texts]
        return [secret for secret in planted if json.dumps(secret) in text]


def _drift(it: Moved, state: _View, actual: _View, address: str) -> dict[str, Any]:
    value, mask = NOTHING if it.gone else actual
    return samples.change(
        state[0],
        value,
        actions=("delete",) if it.gone else ("update",),
        address=f"{address}{it.suffix}",
        before_sensitive=state[1],
        after_sensitive=mask,
    )


def _planned(it: Planned, actual: _View, wanted: _View, address: str, unknown: Any) -> dict[str, Any]:
    before, before_mask = NOTHING if it.comes else actual
    after, after_mask = NOTHING if it.goes else actual if it.actions == ("no-op",) else wanted
    entry = samples.change(
        before,
        after,
        actions=it.actions,
        address=f"data.{address}" if it.entry.get("mode") == "data" else address,
        unknown=unknown,
        before_sensitive=before_mask,
        after_sensitive=after_mask,
        **it.change,
    )
    more = {key: f"{address}{said}" if said == RENAMED else said for key, said in it.entry.items()}
    return entry | more


def _quoted(value: Any) -> str:
    """JSON as Terraform and providers write it."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
