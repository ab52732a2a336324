"""`driftwatch run`: the daemon, composed from the configuration and run until it is told to stop."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.cli.adopting import adopter_of
from driftwatch.cli.clock import now
from driftwatch.cli.compose import LeadersOutbox, application, read_settings
from driftwatch.cli.previews import previewer_of
from driftwatch.config.rule_files import shipped
from driftwatch.drift.health import configured_age
from driftwatch.errors import UnknownStackError
from driftwatch.model import JobState
from driftwatch.notify import Sender
from driftwatch.pipeline.admissions import Clerk, hiding
from driftwatch.pipeline.check import check
from driftwatch.pipeline.hints import HintBox
from driftwatch.pipeline.housekeeping import Housekeeping
from driftwatch.pipeline.opa import Opa
from driftwatch.pipeline.presses import Desk
from driftwatch.pipeline.propose import Proposer
from driftwatch.pipeline.reconcile import Reconciler, Tools
from driftwatch.pipeline.votes import Votes
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows
from driftwatch.service import Checked, Daemon, Notifier, StateLock
from driftwatch.terraform import sweep
from driftwatch.warm.pool import sweep as sweep_sockets
from driftwatch.web import Door, Hooks, Server, create_app

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from driftwatch.cli.compose import Application
    from driftwatch.config.settings import Schedule
    from driftwatch.model import Job, StackId
    from driftwatch.notify.slack_intake import SlackIntake
    from driftwatch.pipeline.inventory import Refreshed
    from driftwatch.warm.house import House

logger = log.get("cli")


@dataclass(slots=True)
class Work:
    """What the daemon does all day: the pipeline's use cases on this application.

    `checked` hears of each stack that was checked, when it has been recorded.
    """

    app: Application
    checked: Callable[[StackId], object] = lambda _stack: None

    def refresh(self, repository: str) -> Refreshed:
        return self.app.inventory.refresh(repository)

    def check(self, job: Job, stop: threading.Event) -> Checked | None:
        try:
            result = check(job.stack, job.trigger, self.app.workshop, stop, job=job)
        except UnknownStackError as gone:
            logger.info(f"Nothing to check: {gone.message}.", action="check", stack=str(job.stack))
            self.app.store.finish(job, JobState.DONE, at=now())
            return None
        self.checked(job.stack)
        pace = self.app.workshop.examiner.pace(str(job.stack))
        return Checked(
            replayable=pace.replayable and result.error is None, reads=pace.reads, throttled=pace.throttled
        )

    def schedules(self) -> Mapping[StackId, Schedule]:
        return self.app.inventory.schedules()


@dataclass(frozen=True, slots=True)
class Ending:
    """Ends fetches with the daemon: a remote that does not answer must not hold up its end."""

    ending: threading.Event

    def run(self, stop: threading.Event) -> None:
        stop.wait()
        self.ending.set()


def run(config: Path) -> int:
    """Runs until SIGTERM or SIGINT; raises what makes it impossible to start."""
    settings = read_settings(config, os.environ)
    with StateLock.acquire(settings.state_dir, clock=now) as lock, application(settings, os.environ) as app:
        work = Work(app)
        daemon = Daemon(
            app.settings,
            work=work,
            jobs=app.store,
            dues=app.store,
            depths=app.store,
            clock=now,
            sender=Sender(LeadersOutbox(app.store), app.channels, now),
            sweep=partial(_sweep, app.rooms.runs),
            catch_up=partial(app.spool.drain, app.store),
            notifier=Notifier.from_environment(os.environ),
            lock=lock,
            leads=app.store.leads,
            cpu=partial(_cpu_seconds, app.house),
        )
        app.house.observe()
        daemon.attach(Ending(app.ending))
        app.inventory.remember()  # before anything is applied that may depend on it
        tools = _tools(app, daemon.node)
        reconciler = Reconciler(tools)
        work.checked = reconciler.look_at
        daemon.attach(reconciler, ends_first=True)
        hints = _listen_to_hints(app, daemon, tools.clerk)
        make_app = partial(
            create_app,
            daemon.health,
            slack=_listen_to_slack(app, daemon),
            door=_door(app, hints),
            hooks=Hooks(settings.hooks, settings.repositories, hints=hints, notes=app.store, clock=now),
        )
        daemon.attach(Server(make_app, app.settings.web.listen))
        daemon.attach(
            Housekeeping(
                app.store,
                app.workshop,
                clock=now,
                forget=partial(_forget_removed, app),
                findings=app.settings.findings,
                continuous=app.settings.continuous,
            )
        )
        return daemon.run()


def _listen_to_hints(app: Application, daemon: Daemon, clerk: Clerk) -> HintBox:
    """Has the daemon look at once where somebody says that something has happened."""
    previewer = previewer_of(app, clerk)
    if previewer is not None:
        daemon.attach(previewer, ends_first=True)
    hints = HintBox(poll=daemon.poll, look_at=previewer.ask if previewer else _nobody_looks)
    daemon.attach(hints, ends_first=True)
    return hints


def _nobody_looks(repository: str, number: int) -> None:
    logger.info(
        "Pull requests are not previewed here.", action="hint", repository=repository, pull_request=number
    )


def _listen_to_slack(app: Application, daemon: Daemon) -> SlackIntake | None:
    """Has the daemon take the presses of buttons, by whichever way they come; None where none can."""
    slack = app.settings.notify.slack
    if slack is None or not slack.has_buttons:
        return None
    from driftwatch.notify.slack_intake import SlackIntake
    from driftwatch.notify.slack_replies import SlackReplies

    people = People.compile(app.settings.users)
    desk = Desk(
        ledger=app.store,
        people=people,
        replies=SlackReplies(slack),
        votes=_votes(app, people),
        clock=now,
    )
    intake = SlackIntake(slack, desk.take, now)
    daemon.attach(intake)
    if slack.app_token is not None:
        from driftwatch.notify.slack_socket import SlackSocket

        daemon.attach(SlackSocket(slack, intake))
    return intake


def _door(app: Application, hints: HintBox) -> Door:
    """The API's."""
    people = People.compile(app.settings.users)
    return Door(
        store=app.store,
        people=people,
        votes=_votes(app, people),
        needed=app.settings.repair.approvals.needed,
        allowed_age=partial(configured_age, settings=app.settings),
        clock=now,
        hints=hints,
        repositories=frozenset(app.settings.repositories),
    )


