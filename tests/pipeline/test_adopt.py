"""Adoptions with real Git, terraform and the sandbox's cloud: what becomes of the code, proved by plans."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydantic import SecretStr

from driftwatch.config.gitops import ForgeSettings
from driftwatch.config.repair import RepairSettings
from driftwatch.config.rule_files import shipped
from driftwatch.config.settings import Settings
from driftwatch.drift import Accept, Digester, Press
from driftwatch.drift.rules import Rules
from driftwatch.errors import ForgeRefusedError, ForgeUnavailableError, UnsafeRepositoryError
from driftwatch.forge.pulls import forge_of
from driftwatch.git import Mirror
from driftwatch.model import (
    DRIFTWATCH,
    UNKNOWN_VALUE,
    Adopted,
    AdoptionWish,
    AttributeChange,
    Cause,
    Finding,
    FindingKind,
    FindingStatus,
    Severity,
    StackId,
    StoredFinding,
    Suspension,
    Trigger,
    Verdict,
)
from driftwatch.pipeline.adopt import Adopter, Host, Outcome, Unit, _mark, _unit_of
from driftwatch.pipeline.check import Workshop, check
from driftwatch.pipeline.inventory import Inventory
from driftwatch.pipeline.method import Examiner
from driftwatch.sandbox import colleague
from driftwatch.sandbox.cloud import Cloud, Kind
from driftwatch.sandbox.mirror import lock_file
from driftwatch.store import Store
from driftwatch.terraform import Planner
from tests.forge.played import TOKEN
from tests.forge.played import PlayedForge as PlayedHost
from tests.pipeline import adopt_corpus as corpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from driftwatch.git.drafting import Edits
    from driftwatch.terraform import Planned, PlanRequest

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
STACK = StackId(repository="platform", path=corpus.STACK)
OPTIONS = {
    "path": corpus.STACK,
    "var_files": ["vars/extra.tfvars"],
    "variables": {"configured": False},
    "environment": {"TF_VAR_by_environment": "false"},
}


@dataclass
class PlayedForge:
    """What a forge is asked to do here; the adapters have tests of their own."""

    offered: list[dict[str, str]] = field(default_factory=list)
    reported: list[dict[str, str]] = field(default_factory=list)
    failure: Exception | None = None

    def offer(self, **asked: str) -> str:
        if self.failure:
            raise self.failure
        self.offered.append(asked)
        return f"https://forge.example/pulls/{len({each['branch'] for each in self.offered})}"

    def report(self, **asked: str) -> str:
        self.reported.append(asked)
        return "https://forge.example/issues/1"


class Remembering:
    """A planner that plans each commit once, as long as the cloud stays as it is."""

    def __init__(self, planner: Planner, cloud: Cloud) -> None:
        self._planner = planner
        self._cloud = cloud
        self._known: dict[object, Planned] = {}

    def plan(self, request: PlanRequest, stop: threading.Event) -> Planned:
        files = sorted(path for path in self._cloud.directory.rglob("*") if path.is_file())
        asked = (request.module, request.generates, *((path, path.read_bytes()) for path in files))
        if asked not in self._known:
            self._known[asked] = self._planner.plan(request, stop)
        return self._known[asked]


@dataclass
class Site:
    """A repository with one stack, its bare remote, a cloud, and what adopts."""

    directory: Path
    binary: Path
    cli_config: Path
    settings: Settings
    cloud: Cloud
    store: Store
    mirror: Mirror
    adopter: Adopter
    forge: PlayedForge

    @property
    def remote(self) -> Path:
        return self.directory / "remote.git"

    def git(self, *arguments: str) -> bytes:
        return subprocess.run(
            ["git", *arguments], cwd=self.remote, check=True, capture_output=True, env={"PATH": PATH}
        ).stdout

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").decode().split()

    def changed(self, branch: str) -> dict[str, bytes]:
        """The files that a branch has otherwise than `main`."""
        names = self.git("diff", "--name-only", "-z", "main", branch).decode().split("\0")
        return {name: self.git("show", f"{branch}:{name}") for name in names if name}

    def check(self) -> Verdict:
        return check(STACK, Trigger.MANUAL, self.adopter.workshop, threading.Event()).verdict

    def findings(self) -> dict[str, StoredFinding]:
        return {each.finding.address: each for each in self.store.findings_of(STACK)}

    def adopt(self, *addresses: str, **more: Any) -> Adopted:
        known = self.findings()
        wish = AdoptionWish(
            stack=STACK,
            by="anna",
            findings=tuple(known[address].finding.fingerprint for address in addresses),
            **more,
        )
        number = self.store.ask_adoption(wish, NOW)
        self.adopter.carry_out(number, wish, threading.Event())
        answer = self.store.adopted(number)
        assert answer is not None
        return answer


PATH = os.environ["PATH"]


@dataclass
class Builder:
    """Makes sites; most of the time goes into the first `apply`."""

    directory: Path
    binary: Path
    cli_config: Path
    provider: Path
    opened: list[Site] = field(default_factory=list)

    def build(self, files: Mapping[str, bytes], **options: Any) -> Site:
        cloud = Cloud(self.directory / "cloud")
        places = {"@CLOUD@": str(cloud.directory), "@STATE@": str(self.directory / "state" / "it.tfstate")}
        main = corpus.MAIN
        for place, path in places.items():
            main = main.replace(place, path)
        own = {
            f"{corpus.STACK}/main.tf": main.encode(),
            f"{corpus.STACK}/.terraform.lock.hcl": lock_file().encode(),
        }
        work = self.directory / "repository"
        for name, content in {**own, **files}.items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        run(work, "init", "-q", "-b", "main")
        run(work, "add", "-A")
        run(work, "commit", "-q", "-m", "Lay it out")
        run(work, "clone", "-q", "--bare", ".", str(self.directory / "remote.git"))
        return self._site(cloud, {**OPTIONS, **options})

    def _site(self, cloud: Cloud, options: Mapping[str, Any]) -> Site:
        settings = Settings.model_validate(
            {
                "repositories": {
                    "platform": {"url": str(self.directory / "remote.git"), "stacks": [dict(options)]}
                },
                "terraform": {"binary": str(self.binary), "provider_mirrors": [str(self.provider)]},
            }
        )
        state = self.directory / "driftwatch"
        state.mkdir(mode=0o700)
        store = Store.open(state_dir=state, database=None)
        repository = settings.repositories["platform"]
        mirror = Mirror("platform", repository, self.directory / "mirror", clock=lambda: NOW)
        inventory = Inventory(settings, {"platform": mirror}, store, clock=lambda: NOW)
        assert inventory.refresh("platform").error is None
        planner = Planner(
            settings.terraform,
            cache=self.directory / "cache",
            runs=self.directory / "runs",
            environment={"PATH": PATH},
        )
        digester = Digester(b"k" * 32)
        workshop = Workshop(
            inventory=inventory,
            checkouts={"platform": mirror},
            examiner=Examiner(planner, None, settings.warm, digest=digester, clock=lambda: NOW),
            identities=_Anybody(),
            ledger=store,
            spool=_Nowhere(),
            rules=Rules.compile(settings.rules, shipped()),
            work=self.directory / "work",
            inherited={},
            channels=[],
            clock=lambda: NOW,
        )
        forge = PlayedForge()
        adopter = Adopter(
            workshop=workshop,
            book=store,
            planner=cast("Any", Remembering(planner, cloud)),
            digester=digester,
            settings=RepairSettings(),
            hosts={"platform": Host(drafts=mirror, branch="main", offers=forge)},
            work=self.directory / "adopting",
            clock=lambda: NOW,
        )
        site = Site(
            self.directory, self.binary, self.cli_config, settings, cloud, store, mirror, adopter, forge
        )
        self.opened.append(site)
        return site

    def apply(self) -> None:
        colleague.apply(
            self.binary,
            self.directory / "repository" / corpus.STACK,
            cli_config=self.cli_config,
            scratch=self.directory / "scratch",
            environment={"TF_CLI_ARGS_apply": "-var-file=vars/extra.tfvars"}
            if (self.directory / "repository" / corpus.STACK / "vars").exists()
            else {},
        )

    def close(self) -> None:
        for site in self.opened:
            site.store.close()
            site.mirror.close()


def run(directory: Path, *arguments: str) -> None:
    """git, as nobody in particular."""
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
        cwd=directory,
        check=True,
        capture_output=True,
        env={"PATH": PATH, "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"},
    )


class _Anybody:
    def expect(self, environment: Mapping[str, str], account: str) -> None:
        raise AssertionError(f"nobody is expected: {account}, {len(environment)}")


class _Nowhere:
    def save(self, *_: object, **__: object) -> None:
        raise AssertionError("the store is there")


@pytest.fixture(scope="module")
def adopted_corpus(
    tmp_path_factory: pytest.TempPathFactory,
    terraform_binary: Path,
    sandbox_cli_config: Path,
    sandbox_mirror: Path,
) -> Iterator[tuple[Site, Adopted]]:
    """All snippets in one root module, all of them changed by hand, and adopted at once."""
    directory = tmp_path_factory.mktemp("corpus")
    builder = Builder(directory, terraform_binary, sandbox_cli_config, sandbox_mirror)
    everything = (*corpus.EDITED, *corpus.REFUSED)
    site = builder.build(corpus.sources(everything))
    builder.apply()
    for snippet in everything:
        snippet.drift(site.cloud)
    assert site.check() is Verdict.DRIFTED
    addresses = [snippet.finding for snippet in everything]
    assert set(addresses) == {each for each in site.findings() if not each.startswith("output.")}
    yield site, site.adopt(*addresses)
    builder.close()


def test_the_corpus_is_large_enough() -> None:
    assert len(corpus.EDITED) >= 40
    assert len(corpus.REFUSED) >= 15


def test_every_edit_is_just_what_it_has_to_be_and_all_else_stays_byte_for_byte(
    adopted_corpus: tuple[Site, Adopted],
) -> None:
    """The branch is there only because a plan of it shows none of these differences any more."""
    site, adopted = adopted_corpus
    assert adopted.error is None
    assert adopted.branch is not None
    assert {each.address for each in adopted.refused} == {each.finding for each in corpus.REFUSED}
    files = corpus.sources((*corpus.EDITED, *corpus.REFUSED))
    assert site.changed(adopted.branch) == corpus.wanted(corpus.EDITED, files)
    assert len(adopted.edits) >= len(corpus.EDITED)


@pytest.mark.parametrize("snippet", corpus.REFUSED, ids=lambda each: each.name)
def test_every_refusal_says_why_and_where(
    adopted_corpus: tuple[Site, Adopted], snippet: corpus.Snippet
) -> None:
    _, adopted = adopted_corpus
    refused = next(each for each in adopted.refused if each.address == snippet.finding)
    assert refused.reason == snippet.refused
    assert refused.sentence
    if snippet.at:
        file, _, line = refused.place.rpartition(":")
        assert snippet.at in snippet.sources()[file].decode().splitlines()[int(line) - 1]
        assert refused.wanted or snippet.change is None


def test_what_was_refused_is_told_in_an_issue_with_the_value_and_no_secret(
    adopted_corpus: tuple[Site, Adopted],
) -> None:
    site, adopted = adopted_corpus
    assert adopted.url == "https://forge.example/pulls/1"
    assert adopted.issue == "https://forge.example/issues/1"
    body = site.forge.reported[-1]["body"]
    assert body.startswith(site.forge.reported[-1]["mark"])
    assert (
        "`sandbox_firewall.local` `/description` (`adopt/local.tf:4`): it is taken from local.owner. " in body
    )
    assert 'The cloud has `"us"`.' in body
    everything = repr((site.forge.offered, site.forge.reported, adopted))
    assert "canary" not in everything
    assert "changed-by-hand" not in everything
    assert "hmac" not in everything


def test_what_was_formatted_before_is_formatted_after(
    adopted_corpus: tuple[Site, Adopted], tmp_path: Path
) -> None:
    """What is added is aligned as `terraform fmt` does it.

    Not where the longest name is removed: the others would move, and they stay byte for byte.
    """
    site, adopted = adopted_corpus
    assert adopted.branch is not None
    left = {}
    for branch in ("main", adopted.branch):
        place = tmp_path / branch.replace("/", "-")
        place.mkdir()
        archive = site.git("archive", branch)
        subprocess.run(["tar", "-x"], cwd=place, input=archive, check=True)
        done = subprocess.run(
            [site.binary, "fmt", "-check", "-recursive"],
            cwd=place,
            capture_output=True,
            check=False,
            text=True,
        )
        left[branch] = set(done.stdout.splitlines())
    assert len({each.place for each in corpus.EDITED} - left["main"]) > len(corpus.EDITED) / 3
    assert left[adopted.branch] - left["main"] == {"adopt/tag_removed.tf"}


# ---- what a finding asks for ---------------------------------------------------------------------------


def finding_of(*attributes: AttributeChange, fingerprint: str = "f") -> Finding:
    return Finding(
        address="t.r",
        type="t",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.OUT_OF_BAND,),
        severity=Severity.HIGH,
        fingerprint=fingerprint,
        counted=True,
        attributes=attributes,
    )


def asked(*attributes: AttributeChange) -> tuple[Unit | None, Outcome]:
    """What a finding with these differences asks for, and what was refused of it."""
    finding = finding_of(*attributes)
    stored = StoredFinding(
        id=1, stack=STACK, status=FindingStatus.OPEN, first_seen=NOW, last_seen=NOW, finding=finding
    )
    outcome = Outcome()
    return _unit_of(stored, finding, outcome), outcome


def differs(path: str, actual: Any, after: Any) -> AttributeChange:
    return AttributeChange(
        path=path, before=after, actual=actual, after=after, sensitive=False, cause=Cause.OUT_OF_BAND
    )


@pytest.mark.parametrize(
    "change",
    [
        differs("/environment/DB_PASSWORD", "hunter2", "hunter1"),
        differs("/environment", {"apiKey": "hunter2"}, {}),
        differs("/user_data", "export DB_PASSWORD=hunter2", ""),
        differs("/certificate", "-----BEGIN PRIVATE KEY-----\nMIIE", ""),
        differs("/value", "none", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY99"),
        differs("/value", "none", "token = hunter2"),
    ],
)
def test_what_looks_like_a_secret_is_neither_written_nor_shown(change: AttributeChange) -> None:
    """Neither what the cloud has, nor what the code says now: a sentence would have both."""
    unit, outcome = asked(change, differs("/size", 2, 1))
    assert unit is None
    (refused,) = outcome.refused
    assert (refused.reason, refused.path, refused.wanted) == ("sensitive", change.path, "")
    assert "hunter" not in repr(outcome)


def test_what_only_an_apply_will_tell_is_left_and_named() -> None:
    unit, outcome = asked(
        differs("/size", 2, 1),
        differs("/etag", "x", UNKNOWN_VALUE),
        differs("/tags", {"a": "1"}, {"a": UNKNOWN_VALUE}),
    )
    assert unit is not None
    assert (unit.paths, unit.left) == (frozenset({"/size"}), ("/etag", "/tags"))
    assert outcome.refused == []
    assert asked(differs("/etag", "x", UNKNOWN_VALUE))[1].refused[0].reason == "not_by_hand"


def test_a_finding_is_known_again_by_what_differs_and_to_what() -> None:
    """Not by its fingerprint, which has more in it; nor by the order of what differs."""
    digester, size, name = Digester(b"k" * 32), differs("/size", 2, 1), differs("/name", "b", "a")
    known = {
        _mark(finding, digester)
        for finding in (
            finding_of(size, name),
            finding_of(name, size),
            finding_of(size, name, fingerprint="g"),
        )
    }
    assert len(known) == 1
    assert _mark(finding_of(differs("/size", 3, 1), name), digester) not in known
    assert _mark(finding_of(differs("/size", 2, 0), name), digester) not in known


# ---- beside the corpus ---------------------------------------------------------------------------------


def buckets(*names: str) -> tuple[corpus.Snippet, ...]:
    return tuple(corpus.bucket(name, "  versioning = false\n", {"versioning": True}) for name in names)


BUCKETS = buckets("one", "two", "three")
SHARED = buckets("beside", "first", "second", "moving", "put_back", "told", "waits", "kept", "crlf")
DEPENDENT = corpus.bucket("source", '  tags = { size = "30" }\n', {"tags": {"size": "31"}})
READER = corpus.firewall("reader", '  description = sandbox_bucket.source.tags["size"]\n', None)


@pytest.fixture
def builder(
    tmp_path: Path, terraform_binary: Path, sandbox_cli_config: Path, sandbox_mirror: Path
) -> Iterator[Builder]:
    made = Builder(tmp_path, terraform_binary, sandbox_cli_config, sandbox_mirror)
    yield made
    made.close()


def drifted(builder: Builder, *snippets: corpus.Snippet, **options: Any) -> Site:
    """A site of these, applied, drifted and checked."""
    site = builder.build(corpus.sources(snippets), **{"var_files": [], "variables": {}, **options})
    builder.apply()
    for snippet in snippets:
        if snippet is not READER:
            snippet.drift(site.cloud)
    assert site.check() is Verdict.DRIFTED
    return site


@pytest.fixture(scope="module")
def shared_site(
    tmp_path_factory: pytest.TempPathFactory,
    terraform_binary: Path,
    sandbox_cli_config: Path,
    sandbox_mirror: Path,
) -> Iterator[Site]:
    """One for tests that each drift what is theirs."""
    made = Builder(tmp_path_factory.mktemp("shared"), terraform_binary, sandbox_cli_config, sandbox_mirror)
    attributes = {".gitattributes": b"adopt/crlf.tf text eol=crlf\n"}
    files = {**corpus.sources((*SHARED, DEPENDENT, READER)), **attributes}
    site = made.build(files, var_files=[], variables={})
    made.apply()
    yield site
    made.close()


def drift(site: Site, *names: str) -> list[str]:
    """Somebody changes these, and they are checked; returns their addresses."""
    found = [each for each in (*SHARED, DEPENDENT) if each.name in names]
    for each in found:
        each.drift(site.cloud)
    assert site.check() is Verdict.DRIFTED
    return [each.finding for each in found]


def test_an_edit_that_would_change_another_resource_is_left_out_and_the_others_are_offered(
    shared_site: Site,
) -> None:
    site = shared_site
    adopted = site.adopt(*drift(site, "beside", "source"))
    assert [(each.address, each.reason) for each in adopted.refused] == [
        ("sandbox_bucket.source", "not_proved")
    ]
    assert "sandbox_firewall.reader would be touched then (update)" in adopted.refused[0].sentence
    assert adopted.branch is not None
    assert set(site.changed(adopted.branch)) == {"adopt/beside.tf"}


@pytest.mark.slow
def test_the_same_edits_come_to_the_same_branch_and_no_other_is_touched(shared_site: Site) -> None:
    """Where somebody has taken the name for something else, a number is added to it."""
    site = shared_site
    one, two = drift(site, "first", "second")
    before = site.branches()
    first = site.adopt(one, two)
    again = site.adopt(two, one)
    assert first.branch is not None
    assert (again.branch, again.url) == (first.branch, first.url)
    assert site.branches() == sorted([*before, first.branch])
    site.git("update-ref", f"refs/heads/{first.branch}", "main")
    third = site.adopt(one, two)
    assert third.branch == f"{first.branch}-2"
    assert site.git("rev-parse", first.branch) == site.git("rev-parse", "main")


@pytest.mark.slow
def test_a_difference_that_is_another_by_now_is_not_adopted(shared_site: Site) -> None:
    site = shared_site
    before = site.branches()
    moving, put_back = drift(site, "moving", "put_back")
    known = tuple(site.findings()[each].finding.fingerprint for each in (moving, put_back))
    site.cloud.update(Kind.BUCKET, "moving", {"tags": {"new": "1"}})
    site.cloud.update(Kind.BUCKET, "put_back", {"versioning": False})
    changed = site.adopt(moving, put_back)
    assert {(each.address, each.reason) for each in changed.refused} == {
        (moving, "changed"),
        (put_back, "changed"),
    }
    assert changed.branch is None
    site.check()
    wish = AdoptionWish(stack=STACK, by="anna", findings=known)
    assert {each.reason for each in site.adopter.adopt(wish, threading.Event()).refused} == {"gone"}
    assert site.branches() == before


def test_what_was_made_by_hand_is_imported_with_generated_code_but_no_secret(shared_site: Site) -> None:
    site = shared_site
    site.cloud.create(Kind.BUCKET, {"name": "by-hand", "versioning": True, "tags": {"who": "ada"}})
    site.cloud.create(
        Kind.DATABASE, {"name": "secret", "engine": "postgres", "version": "16", "password": "canary-4d2f"}
    )
    adopted = site.adopt(
        imports={
            "sandbox_bucket.by_hand": "by-hand",
            "sandbox_database.secret": "secret",
            "sandbox_bucket.nowhere": "not-there",
            "module.x.sandbox_bucket.deep": "by-hand",
        }
    )
    assert {each.address: each.reason for each in adopted.refused}.keys() == {
        "sandbox_database.secret",
        "sandbox_bucket.nowhere",
        "module.x.sandbox_bucket.deep",
    }
    assert adopted.branch is not None
    files = site.changed(adopted.branch)
    assert list(files) == ["adopt/imported.tf"]
    text = files["adopt/imported.tf"].decode()
    assert text.startswith(
        'import {\n  to = sandbox_bucket.by_hand\n  id = "by-hand"\n}\n\nresource "sandbox_bucket"'
    )
    assert 'who = "ada"' in text
    assert "canary-4d2f" not in repr((text, adopted, site.forge))


def test_line_ends_that_a_checkout_has_do_not_come_into_the_repository(shared_site: Site) -> None:
    """A repository may ask for others on disk than it has; one line is edited, and one line differs."""
    site = shared_site
    adopted = site.adopt(*drift(site, "crlf"))
    assert adopted.branch is not None
    before = site.git("show", "main:adopt/crlf.tf")
    assert b"\r" not in before
    assert site.changed(adopted.branch) == {
        "adopt/crlf.tf": before.replace(b"versioning = false", b"versioning = true")
    }


def test_a_file_that_is_not_ours_to_write_keeps_nothing_else_from_being_adopted(shared_site: Site) -> None:
    """As where the name that imports are written to is a symlink."""
    site = shared_site
    (crlf,) = drift(site, "crlf")
    host = Host(drafts=cast("Any", Picky(site.mirror)), branch="main", offers=site.forge)
    wish = AdoptionWish(
        stack=STACK,
        by="anna",
        findings=(site.findings()[crlf].finding.fingerprint,),
        imports={"sandbox_bucket.other": "other"},
    )
    adopted = replace(site.adopter, hosts={"platform": host}).adopt(wish, threading.Event())
    assert adopted.branch is not None
    assert [(each.address, each.reason) for each in adopted.refused] == [
        ("sandbox_bucket.other", "unsafe_repository")
    ]


class Picky:
    """A mirror in which no import is written."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mirror, name)

    def draft(self, edits: Edits) -> str:
        if any(path.endswith("imported.tf") for path in edits.files):
            raise UnsafeRepositoryError("the file adopt/imported.tf cannot be edited: it is no file")
        return self._mirror.draft(edits)


