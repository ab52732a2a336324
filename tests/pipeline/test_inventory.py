"""The inventory knows which stacks there are, and which ones a commit touches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from driftwatch.config.settings import Settings
from driftwatch.errors import MirrorDamagedError, RemoteUnreachableError, UnknownStackError
from driftwatch.git import Mirror, RootModule
from driftwatch.model import StackId
from driftwatch.pipeline.inventory import Inventory
from tests.git.conftest import Upstream
from tests.pipeline.conftest import DNS, FIRST, MORNING, SECOND, FakeLedger, FakeSource, Worlds, worlds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from driftwatch.pipeline.inventory import Subject

NETWORK = StackId(repository="platform", path="network")


def test_a_new_repository_touches_nothing_its_stacks_are_due_by_schedule(estate: Worlds) -> None:
    refreshed = estate.inventory.refresh("platform")
    assert (refreshed.commit, refreshed.touched, refreshed.error) == (FIRST, (), None)
    assert {item.id for item in estate.ledger.stacks} == {DNS, NETWORK}


def test_a_commit_touches_only_the_stacks_whose_files_it_changes(estate: Worlds) -> None:
    estate.inventory.refresh("platform")
    estate.source.remote_commit = SECOND
    assert estate.inventory.refresh("platform").touched == (DNS,)
    assert estate.inventory.subject(NETWORK).commit == SECOND


def test_a_restart_touches_only_what_came_meanwhile(estate: Worlds) -> None:
    """The fleet is not checked again because the daemon was restarted."""
    estate.inventory.refresh("platform")
    again = Inventory(
        estate.inventory._settings, {"platform": estate.source}, estate.ledger, clock=lambda: MORNING
    )
    assert again.refresh("platform").touched == ()
    third = Inventory(
        estate.inventory._settings, {"platform": estate.source}, estate.ledger, clock=lambda: MORNING
    )
    estate.source.remote_commit = SECOND
    assert third.refresh("platform").touched == (DNS,)


def test_an_unreachable_remote_leaves_the_last_good_commit_in_use(estate: Worlds) -> None:
    estate.inventory.refresh("platform")
    estate.source.failure = RemoteUnreachableError("no route")
    refreshed = estate.inventory.refresh("platform")
    assert refreshed.commit == FIRST
    assert refreshed.error is not None
    assert refreshed.error.code == "remote_unreachable"
    assert estate.inventory.subject(DNS).commit == FIRST
    commit, error = estate.ledger.fetches[-1]
    assert (commit, error) == (FIRST, refreshed.error)


def test_the_repository_may_say_who_owns_a_stack(estate: Worlds) -> None:
    estate.source.files[".driftwatch.yaml"] = b"stacks:\n  - path: dns\n    owners: ['@dns']\n"
    estate.inventory.refresh("platform")
    assert estate.inventory.subject(DNS).declaration.owners == ("@dns",)
    assert estate.inventory.subject(NETWORK).declaration.owners == ()


def test_what_the_repository_may_not_say_has_no_effect(estate: Worlds) -> None:
    estate.source.files[".driftwatch.yaml"] = b"stacks:\n  - path: dns\n    environment: {A: b}\n"
    refreshed = estate.inventory.refresh("platform")
    assert refreshed.error is None
    assert estate.inventory.subject(DNS).options.environment == {}


def test_each_workspace_is_a_stack(tmp_path: Path) -> None:
    estate = worlds(tmp_path, workspaces=["default", "blue"])
    estate.inventory.refresh("platform")
    assert replace(DNS, workspace="blue") in estate.inventory.schedules()
    assert len(estate.inventory.subjects()) == 4


def test_a_stack_that_is_gone_is_unknown(estate: Worlds) -> None:
    estate.inventory.refresh("platform")
    estate.source.trees[SECOND] = {"network": "a"}
    estate.source.remote_commit = SECOND
    estate.inventory.refresh("platform")
    with pytest.raises(UnknownStackError):
        estate.inventory.subject(DNS)


def test_var_files_belong_to_what_a_stack_reads(tmp_path: Path) -> None:
    estate = worlds(tmp_path, var_files=["../common.tfvars", "../../outside.tfvars"])
    estate.inventory.refresh("platform")
    assert estate.inventory.subject(DNS).reads[:2] == ("dns", "common.tfvars")


def test_versions_that_are_pinned_above_a_stack_belong_to_it(tmp_path: Path) -> None:
    """A commit that pins another engine at the top changes what every stack is planned with."""
    estate = worlds(tmp_path)
    estate.inventory.refresh("platform")
    assert set(estate.inventory.subject(DNS).reads) == {
        "dns",
        ".opentofu-version",
        ".terraform-version",
        ".tool-versions",
    }


def changed(inventory: Inventory, there: Mapping[StackId, Subject]) -> list[str]:
    """The stacks that another commit brings, or has otherwise than they are."""
    before = {each.stack: (each.tree, each.options) for each in inventory.subjects()}
    return [stack.path for stack, now in there.items() if before.get(stack) != (now.tree, now.options)]


def gone(inventory: Inventory, there: Mapping[StackId, Subject]) -> list[str]:
    return [each.stack.path for each in inventory.subjects() if each.stack not in there]


def test_a_commit_that_is_not_the_head_has_its_stacks_looked_at_without_being_kept(estate: Worlds) -> None:
    estate.inventory.refresh("platform")
    estate.source.trees["3" * 40] = {"network": "b", "new": "a"}
    there = estate.inventory.at("platform", "3" * 40)
    assert changed(estate.inventory, there) == ["network", "new"]
    assert {each.commit for each in there.values()} == {"3" * 40}
    assert gone(estate.inventory, there) == ["dns"]
    assert {each.stack for each in estate.inventory.subjects()} == {DNS, NETWORK}
    assert changed(estate.inventory, estate.inventory.at("platform", FIRST)) == []


def test_a_proposed_commit_has_no_say_in_its_own_labels(
    estate: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows and rules go by labels: they are those of the branch until it is merged."""

    def read(commit: str, _path: str) -> bytes:
        label = {FIRST: "merged", "3" * 40: "proposed"}[commit]
        return f"stacks: [{{path: dns, labels: {{tier: {label}}}}}]".encode()

    monkeypatch.setattr(estate.source, "read", read)
    estate.inventory.refresh("platform")
    estate.source.trees["3" * 40] = estate.source.trees[FIRST]
    there = estate.inventory.at("platform", "3" * 40)
    assert there[DNS].options.labels == {"tier": "merged"}
    assert changed(estate.inventory, there) == []


