"""Ways in which a replay could be wrong, or the wrong one be blamed: found by trying, and closed."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import CloudUnreachableError, DiskFullError, PlanFailedError
from driftwatch.model import Approach
from driftwatch.pipeline import facts
from driftwatch.sandbox.mirror import install
from driftwatch.warm import gateway, location
from driftwatch.warm.pool import Limits
from driftwatch.warm.replay import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.method.conftest import Stand

REPLAY = ("replay", "reads_same")
OTHER = "\nimport driftwatch.sandbox.provider as p\n"


def patch_provider(stand: Stand, code: str) -> None:
    """The sandbox's provider with something else about it; `code` knows its module as `p`."""
    stand.mirror = install(stand.root / "mirror")
    (binary,) = stand.mirror.rglob("terraform-provider-sandbox*")
    binary.write_text(f"#!{sys.executable} -I{OTHER}{code}\np.main()\n")
    binary.chmod(0o755)


@pytest.fixture
def unvetted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox's provider is one of which nothing special is known."""
    monkeypatch.setattr(location, "STATELESS", frozenset())


def write_upstream(path: Path, serial: int, value: str) -> None:
    state = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": serial,
        "lineage": "11111111-0000-4000-8000-000000000000",
        "outputs": {"name": {"value": value, "type": "string"}},
        "resources": [],
    }
    path.write_text(json.dumps(state))


