"""Composition: the one place where adapters, pipeline and service are put together from a configuration."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from driftwatch import log
from driftwatch.aws import AwsIdentities, S3State
from driftwatch.cli.clock import now
from driftwatch.config.loading import load_with_warnings
from driftwatch.config.rule_files import shipped
from driftwatch.drift import Digester, Flapping
from driftwatch.drift.routing import Routing
from driftwatch.drift.rules import Rules
from driftwatch.errors import UsageError
from driftwatch.git import Mirror
from driftwatch.notify import channels
from driftwatch.pipeline.check import Workshop
from driftwatch.pipeline.inventory import Inventory
from driftwatch.pipeline.method import Examiner
from driftwatch.store import Spool, Store, Voice, instance_key
from driftwatch.terraform import Applier, Planner
from driftwatch.terraform.installed import tools_in
from driftwatch.warm.house import House
from driftwatch.warm.pool import Limits
from driftwatch.warm.quarantine import Quarantine
from driftwatch.warm.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.notify import GithubIssuesSettings, GitlabIssuesSettings, NotifySettings
    from driftwatch.config.settings import RepositorySettings, Settings, WarmSettings
    from driftwatch.forge.github_pulls import GithubPulls
    from driftwatch.forge.gitlab_pulls import GitlabPulls
    from driftwatch.model import Message, StackId
    from driftwatch.notify import Channel
    from driftwatch.notify.issues import Tracker

logger = log.get("cli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Where things lie below the state directory."""

    state: Path

    @property
    def mirrors(self) -> Path:
        return self.state / "repositories"

    @property
    def work(self) -> Path:
        return self.state / "work"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def recordings(self) -> Path:
        return self.state / "recordings"

    @property
    def applies(self) -> Path:
        return self.state / "applies"

    @property
    def quarantine(self) -> Path:
        return self.state / "quarantine.json"


class Forges:
    """Where the repositories are hosted; each is spoken to when it is first needed, over one connection."""

    def __init__(self, repositories: Mapping[str, RepositorySettings]) -> None:
        self._repositories = repositories
        self._lock = threading.Lock()
        self._known: dict[str, GithubPulls | GitlabPulls] = {}

    def of(self, repository: str) -> GithubPulls | GitlabPulls | None:
        """None where a repository names none. Raises UsageError without the package that speaks to it."""
        settings = self._repositories[repository].forge
        if settings is None:
            return None
        from driftwatch.forge.pulls import forge_of

        with self._lock:
            if repository not in self._known:
                self._known[repository] = forge_of(settings)
            return self._known[repository]

    def close(self) -> None:
        with self._lock:
            for forge in self._known.values():
                forge.close()
            self._known.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Everything that a configuration names, ready to use."""

    settings: Settings
    rooms: Rooms
    store: Store
    spool: Spool
    inventory: Inventory
    mirrors: Mapping[str, Mirror]
    """The repositories, by name; the workshop's checkouts are theirs."""
    workshop: Workshop
    house: House
    planner: Planner
    applier: Applier
    digester: Digester
    channels: tuple[Channel, ...]
    forges: Forges
    ending: threading.Event
    """Set, it ends what may take long on the network: fetches."""
    haste: threading.Event
    """Set, plans that are being stopped are killed at once."""


def read_settings(config: Path, environment: Mapping[str, str]) -> Settings:
    """The validated configuration; what it accepts but does not act on yet is said on stderr."""
    if not config.exists():
        raise UsageError(
            f"there is no configuration file {config}",
            advice="Name yours with --config, or write one to start from: driftwatch config init.",
        )
    loaded = load_with_warnings(config, environment)
    for warning in loaded.warnings:
        logger.warning(warning, action="configure")
    return loaded.settings


@dataclass(frozen=True, slots=True)
class LeadersOutbox:
    """The outbox, empty for all daemons on one database but one: people are told by one voice."""

    store: Store

    def due_messages(self, *, at: datetime, limit: int) -> list[Message]:
        return self.store.due_messages(at=at, limit=limit) if self.store.leads() else []

    def whole_message(self, message: Message, *, at: datetime) -> Message:
        return self.store.whole_message(message, at=at)

    def message_sent(
        self,
        id: int,  # noqa: A002  (a port)
        receipt: Mapping[str, str],
        *,
        at: datetime,
        carried: Sequence[int] = (),
    ) -> None:
        self.store.message_sent(id, receipt, at=at, carried=carried)

    def message_failed(self, id: int, *, reason: str, retry_at: datetime | None) -> None:  # noqa: A002  (a port)
        self.store.message_failed(id, reason=reason, retry_at=retry_at)


@dataclass(frozen=True, slots=True)
class StoredStates:
    """Where states lie that can be read without terraform."""

    def s3(
        self, config: Mapping[str, Any], workspace: str, environment: Mapping[str, str], *, directory: Path
    ) -> S3State:
        return S3State(config, workspace, environment, directory=directory)