LIVE = 'terraform {\n  backend "local" {}\n}\n'
USES = LIVE + 'module "net" {\n  source = "../modules/net"\n}\n'


@dataclass
class Real:
    """An inventory of a real repository, and the working copy whose commits it follows."""

    upstream: Upstream
    inventory: Inventory
    register: FakeLedger

    def touched(self) -> list[str]:
        """What the commit of all that lies in the working copy touches."""
        self.upstream.commit()
        refreshed = self.inventory.refresh("platform")
        assert refreshed.error is None
        return [each.path for each in refreshed.touched]


@pytest.fixture
def real(tmp_path: Path) -> Real:
    """Stacks `a` and `b` use a module, `c` uses nothing."""
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(
        {
            "a/main.tf": USES,
            "b/main.tf": USES,
            "c/main.tf": LIVE,
            "modules/net/main.tf": 'module "sub" {\n  source = "../sub"\n}\n',
            "modules/sub/main.tf": 'variable "x" {\n  default = 1\n}\n',
        }
    )
    entry = {"path": "*", "var_files": ["../common.tfvars", "own.tfvars"]}
    settings = Settings.model_validate(
        {"repositories": {"platform": {"url": upstream.url, "stacks": [entry]}}}
    )
    mirror = Mirror("platform", settings.repositories["platform"], tmp_path / "mirror", clock=lambda: MORNING)
    register = FakeLedger()
    inventory = Inventory(settings, {"platform": mirror}, register, clock=lambda: MORNING)
    assert inventory.refresh("platform").touched == ()
    return Real(upstream, inventory, register)