def test_an_upstream_that_moves_during_the_plan_is_not_the_one_that_was_read(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One merge applies the network and has the application checked at the same time."""
    path = stand.root / "upstream.tfstate"
    write_upstream(path, 1, "a")
    stand.write(
        more__tf=f"""
        data "terraform_remote_state" "net" {{
          backend = "local"
          config  = {{ path = "{path}" }}
        }}
        output "name" {{ value = data.terraform_remote_state.net.outputs.name }}
        """
    )
    real = facts.sources

    def after_the_plan(place: Any) -> Any:
        write_upstream(path, 2, "b")
        return real(place)

    with monkeypatch.context() as patch:
        patch.setattr(facts, "sources", after_the_plan)
        stand.check()
    assert stand.check().how == ("plan", "remote_state")
    assert stand.check().how == REPLAY


def test_a_provider_that_asks_while_it_plans_is_asked_that_again(stand: Stand, unvetted: None) -> None:
    """As helm_release looks for the newest chart, and google_compute_instance_template for an image."""
    knob = stand.root / "knob"
    knob.write_text("1")
    patch_provider(
        stand,
        f"""
real = p.SandboxServicer.PlanResourceChange
def plan(self, request, context):
    if request.type_name == "sandbox_bucket" and open({str(knob)!r}).read() == "2":
        for part in (request.proposed_new_state, request.config):
            part.CopyFrom(p.to_dynamic_value({{**p.read_dynamic_value(part), "versioning": True}}))
    return real(self, request, context)
p.SandboxServicer.PlanResourceChange = plan
""",
    )
    assert stand.check().verdict == "in_sync"
    assert stand.check().how == REPLAY
    knob.write_text("2")
    moved = stand.check()
    assert moved.how == ("plan", "reads_differ")
    assert moved.verdict == stand.check(Approach.PLAIN).verdict == "pending"


def test_a_provider_that_remembers_its_cloud_lives_for_minutes_only(stand: Stand, unvetted: None) -> None:
    """As azurerm remembers key vaults: the same process would say the same for ever."""
    patch_provider(
        stand,
        """
answers = {}
def remember(name):
    real = getattr(p.SandboxServicer, name)
    def call(self, request, context):
        key = name, request.SerializeToString()
        if key not in answers:
            answers[key] = real(self, request, context)
        return answers[key]
    setattr(p.SandboxServicer, name, call)
remember("ReadResource")
remember("ReadDataSource")
""",
    )
    stand.check()
    stand.open_port()
    assert stand.check().how == REPLAY  # within minutes nothing tells
    stand.now += timedelta(minutes=6)
    stand.house.pool.maintain()
    moved = stand.check()
    assert moved.how == ("plan", "reads_differ")
    assert moved.differing == {"sandbox_firewall.web"}


def test_a_module_that_no_commit_covers_is_planned_each_time(stand: Stand) -> None:
    """`init` links a source with an absolute path: somebody may edit it there."""
    away = stand.root / "away"
    away.mkdir()
    (away / "main.tf").write_text('output "x" { value = 1 }\n')
    stand.write(more__tf=f'module "away" {{ source = "{away}" }}\n')
    stand.check()
    assert stand.check().how == ("plan", "outside_files")


@pytest.mark.parametrize("place", [".hidden/motd.tftpl", "nested/motd.txt", "../modules/logs/motd.tftpl"])
def test_templates_are_looked_for_everywhere(stand: Stand, place: str) -> None:
    path = stand.repository / "stack" / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("built at ${plantimestamp()}")
    where = "${path.module}/" + place
    stand.write(more__tf=f'output "x" {{ value = templatefile("{where}", {{}}) }}\n')
    stand.check()
    assert stand.check().how == ("plan", "timestamp_function")


def test_a_template_that_reads_files_is_planned_each_time(stand: Stand) -> None:
    stand.write(motd__tftpl='${file("/etc/hostname")}')
    stand.write(more__tf='output "x" { value = templatefile("${path.module}/motd.tftpl", {}) }\n')
    stand.check()
    assert stand.check().how == ("plan", "outside_files")


def test_a_plain_plan_that_says_otherwise_has_the_last_word(recorded: Stand, replaced: Any) -> None:
    known = recorded.house.shelf.peek("platform/stack")
    assert known
    recorded.open_port()
    recorded.check()
    drifted = recorded.house.shelf.peek("platform/stack")
    assert drifted
    recorded.house.shelf.put("platform/stack", replaced(drifted, reading=known.reading))
    assert recorded.check().verdict == "in_sync"  # a recording that is wrong
    assert recorded.check(Approach.PLAIN).verdict == "drifted"
    assert recorded.check().verdict == "drifted"


def test_a_plain_plan_that_agrees_leaves_the_recording(recorded: Stand) -> None:
    recorded.check(Approach.PLAIN)
    assert recorded.check().how == REPLAY


def test_a_state_that_somebody_edited_is_another_one_whatever_it_calls_itself(recorded: Stand) -> None:
    """Lineage and serial stay where terraform had no hand in it."""
    text = recorded.state.read_text()
    assert '"platform"' in text
    recorded.state.write_text(text.replace('"platform"', '"somebody"'))
    edited = recorded.check()
    assert edited.how == ("plan", "state_changed")
    assert edited.verdict == recorded.check(Approach.PLAIN).verdict


def two_configurations(stand: Stand) -> None:
    stand.write(
        more__tf="""
        provider "sandbox" {
          alias  = "two"
          region = "local-2"
        }
        data "sandbox_region" "here" { provider = sandbox.two }
        """
    )


def test_a_stack_with_more_configurations_than_processes_blames_nobody(stand: Stand) -> None:
    """One baseline in all regions must not end warm service for everybody else."""
    stand.limits = Limits(processes=1)
    two_configurations(stand)
    first = stand.check()
    assert (first.how, first.verdict) == (("plan", "warm_unavailable"), "in_sync")
    assert stand.house.quarantine.entries() == ()
    launched = stand.house.pool.stats().launched
    assert stand.check().how == ("plan", "warm_unavailable")
    assert stand.house.pool.stats().launched == launched, "it is not tried in vain each time"
    stand.now += timedelta(hours=2)
    stand.check()
    assert stand.house.pool.stats().reused + stand.house.pool.stats().launched > launched


def test_a_connection_that_the_machine_has_no_room_for_blames_nobody(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = gateway._Connection.__init__, []

    def second_fails(self: Any, *arguments: Any, **options: Any) -> None:
        made.append(self)
        if len(made) == 2:
            raise RuntimeError("can't start new thread")
        real(self, *arguments, **options)

    monkeypatch.setattr(gateway._Connection, "__init__", second_fails)
    assert stand.check().how == ("plan", "warm_unavailable")
    assert stand.house.quarantine.entries() == ()


def fail_once(stand: Stand, problem: Exception) -> None:
    """The next plan through a gateway fails with `problem`, as terraform would tell it."""
    planner = stand.examiner._planner
    real = planner.plan

    def plan(*arguments: Any, attach: Any = None, **options: Any) -> Any:
        planned = real(*arguments, attach=attach, **options)
        if attach is not None:
            planner.plan = real  # type: ignore[method-assign]
            raise problem
        return planned

    planner.plan = plan  # type: ignore[assignment,method-assign]


def test_one_failure_that_nobody_can_explain_is_not_yet_a_providers(stand: Stand) -> None:
    """A network says so through a provider, in words that no rule knows; twice in a day is another matter."""
    for struck in (False, True):
        fail_once(stand, PlanFailedError("something about a connection"))
        assert stand.check().how == ("plan", "warm_failed")
        assert bool(stand.house.quarantine.entries()) is struck


def test_a_network_that_fails_is_told_as_such(stand: Stand) -> None:
    fail_once(stand, CloudUnreachableError("dial tcp: connection refused"))
    with pytest.raises(CloudUnreachableError):
        stand.check()
    assert stand.house.quarantine.entries() == ()


def meddle_after_the_first_replay(stand: Stand, happen: Callable[[], None]) -> list[Answer]:
    asked: list[Answer] = []
    ask = stand.house.replay

    def replay(*arguments: Any, **options: Any) -> Any:
        outcome = ask(*arguments, **options)
        asked.append(outcome.answer)
        if len(asked) == 1:
            happen()
        return outcome

    stand.house.replay = replay  # type: ignore[method-assign]
    return asked


def test_an_apply_between_a_replay_and_its_shadow_is_no_disagreement(recorded: Stand) -> None:
    """The reads are the same as ever: what has moved is the state."""
    recorded.with_settings(shadow_every=1)
    text = recorded.state.read_text()
    asked = meddle_after_the_first_replay(
        recorded, lambda: recorded.edit_state(serial=json.loads(text)["serial"] + 1, outputs={})
    )
    seen = recorded.check()
    assert seen.how == ("plan", "shadow")
    assert seen.seen.disagreement is None
    assert asked == [Answer.SAME]
    assert recorded.house.quarantine.entries() == ()


def test_a_shadow_that_fails_leaves_the_replays_word(recorded: Stand) -> None:
    recorded.with_settings(shadow_every=1)
    planner = recorded.examiner._planner

    def fail(*_: Any, **__: Any) -> Any:
        raise PlanFailedError("the cloud is tired")

    planner.plan = fail  # type: ignore[method-assign]
    seen = recorded.check()
    assert (seen.how, seen.verdict) == (REPLAY, "in_sync")


def test_a_full_temporary_directory_costs_warmth_and_nothing_else(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = stand.house.pool
    monkeypatch.setattr(pool, "_homes", stand.root / "repository/stack/main.tf/no-directory")
    try:
        seen = stand.check()
    except DiskFullError:
        pytest.fail("a plan needs no home of ours")
    assert (seen.how, seen.verdict) == (("plan", "warm_unavailable"), "in_sync")