def warm_house(settings: WarmSettings, rooms: Rooms, key: bytes) -> House:
    """What is kept warm, below the state directory."""
    limits = Limits(
        processes=settings.processes,
        memory_mb=settings.memory_mb,
        idle_seconds=settings.idle.total_seconds(),
    )
    shelf = Shelf(rooms.recordings, key, limit=settings.recordings_mb << 20)
    return House(limits, shelf, Quarantine(rooms.quarantine), clock=now)


def outlets(settings: NotifySettings, *, approvals: int = 1) -> tuple[Channel, ...]:
    """All channels that are configured. Raises UsageError where one cannot be made.

    `approvals` is how many a proposal needs.
    """
    found = [*channels(settings, now, approvals=approvals)]
    if settings.github:
        from driftwatch.forge.github import GithubTracker

        found += [_issues(f"github:{one.name}", one, GithubTracker(one)) for one in settings.github]
    if settings.gitlab:
        from driftwatch.forge.gitlab import GitlabTracker

        found += [_issues(f"gitlab:{one.name}", one, GitlabTracker(one)) for one in settings.gitlab]
    return tuple(found)


def _issues(name: str, settings: GithubIssuesSettings | GitlabIssuesSettings, tracker: Tracker) -> Channel:
    from driftwatch.notify.issues import IssuesChannel

    return IssuesChannel(name, tracker, labels=settings.labels, most_open=settings.most_open)


def everywhere(channels: Sequence[Channel]) -> list[str]:
    """The channels that are told where no route says otherwise: all but those that only a route names."""
    return [channel.name for channel in channels if not channel.name.startswith("slack:")]


@contextmanager
def opened_store(settings: Settings, *, gathers: bool = True) -> Iterator[Store]:
    """The database, for commands that only look or queue.

    Without `gathers` no message waits for others: for who tells all of it in the end.
    """
    database = settings.database.get_secret_value() if settings.database else None
    flapping = Flapping(turns=settings.findings.flapping_turns, within=settings.findings.flapping_within)
    voice = Voice(
        channels=tuple(sorted(settings.notify.channel_names)),
        routing=Routing.compile(settings.notify),
        gather=settings.notify.gather if gathers else timedelta(),
        failing_checks=settings.findings.failing_checks,
    )
    store = Store.open(state_dir=settings.state_dir, database=database, flapping=flapping, voice=voice)
    try:
        yield store
    finally:
        store.close()


def _pinned(store: Store, stack: StackId) -> str | None:
    """The commit that a stack is held at."""
    pin = store.pins().get(stack)
    return pin.commit if pin else None


@contextmanager
def application(
    settings: Settings, environment: Mapping[str, str], *, gathers: bool = True
) -> Iterator[Application]:
    """All of it, for commands that check and hold the state directory's lock."""
    with opened_store(settings, gathers=gathers) as store, ExitStack() as closing:
        rooms, ending, haste = Rooms(state=settings.state_dir), threading.Event(), threading.Event()
        mirrors = {
            name: Mirror(name, repository, rooms.mirrors / name, clock=now, stop=ending)
            for name, repository in settings.repositories.items()
        }
        for mirror in mirrors.values():
            closing.callback(mirror.close)
        forges = Forges(settings.repositories)
        closing.callback(forges.close)
        inventory = Inventory(settings, mirrors, store, clock=now)
        spool = Spool(settings.state_dir)
        speakers = outlets(settings.notify, approvals=settings.repair.approvals.needed)
        key = instance_key(settings.state_dir)
        tools = tools_in(settings.state_dir)
        planner = Planner(
            settings.terraform,
            cache=rooms.cache,
            runs=rooms.runs,
            environment=environment,
            hurry=haste,
            tools=tools,
        )
        applier = Applier(
            settings.terraform,
            cache=rooms.cache,
            runs=rooms.runs,
            applies=rooms.applies,
            environment=environment,
            hurry=haste,
            tools=tools,
        )
        digester = Digester(key)
        house = closing.enter_context(warm_house(settings.warm, rooms, key))
        yield Application(
            settings=settings,
            rooms=rooms,
            store=store,
            spool=spool,
            inventory=inventory,
            house=house,
            planner=planner,
            applier=applier,
            digester=digester,
            channels=speakers,
            forges=forges,
            ending=ending,
            haste=haste,
            mirrors=mirrors,
            workshop=Workshop(
                inventory=inventory,
                checkouts=mirrors,
                examiner=Examiner(
                    planner,
                    house,
                    settings.warm,
                    digest=digester,
                    stored_states=StoredStates(),
                    parallelism=settings.terraform.parallelism,
                    clock=now,
                ),
                identities=AwsIdentities(),
                ledger=store,
                spool=spool,
                rules=Rules.compile(settings.rules, shipped()),
                work=rooms.work,
                inherited={
                    name: environment[name]
                    for name in settings.terraform.inherit_environment
                    if name in environment
                },
                channels=everywhere(speakers),
                clock=now,
                pinned=partial(_pinned, store),
            ),
        )