def test_all_that_a_stack_reads_touches_it_and_nothing_else_does(real: Real) -> None:
    """Adding and removing counts as much as changing, wherever the file lies."""
    tree = real.upstream.path
    steps: list[tuple[dict[str, str | bytes], list[str], list[str]]] = [
        ({"README.md": "x", "docs/a.md": "x"}, [], []),
        ({"modules/sub/main.tf": "# changed\n"}, [], ["a", "b"]),
        ({"common.tfvars": "x = 1\n"}, [], ["a", "b", "c"]),
        ({"a/own.tfvars": "x = 1\n"}, [], ["a"]),
        ({}, ["a/own.tfvars"], ["a"]),
        ({"b/templates/deep/user_data.tpl": "x"}, [], ["b"]),
        ({".terraform-version": "1.11.4\n"}, [], ["a", "b", "c"]),
        ({".driftwatch.yaml": "stacks: [{path: c, owners: ['@c']}]\n"}, [], ["c"]),
        ({".driftwatch.yaml": "# said otherwise\nstacks: [{path: c, owners: ['@c']}]\n"}, [], []),
        ({}, ["common.tfvars", ".terraform-version"], ["a", "b", "c"]),
        ({"a/main.tf": "this is { no HCL\n" + USES}, [], ["a"]),
        ({"modules/sub/main.tf": "# again\n"}, [], ["a", "b"]),
    ]
    for written, removed, expected in steps:
        real.upstream.write(written)
        for name in removed:
            (tree / name).unlink()
        assert real.touched() == expected, (written, removed)


def test_links_are_followed_to_what_a_stack_reads(real: Real) -> None:
    tree = real.upstream.path
    (tree / "modules/net").rename(tree / "modules/v2")
    (tree / "modules/net").symlink_to("v2")
    assert real.touched() == ["a", "b"], "a module became a link"
    real.upstream.write({"modules/v2/more.tf": "# more\n", "elsewhere/common.tf": "# common\n"})
    (tree / "c/common.tf").symlink_to("../elsewhere/common.tf")
    assert real.touched() == ["a", "b", "c"], "what the link leads to, and a file that is linked in"
    real.upstream.write({"elsewhere/common.tf": "# changed\n"})
    assert real.touched() == ["c"]
    real.upstream.write({"elsewhere/unused.tf": "# nobody's\n"})
    assert real.touched() == []


def test_a_renamed_directory_is_a_new_stack_and_one_that_is_gone(real: Real) -> None:
    (real.upstream.path / "a").rename(real.upstream.path / "z")
    assert real.touched() == ["z"]
    assert {each.id.path for each in real.register.stacks} == {"b", "c", "z"}


def test_a_commit_beside_the_branch_is_compared_with_its_head(real: Real) -> None:
    """As a pull request's merge result is: rename, change and removal, and nothing of it is kept."""
    head = real.upstream.head()
    (real.upstream.path / "a").rename(real.upstream.path / "z")
    real.upstream.write({".driftwatch.yaml": "stacks: [{path: '**', labels: {tier: own}}]\n"})
    proposed = real.upstream.commit({"c/main.tf": LIVE + "# changed\n"})
    real.inventory._sources["platform"].fetch()
    real.upstream.git("reset", "--quiet", "--hard", head)
    assert real.touched() == []
    there = real.inventory.at("platform", proposed)
    assert changed(real.inventory, there) == ["c", "z"]
    assert [there[StackId(repository="platform", path=path)].options.labels for path in ("c", "z")] == [
        {},
        {},
    ]
    assert gone(real.inventory, there) == ["a"]
    assert [each.path for each in real.inventory.schedules()] == ["a", "b", "c"]


