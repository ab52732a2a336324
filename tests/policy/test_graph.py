"""The graph says which stacks come before which and why, names what goes in circles, and is never stuck."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.config.cycles import circle, spelt, tangles
from driftwatch.hcl import THIS_WORKSPACE, RemoteState
from driftwatch.model import StackId
from driftwatch.policy.graph import (
    Edge,
    Graph,
    Node,
    Reason,
    StateAt,
    StateRead,
    Unknown,
    graph_of,
    state_at,
    state_read_by,
)


def stack(path: str, repository: str = "p", workspace: str = "default") -> StackId:
    return StackId(repository=repository, path=path, workspace=workspace)


A, B, C, D = map(stack, "abcd")
FAR = stack("net", "q")


def node(of: StackId, *depends_on: str, **more: Any) -> Node:
    return Node(stack=of, depends_on=depends_on, **more)


def reasons(graph: Graph) -> list[tuple[str, str, str]]:
    return [(str(edge.upstream), str(edge.downstream), edge.reason.value) for edge in graph.edges]


def test_what_is_declared_is_found_by_id_and_by_glob_in_all_repositories() -> None:
    graph = graph_of([node(A), node(B, "p/a", "q/*"), node(C, "p/*"), node(FAR)])
    assert graph.upstream == {A: (), B: (A, FAR), C: (A, B), FAR: ()}
    assert graph.downstream == {A: (B, C), B: (C,), C: (), FAR: (B,)}
    assert graph.edges[0] == Edge(
        upstream=A, downstream=B, reason=Reason.DECLARED, sentence="it declares to depend on p/a"
    )
    assert graph.order == (A, FAR, B, C)


def test_an_id_with_brackets_names_its_stack() -> None:
    odd = stack("a[1]")
    assert graph_of([node(odd), node(B, "p/a[1]")]).upstream[B] == (odd,)


def test_all_the_labels_that_are_asked_for_must_be_there() -> None:
    tier = {"tier": "network"}
    graph = graph_of(
        [
            node(A, labels={**tier, "env": "prod"}),
            node(B, labels=tier),
            node(C, depends_on_labels={**tier, "env": "prod"}),
            node(FAR, depends_on_labels=tier, labels=tier),
        ]
    )
    assert graph.upstream == {A: (), B: (), C: (A,), FAR: (A, B)}
    assert graph.edges[0].sentence == "it depends on what is labelled tier=network, env=prod"


def test_whoever_reads_a_state_comes_after_the_stack_whose_it_is() -> None:
    there = StateAt(address="x", words="s3: key net")
    reads = (StateRead(name="net", at=there), StateRead(name="other", at=StateAt(address="y", words="")))
    graph = graph_of([node(FAR, state=there), node(A, reads=reads)])
    assert reasons(graph) == [("q/net", "p/a", "remote_state")]
    assert graph.edges[0].sentence == "data.terraform_remote_state.net reads its state"
    assert graph.unknown == (), "a state of somebody else is nothing to warn of"


def test_a_stack_that_names_itself_depends_on_nothing_by_that() -> None:
    there = StateAt(address="x", words="")
    own = (StateRead(name="own", at=there),)
    named = node(A, "p/a", "p/*", labels={"a": "b"}, depends_on_labels={"a": "b"}, state=there, reads=own)
    graph = graph_of([named, node(B)])
    assert (graph.cycles, graph.unknown, graph.upstream[A]) == ((), (), (B,))


def test_what_no_stack_is_is_told() -> None:
    graph = graph_of([node(A, "p/typo", "q/*"), node(B, depends_on_labels={"tier": "none"})])
    assert graph.unknown == (
        Unknown(stack=A, wanted="p/typo"),
        Unknown(stack=A, wanted="q/*"),
        Unknown(stack=B, wanted="the labels tier=none"),
    )


def test_a_cycle_is_named_and_its_edges_have_no_effect() -> None:
    """What hangs on it, above and below, keeps its order."""
    graph = graph_of([node(A, "p/b"), node(B, "p/c"), node(C, "p/a", "q/net"), node(D, "p/a"), node(FAR)])
    assert graph.cycles == ((A, B, C),)
    assert graph.cycle_of("p") == "p/a → p/b → p/c → p/a"
    assert graph.cycle_of("q") is None
    assert graph.upstream == {A: (), B: (), C: (FAR,), D: (A,), FAR: ()}
    assert {edge.in_cycle for edge in graph.edges if edge.downstream in (A, B)} == {True}
    assert graph.order == (A, B, D, FAR, C)


def test_what_is_only_found_takes_no_effect_from_what_is_declared() -> None:
    """Somebody's data source or label that closes a circle is told, and loses; the declared order stays."""
    there, tier = StateAt(address="x", words=""), {"tier": "app"}
    reads = (StateRead(name="app", at=there),)
    graph = graph_of(
        [
            node(A, "p/b", state=there, labels=tier),
            node(B, "p/c", reads=reads),
            node(C, depends_on_labels=tier),
            node(D, "p/a", reads=reads),
        ]
    )
    assert graph.upstream == {A: (B,), B: (C,), C: (), D: (A,)}
    assert [edge.reason for edge in graph.edges if edge.in_cycle] == [Reason.REMOTE_STATE, Reason.LABELS]
    assert graph.cycle_of("p") == "p/a → p/b → p/a"
    assert graph.order == (C, B, A, D)