@pytest.mark.slow
def test_code_that_another_workspace_has_too_is_not_edited(builder: Builder) -> None:
    site = drifted(builder, BUCKETS[0], workspaces=["default", "other"])
    adopted = site.adopt("sandbox_bucket.one")
    assert adopted.refused[0].reason == "shared_file"
    assert "platform/adopt@other" in adopted.refused[0].sentence
    assert adopted.refused[0].place == "adopt/one.tf:3"


def test_a_forge_that_fails_is_said_and_the_branch_is_there(
    shared_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a person; by itself, it is tried again: the branch that is there is offered then."""
    site = shared_site
    (told,) = drift(site, "told")
    site.forge.failure = ForgeUnavailableError("the forge answered 500")
    adopted = site.adopt(told)
    assert adopted.error == "the forge was not told: the forge answered 500"
    assert str(adopted.branch) in site.branches()
    alone = AdoptionWish(stack=STACK, by=DRIFTWATCH, findings=(site.findings()[told].finding.fingerprint,))
    number = site.store.ask_adoption(alone, NOW)
    adopter = by_itself(site)
    with pytest.raises(ForgeUnavailableError):
        adopter.carry_out(number, alone, threading.Event())
    assert site.store.adopted(number) is None
    old = site.store.ask_adoption(alone, NOW - timedelta(days=1))
    adopter.carry_out(old, alone, threading.Event())
    assert "the forge answered 500" in str(site.store.adopted(old))
    site.forge.failure = ForgeRefusedError("the forge answered 403")
    refused = site.store.ask_adoption(alone, NOW)
    adopter.carry_out(refused, alone, threading.Event())
    assert "the forge answered 403" in str(site.store.adopted(refused))
    assert "answered 403" in capsys.readouterr().out
    site.forge.failure = None
    adopter.carry_out(number, alone, threading.Event())
    answer = site.store.adopted(number)
    assert answer is not None
    assert answer.error is None
    offered = site.forge.offered[-1]
    assert (answer.branch, offered["branch"], offered["base"]) == (adopted.branch, adopted.branch, "main")
    assert "`sandbox_bucket.told`" in offered["body"]
    assert "changed between" in offered["body"] or "first seen" in offered["body"]


def test_code_that_does_not_plan_is_said_and_nothing_comes_of_it(shared_site: Site, tmp_path: Path) -> None:
    """HCL that cannot be parsed, in a commit that came after the check."""
    site = shared_site
    main, branches = site.git("rev-parse", "main").decode().strip(), site.branches()
    clone = tmp_path / "clone"
    run(site.remote, "clone", "-q", str(site.remote), str(clone))
    (clone / corpus.STACK / "broken.tf").write_text('resource "sandbox_bucket" "broken" {\n')
    run(clone, "add", "-A")
    run(clone, "commit", "-q", "-m", "Break it")
    run(clone, "push", "-q", "origin", "main")
    inventory = site.adopter.workshop.inventory
    assert inventory.refresh("platform").error is None
    adopted = site.adopt(*list(site.findings())[:1])
    assert adopted.error
    assert adopted.branch is None
    assert site.branches() == branches
    run(clone, "push", "-q", "--force", "origin", f"{main}:main")
    assert inventory.refresh("platform").error is None


def by_itself(site: Site, *, at: datetime = NOW, **more: Any) -> Adopter:
    """Where the course of all drift is to adopt it; plans of one commit are made once."""
    courses = RepairSettings.model_validate({"courses": [{"then": "adopt"}]})
    return replace(site.adopter, settings=courses, clock=lambda: at, looked_at={}, **more)


def waiting(adopter: Adopter) -> dict[int, AdoptionWish]:
    """What waits by driftwatch's own wish."""
    return {number: wish for number, wish in adopter.asked().items() if wish.by == DRIFTWATCH}


def test_by_itself_drift_is_adopted_once_one_pull_request_at_a_time_and_never_what_somebody_put_aside(
    builder: Builder,
) -> None:
    """A value that keeps moving is one pull request; what was offered is not again when it is back."""
    site, day = drifted(builder, *BUCKETS), timedelta(days=1, minutes=1)
    found = site.findings()
    at = NOW + timedelta(minutes=1)
    terms = Press(action=Accept(), actor="anna", at=at, reason="it is right")
    assert site.store.act(found["sandbox_bucket.one"].id, terms)
    adopter = by_itself(site)
    site.store.suspend(Suspension(scope=str(STACK), by="anna", at=NOW, reason="an incident"))
    adopter.follow_up(STACK)
    assert waiting(adopter) == {}
    site.store.resume(str(STACK), by="anna", at=NOW)
    assert adopter.is_due(STACK)
    adopter.follow_up(STACK)
    adopter.follow_up(STACK)
    assert not adopter.is_due(STACK)
    ((number, wish),) = waiting(adopter).items()
    assert set(wish.findings) == {
        found[f"sandbox_bucket.{name}"].finding.fingerprint for name in ("two", "three")
    }
    adopter.carry_out(number, wish, threading.Event())
    answer = site.store.adopted(number)
    assert answer is not None
    branch = str(answer.branch)
    later = by_itself(site, at=NOW + 2 * day)
    assert not later.is_due(STACK)  # both were offered

    site.cloud.update(Kind.BUCKET, "two", {"tags": {"x": "y"}})
    site.check()
    assert not by_itself(site).is_due(STACK)  # not on the same day
    assert later.is_due(STACK)
    later.follow_up(STACK)  # but what was offered stands
    assert waiting(later) == {}
    assert not later.is_due(STACK)
    site.git("update-ref", "-d", f"refs/heads/{branch}")
    later.looked_at.clear()
    later.follow_up(STACK)
    ((number, wish),) = waiting(later).items()
    assert wish.findings == (site.findings()["sandbox_bucket.two"].finding.fingerprint,)

    site.cloud.update(Kind.BUCKET, "two", {"tags": {}})  # back to what was offered at first
    site.check()
    later.carry_out(number, wish, threading.Event())
    answer = site.store.adopted(number)
    assert answer is not None
    assert (answer.error, answer.skipped, answer.branch) == ("it is no longer wanted", True, None)
    assert not by_itself(site, at=NOW + 9 * day).is_due(STACK)


def test_what_waited_is_looked_at_again_before_it_is_done(shared_site: Site) -> None:
    """The course is another by now, nothing is to be done for a while, or a person has accepted it."""
    site = shared_site
    (address,) = drift(site, "waits")
    before, finding = site.branches(), site.findings()[address]
    wish = AdoptionWish(stack=STACK, by=DRIFTWATCH, findings=(finding.finding.fingerprint,))

    def answer(adopter: Adopter) -> Adopted | None:
        number = site.store.ask_adoption(wish, NOW)
        adopter.carry_out(number, wish, threading.Event())
        return site.store.adopted(number)

    unwanted = Adopted(error="it is no longer wanted", skipped=True)
    assert answer(site.adopter) == unwanted
    site.store.suspend(Suspension(scope=str(STACK), by="anna", at=NOW, reason="an incident"))
    assert answer(by_itself(site)) == unwanted
    site.store.resume(str(STACK), by="anna", at=NOW)
    assert answer(by_itself(site, planner=Broken())) != unwanted
    at = NOW + timedelta(minutes=1)
    assert site.store.act(finding.id, Press(action=Accept(), actor="anna", at=at, reason="it is right"))
    assert answer(by_itself(site)) == unwanted
    assert site.branches() == before


def test_a_mistake_of_our_own_is_an_answer_too_and_says_nothing_of_what_was_at_hand(
    shared_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise it would be tried for ever."""
    site = shared_site
    wish = AdoptionWish(stack=STACK, by="anna", imports={"a.b": "c"})
    number = site.store.ask_adoption(wish, NOW)
    replace(site.adopter, planner=cast("Any", Broken())).carry_out(number, wish, threading.Event())
    answer = site.store.adopted(number)
    assert answer is not None
    assert answer.error == "a mistake of driftwatch's own is in the way, which its log tells of"
    said = capsys.readouterr()
    assert "An adoption has not come to its end" in said.out + said.err


class Broken:
    """A planner with a mistake in it."""

    def plan(self, *_: object) -> Planned:
        raise ValueError("could not convert a string")


def test_an_issue_tells_of_all_of_a_stack_that_is_left_to_people(shared_site: Site) -> None:
    """What was refused earlier and differs still, too; and not what has merely moved on."""
    site = shared_site
    told, kept = "sandbox_bucket.told", "sandbox_bucket.kept"
    site.cloud.update(Kind.BUCKET, "kept", {"tags": {"DB_PASSWORD": "hunter2-canary"}})
    site.cloud.update(Kind.BUCKET, "told", {"tags": {"api_key": "hunter2-canary"}})
    site.check()
    adopted = site.adopt(kept)
    assert [(each.address, each.reason) for each in adopted.refused] == [(kept, "sensitive")]
    wish = AdoptionWish(stack=STACK, by="anna", findings=("nobody knows it",))
    count = len(site.forge.reported)
    assert [each.reason for each in site.adopter.adopt(wish, threading.Event()).refused] == ["gone"]
    assert len(site.forge.reported) == count
    assert site.adopt(told).issue
    body = site.forge.reported[-1]["body"]
    assert f"`{kept}`" in body
    assert f"`{told}`" in body
    assert "a finding" not in body
    assert "hunter2" not in repr((site.forge.reported, site.forge.offered, site.store.adoptions()))


def test_where_it_is_not_wanted_nothing_is_adopted_by_itself(shared_site: Site) -> None:
    assert drift(shared_site, "told")
    before = shared_site.adopter.asked()
    shared_site.adopter.follow_up(STACK)
    assert shared_site.adopter.asked() == before


@pytest.mark.slow
def test_so_many_deletions_that_the_account_may_be_wrong_are_not_brought_into_code(builder: Builder) -> None:
    gone = tuple(corpus.bucket(f"gone{number}", "", None) for number in range(12))
    site = drifted(builder, *gone)
    assert {each.finding.kind for each in site.findings().values()} == {FindingKind.DELETED}
    adopted = site.adopt(*(each.finding for each in gone))
    assert adopted.error is not None
    assert adopted.error.startswith("nothing is adopted: ")
    assert site.branches() == ["main"]


@pytest.mark.slow
@pytest.mark.parametrize("snippet", corpus.EDITED, ids=lambda each: each.name)
def test_each_snippet_is_adopted_alone(builder: Builder, snippet: corpus.Snippet) -> None:
    """As in the corpus, where all are adopted at once; here no other edit can help."""
    others = [each for each in corpus.EDITED if each.name == "in_module" and snippet.name == "argument"]
    if snippet.name == "in_module":
        others = [each for each in corpus.EDITED if each.name == "argument"]
    files = corpus.sources((snippet, *others, *(each for each in corpus.EDITED if each.name == "by_file")))
    site = builder.build(files)
    builder.apply()
    snippet.drift(site.cloud)
    assert site.check() is Verdict.DRIFTED
    adopted = site.adopt(snippet.finding)
    assert adopted.refused == ()
    assert adopted.branch is not None
    assert site.changed(adopted.branch) == corpus.wanted((snippet,), files)


@pytest.mark.parametrize("kind", ["github", pytest.param("gitlab", marks=pytest.mark.slow)])
def test_both_forges_get_one_pull_request_and_one_issue(shared_site: Site, kind: str) -> None:
    """Asked for twice, they are the same: the pull request is found, and the issue is updated."""
    site = shared_site
    played = PlayedHost(kind)
    (told,) = drift(site, "first")
    settings = ForgeSettings(
        kind=cast("Any", kind), project=played.project, token=SecretStr(TOKEN), api_url=played.api_url
    )
    host = Host(drafts=site.mirror, branch="main", offers=forge_of(settings))
    adopter = replace(site.adopter, hosts={"platform": host})
    wish = AdoptionWish(
        stack=STACK,
        by="anna",
        findings=(site.findings()[told].finding.fingerprint,),
        imports={"module.x.sandbox_bucket.deep": "deep"},
    )
    try:
        first, again = (adopter.adopt(wish, threading.Event()) for _ in range(2))
        assert first.url
        assert first.issue
        assert (again.url, again.issue, again.error) == (first.url, first.issue, None)
        assert len(played.pulls) == len(played.issues) == 1
        assert TOKEN not in repr((first, again))
    finally:
        played.close()