def estate_of(
    *entries: Mapping[str, object], also: str | None = None
) -> tuple[Inventory, FakeSource, FakeLedger]:
    """An inventory of the stacks `dns` and `network`, with these entries of the configuration."""
    repositories: dict[str, object] = {
        "platform": {"url": "https://git.example.com/x.git", "stacks": list(entries)}
    }
    if also is not None:
        repositories[also] = {"url": "https://git.example.com/y.git"}
    source, ledger = FakeSource(trees={FIRST: {"dns": "a", "network": "a"}}), FakeLedger()
    settings = Settings.model_validate({"repositories": repositories})
    away = FakeSource(failure=RemoteUnreachableError("no route"))
    inventory = Inventory(settings, {"platform": source, "apps": away}, ledger, clock=lambda: MORNING)
    return inventory, source, ledger


def test_a_cycle_that_only_the_code_shows_is_the_repositorys_error_and_the_stacks_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is named, the commit is used all the same, and nothing waits for itself."""
    inventory, source, ledger = estate_of({"path": "**", "depends_on": ["platform/*"]})
    each_its_own(source, monkeypatch)
    refreshed = inventory.refresh("platform")
    assert refreshed.error is not None
    assert refreshed.error.code == "dependency_cycle"
    assert refreshed.error.message.endswith("platform/dns → platform/network → platform/dns")
    assert ledger.fetches == [(FIRST, refreshed.error)]
    assert inventory.subject(DNS).commit == FIRST
    assert inventory.graph().upstream == {DNS: (), NETWORK: ()}
    assert inventory.refresh("platform").error == refreshed.error, "it is not over by being looked at again"


def test_what_comes_before_what_is_known_before_any_repository_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of the last good commit; nothing else goes by it, and a repository never read is known as such."""
    entries = ({"path": "dns", "depends_on": ["platform/network", "apps/web"]}, {"path": "**"})
    inventory, source, ledger = estate_of(*entries, also="apps")
    each_its_own(source, monkeypatch)
    assert inventory.graph().upstream == {}
    source.head_commit = FIRST
    inventory.remember()
    graph = inventory.graph()
    assert (graph.upstream[DNS], graph.unread) == ((NETWORK,), {DNS: "apps"})
    assert (inventory.subjects(), dict(inventory.schedules()), ledger.fetches) == ((), {}, [])
    with pytest.raises(UnknownStackError):
        inventory.subject(DNS)
    assert inventory.refresh("platform").touched == ()
    assert [each.id for each in ledger.stacks] == [DNS, NETWORK], "they are declared as on any start"
    away = cast("FakeSource", inventory._sources["apps"])
    away.head_commit, away.trees = FIRST, {FIRST: {}}
    inventory.remember()
    assert inventory.graph().unread == {}


def test_what_cannot_be_remembered_is_as_good_as_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory, source, _ = estate_of({"path": "**", "depends_on": ["platform/dns"]})
    source.head_commit = FIRST

    def broken(*_: object) -> None:
        raise MirrorDamagedError("it is broken")

    monkeypatch.setattr(source, "read", broken)
    with capture_logs() as said:
        inventory.remember()
    assert [entry["error"] for entry in said] == ["mirror_damaged"]
    assert inventory.graph().upstream == {}
    monkeypatch.undo()
    inventory.refresh("platform")
    assert inventory.graph().upstream[NETWORK] == (DNS,)