def test_a_declared_circle_is_told_beside_one_that_is_found() -> None:
    there = StateAt(address="x", words="")
    graph = graph_of(
        [
            node(A, "p/b"),
            node(B, "p/a"),
            node(C, "p/d", state=there),
            node(D, reads=(StateRead(name="c", at=there),)),
        ]
    )
    assert graph.cycles == ((A, B), (C, D))
    assert graph.upstream == {A: (), B: (), C: (D,), D: ()}


def test_who_may_depend_on_a_repository_that_nobody_has_read_is_known() -> None:
    """Labels may be anybody's there, and so may a state that is none of a stack that is known."""
    there, other = StateAt(address="x", words=""), StateAt(address="y", words="")
    graph = graph_of(
        [
            node(A, state=there),
            node(B, reads=(StateRead(name="a", at=there),)),
            node(C, reads=(StateRead(name="a", at=there), StateRead(name="o", at=other))),
            node(D, depends_on_labels={"tier": "net"}),
            node(FAR, "z/net", "p/a"),
        ],
        ["z", "y"],
    )
    assert graph.unread == {C: "y", D: "y", FAR: "z"}


def test_a_cycle_over_two_repositories_is_both_ones() -> None:
    graph = graph_of([node(A, "q/net"), node(FAR, "p/a"), node(B)])
    assert graph.cycle_of("p") == graph.cycle_of("q") == "p/a → q/net → p/a"


def test_a_chain_of_thousands_is_no_deeper_than_any_other() -> None:
    """Neither too deep nor slow, closed to a ring too."""
    many = [stack(f"s{number:05d}") for number in range(3000)]
    chain = [node(many[0]), *(node(after, str(before)) for before, after in itertools.pairwise(many))]
    started = time.monotonic()
    graph = graph_of(chain)
    assert (graph.order, graph.cycles) == (tuple(many), ())
    ring = graph_of([node(many[0], str(many[-1])), *chain[1:]])
    assert len(ring.cycles[0]) == 3000
    assert not any(ring.upstream.values())
    assert time.monotonic() - started < 10


STACKS = [stack(letter) for letter in "abcdef"]


@given(st.dictionaries(st.sampled_from(STACKS), st.sets(st.sampled_from(STACKS), max_size=3)))
def test_however_they_depend_there_is_an_order_and_nothing_is_lost_without_a_cycle(
    declared: dict[StackId, set[StackId]],
) -> None:
    graph = graph_of(node(each, *map(str, declared.get(each, ()))) for each in STACKS)
    place = {each: number for number, each in enumerate(graph.order)}
    assert place.keys() == set(STACKS)
    assert all(place[above] < place[below] for below, its in graph.upstream.items() for above in its)
    reach = {each: _reach(each, declared) for each in STACKS}
    for below, its in declared.items():
        for above in its - {below}:
            assert (above in graph.upstream[below]) == (below not in reach[above])
    for way in graph.cycles:
        assert all(after in declared[before] for before, after in zip(way, (*way[1:], way[0]), strict=True))
        assert len(way) > 1
    assert bool(graph.cycles) == any(
        above != each and each in reach[above] for each in STACKS for above in declared.get(each, ())
    )


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"), max_size=3)),
    st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"), max_size=3)),
)
def test_whatever_is_read_what_is_declared_without_a_circle_has_its_effect(
    declared: dict[str, set[str]], read_by: dict[str, set[str]]
) -> None:
    states = {each: StateAt(address=each, words="") for each in "abcdef"}
    earlier = {each: {other for other in declared.get(each, ()) if other < each} for each in "abcdef"}
    graph = graph_of(
        node(
            stack(each),
            *(f"p/{other}" for other in earlier[each]),
            state=states[each],
            reads=[StateRead(name=other, at=states[other]) for other in read_by.get(each, ())],
        )
        for each in "abcdef"
    )
    assert len(graph.order) == len(states)
    for each, its in earlier.items():
        assert {stack(other) for other in its} <= set(graph.upstream[stack(each)])


def _reach(start: StackId, declared: dict[StackId, set[StackId]]) -> set[StackId]:
    found, ahead = set[StackId](), [start]
    while ahead:
        fresh = declared.get(ahead.pop(), set()) - found
        found |= fresh
        ahead += fresh
    return found


def test_a_tangle_is_spelt_by_its_shortest_way_round() -> None:
    before: dict[str, list[str]] = {"a": ["b"], "b": ["c"], "c": ["a", "b"], "d": ["d"]}
    (tangle,) = tangles(before)
    assert tangle == {"a", "b", "c"}
    way = circle(tangle, before)
    assert spelt(way) == "a → b → c → a"
    with pytest.raises(ValueError, match="nothing goes round"):
        circle(["d"], before)