def _votes(app: Application, people: People) -> Votes:
    """Counts who approves and who rejects, by whichever way they say so."""
    terms = app.settings.repair.approvals
    return Votes(book=app.store, terms=terms, people=people.by_name, clock=now)


def _tools(app: Application, node: str) -> Tools:
    """What repairs work with."""
    settings = app.settings
    proposer = Proposer(
        workshop=app.workshop,
        book=app.store,
        planner=app.planner,
        settings=settings.repair,
        digester=app.digester,
        clock=now,
        protected={name: each.protected_paths for name, each in settings.repositories.items()},
    )
    clerk = Clerk(
        book=app.store,
        workshop=app.workshop,
        windows=Windows.compile(settings.windows),
        people=People.compile(settings.users),
        settings=settings.repair,
        ignoring=hiding(settings.rules, shipped()),
        course=proposer.course,
        allowed_age=partial(configured_age, settings=settings),
        clock=now,
        opa=Opa.of(settings.repair.opa, os.environ) if settings.repair.opa else None,
    )
    return Tools(
        proposer=proposer,
        applier=app.applier,
        book=app.store,
        clerk=clerk,
        settings=settings.repair,
        node=node,
        adopter=adopter_of(app),
        alone=settings.database is None,
        leads=app.store.leads,
        clock=now,
    )


def _sweep(runs: Path) -> int:
    """What daemons that were killed left: processes with their scratch, and directories of sockets."""
    return sweep(runs) + sweep_sockets()


def _cpu_seconds(house: House) -> float:
    """What driftwatch has taken so far: this process, its children that have ended, its warm providers."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + house.cpu_seconds


def _forget_removed(app: Application) -> int:
    """Drops the recordings of stacks that are gone."""
    return app.house.shelf.retain({str(item.id) for item in app.store.stacks(now=now())})