def each_its_own(source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every stack match the first glob that names it, as the real thing does."""

    def discover(commit: str, globs: Sequence[str]) -> tuple[RootModule, ...]:
        return tuple(
            RootModule(path=path, glob=next(glob for glob in globs if glob in (path, "**")), reads=(path,))
            for path in source.trees[commit]
        )

    monkeypatch.setattr(source, "discover", discover)


def test_a_dependency_on_nothing_is_warned_about_once_all_repositories_were_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = ({"path": "dns", "depends_on": ["platform/netwrok"]}, {"path": "**"})
    inventory, source, _ = estate_of(*entries, also="apps")
    each_its_own(source, monkeypatch)
    with capture_logs() as said:
        inventory.refresh("platform")
    assert said == [], "it may be in the one that was not read yet"
    inventory, source, _ = estate_of(*entries)
    each_its_own(source, monkeypatch)
    with capture_logs() as said:
        assert [inventory.refresh("platform").error for _ in range(2)] == [None, None]
    assert [each["event"] for each in said] == [
        "platform/dns depends on platform/netwrok, and there is no such stack."
    ]


def test_a_stack_that_is_gone_may_still_come_before_another(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory, source, _ = estate_of({"path": "dns", "depends_on": ["platform/old"]}, {"path": "**"})
    each_its_own(source, monkeypatch)
    inventory.refresh("platform")
    gone = StackId(repository="platform", path="old")
    assert inventory.graph().upstream[DNS] == ()
    assert inventory.graph([gone]).upstream[DNS] == (gone,)


def test_whose_state_a_stack_reads_comes_before_it_over_repositories(tmp_path: Path) -> None:
    """By the literal configuration on both sides, and by what `backend_config` adds to it."""
    network, apps = Upstream(tmp_path / "network"), Upstream(tmp_path / "apps")
    network.commit(
        {
            "vpc/main.tf": 'terraform {\n  backend "s3" {\n    key = "vpc.tfstate"\n  }\n}\n',
            "dns/main.tf": LIVE,
        }
    )
    reading = (
        'data "terraform_remote_state" "vpc" {\n  backend = "s3"\n'
        '  config = {\n    bucket = "states"\n    key = "vpc.tfstate"\n    region = var.region\n  }\n}\n'
    )
    computed = 'data "terraform_remote_state" "x" {\n  backend = "s3"\n  config = var.config\n}\n'
    apps.commit(
        {
            "web/main.tf": LIVE + 'module "base" {\n  source = "../modules/base"\n}\n',
            "modules/base/main.tf": reading,
            "job/main.tf": LIVE + computed,
        }
    )
    given = [{"path": "*", "backend_config": {"bucket": "states"}}]
    settings = Settings.model_validate(
        {"repositories": {"network": {"url": network.url, "stacks": given}, "apps": {"url": apps.url}}}
    )
    mirrors = {
        name: Mirror(name, each, tmp_path / "mirrors" / name, clock=lambda: MORNING)
        for name, each in settings.repositories.items()
    }
    inventory = Inventory(settings, mirrors, QuietRegister(), clock=lambda: MORNING)
    assert [inventory.refresh(name).error for name in mirrors] == [None, None]
    graph = inventory.graph()
    assert [(str(edge.upstream), str(edge.downstream), edge.sentence) for edge in graph.edges] == [
        ("network/vpc", "apps/web", "data.terraform_remote_state.vpc reads its state")
    ]
    vpc = inventory.subject(StackId(repository="network", path="vpc"))
    assert vpc.state is not None
    assert vpc.state.words == "s3: key vpc.tfstate"


class QuietRegister:
    """A register of any number of repositories, in which nobody looks."""

    def record_fetch(self, repository: str, **_: object) -> None:
        """Nobody asks for it."""

    def sync_stacks(self, repository: str, declared: object, at: object, **_: object) -> None:
        """Nobody asks for them."""


def test_of_a_stack_that_is_gone_people_read_that_its_resources_are_not_and_in_whose_state(
    real: Real,
) -> None:
    (real.upstream.path / "a/main.tf").unlink()
    assert real.touched() == []
    commit = real.upstream.head()[:10]
    assert {stack.path: said for stack, said in real.register.gone.items()} == {
        "a": f"It is no stack in the code any more since commit {commit}. Nothing was destroyed: what it "
        "made is still there, and in its state (local: path platform/a/terraform.tfstate), and nobody "
        "watches it. Bring the code back to go on with it, or to destroy it."
    }
    real.upstream.write({"new/main.tf": LIVE})
    real.touched()
    assert real.register.gone == {}, "it is told once"


def test_a_stack_that_was_renamed_with_its_state_is_told_as_that(real: Real) -> None:
    s3 = 'terraform {\n  backend "s3" {\n    bucket = "states"\n    key = "c"\n  }\n}\n'
    real.upstream.write({"c/main.tf": s3})
    assert real.touched() == ["c"]
    (real.upstream.path / "c").rename(real.upstream.path / "d")
    assert real.touched() == ["d"]
    (said,) = real.register.gone.values()
    assert said.endswith(
        "platform/d has its state now (s3: bucket states, key c): what it made goes on as that stack's."
    )