# ---- whose state ---------------------------------------------------------------------------------------


def kept(backend: str | None, workspace: str = "default", at: str = "net", /, **config: str | None) -> Any:
    return state_at(backend, tuple(config.items()), workspace=workspace, repository="p", directory=at)


def read(
    backend: str | None,
    config: dict[str, str | None] | None,
    workspace: str | None = "default",
    *,
    by: StackId = A,
    module: str = "a",
) -> StateAt | None:
    given = None if config is None else tuple(config.items())
    state = RemoteState(name="it", backend=backend, config=given, workspace=workspace)
    return state_read_by(state, stack=by, module=module)


SAME: list[tuple[str, dict[str, str], dict[str, str]]] = [
    (
        "s3",
        {"bucket": "b", "key": "k", "region": "eu-west-1", "encrypt": "true"},
        {"bucket": "b", "key": "k"},
    ),
    ("gcs", {"bucket": "b"}, {"bucket": "b", "prefix": ""}),
    ("gcs", {"bucket": "b", "prefix": "net/"}, {"bucket": "b", "prefix": "net"}),
    (
        "azurerm",
        {"storage_account_name": "s", "container_name": "c", "key": "k", "resource_group_name": "r"},
        {"storage_account_name": "s", "container_name": "c", "key": "k", "use_oidc": "true"},
    ),
    (
        "http",
        {"address": "https://x.example.com/net", "username": "me"},
        {"address": "https://x.example.com/net"},
    ),
    (
        "consul",
        {"path": "net", "address": "consul.example.com"},
        {"path": "net", "address": "consul.example.com"},
    ),
    (
        "pg",
        {"conn_str": "postgres://x/y"},
        {"conn_str": "postgres://x/y", "schema_name": "terraform_remote_state"},
    ),
    ("local", {"path": "/srv/net.tfstate"}, {"path": "/srv/./net.tfstate"}),
    ("local", {}, {"path": "../net/terraform.tfstate"}),
    ("local", {"path": "x.tfstate"}, {"path": "${path.module}/../net/x.tfstate"}),
]


@pytest.mark.parametrize(("backend", "own", "theirs"), SAME)
def test_the_same_place_is_known_by_the_keys_that_say_where(
    backend: str, own: dict[str, str], theirs: dict[str, str]
) -> None:
    there, seen = kept(backend, **own), read(backend, dict(theirs))
    assert seen is not None
    assert there.address == seen.address


OTHER: list[tuple[str, dict[str, str | None]]] = [
    ("s3", {"bucket": "b", "key": "other"}),
    ("s3", {"bucket": "b"}),
    ("s3", {"bucket": "b", "key": None}),
    ("gcs", {"bucket": "b", "prefix": "k"}),
    ("gcs", {"bucket": "b", "prefix": None}),
    ("consul", {"path": "k"}),
    ("remote", {"bucket": "b", "key": "k"}),
    ("local", {"path": "../../../outside"}),
    ("local", {"path": None}),
]


@pytest.mark.parametrize(("backend", "theirs"), OTHER)
def test_another_place_is_another_and_one_that_only_a_plan_knows_is_none(
    backend: str, theirs: dict[str, str | None]
) -> None:
    there, seen = kept("s3", bucket="b", key="k"), read(backend, theirs)
    assert seen is None or seen.address != there.address
    assert read("s3", None) is None
    assert read(None, {"bucket": "b", "key": "k"}) is None
    assert read("s3", {"bucket": "b", "key": "k"}, None) is None


def test_workspaces_keep_states_apart() -> None:
    there, key = kept("s3", "blue", bucket="b", key="k"), {"bucket": "b", "key": "k"}
    blue = stack("a", workspace="blue")
    found = [
        read("s3", dict(key)),
        read("s3", dict(key), "blue"),
        read("s3", dict(key), THIS_WORKSPACE, by=blue),
    ]
    assert [each is not None and each.address == there.address for each in found] == [False, True, True]


def test_a_path_from_a_module_starts_in_the_modules_directory() -> None:
    there = kept("local", "default", "net", path="x.tfstate")
    inside = read("local", {"path": "${path.module}/../../net/x.tfstate"}, module="modules/m")
    plain = read("local", {"path": "../net/x.tfstate"}, module="modules/m")
    assert inside is not None
    assert plain is not None
    assert inside.address == plain.address == there.address


def test_what_the_configuration_adds_counts_and_no_secret_is_put_into_words() -> None:
    seen = read("s3", {"bucket": "b", "key": "k"})
    there = state_at(
        "s3",
        (("key", "k"),),
        workspace="default",
        repository="p",
        directory="net",
        secretly={"bucket": "b", "secret_key": "hush"},
    )
    assert there is not None
    assert seen is not None
    assert (there.address, there.words) == (seen.address, "s3: key k")
    pg = kept("pg", "blue", conn_str="postgres://me:hush@x/y")
    assert pg.words == "pg: schema_name terraform_remote_state, workspace blue"
    assert "hush" not in repr((there, pg, kept("http", address="https://me:hush@x.example.com/y")))
