"""All that driftwatch ever says of a check: what is printed, sent, kept and measured, by name."""

from __future__ import annotations

import io
import sqlite3
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest
from rich.console import Console

from driftwatch import log
from driftwatch.cli import formats, terminal
from driftwatch.cli.findings import list_findings, show_finding
from driftwatch.cli.formats import Format, Listing
from driftwatch.cli.incidents import list_incidents, show_incident
from driftwatch.cli.rules import try_rules
from driftwatch.config.repair import ApprovalSettings
from driftwatch.config.rule_files import shipped
from driftwatch.config.rules import RulesSettings
from driftwatch.config.settings import PersonSettings, StackSettings, WarmSettings
from driftwatch.documents import drift as drift_documents
from driftwatch.drift import Digester, advance, announce_all, parse_document, read_plan
from driftwatch.drift.explain import explain
from driftwatch.drift.rules import Rules
from driftwatch.errors import DriftwatchError
from driftwatch.model import (
    CheckResult,
    Engine,
    Finding,
    FindingStatus,
    Incident,
    IncidentLine,
    Inputs,
    Message,
    Method,
    StackDeclaration,
    StackId,
    StoredFinding,
    Trigger,
)
from driftwatch.notify import markdown, prose, render, render_incident, webhook
from driftwatch.notify.buttons import Aim, Button
from driftwatch.notify.slack_intake import Pressed
from driftwatch.pipeline.check import Workshop, check
from driftwatch.pipeline.inventory import Subject
from driftwatch.pipeline.method import Examiner
from driftwatch.pipeline.presses import Desk
from driftwatch.pipeline.votes import Votes
from driftwatch.policy.rights import People
from driftwatch.store import Spool, Store
from driftwatch.store.sqlite import DATABASE_FILE
from driftwatch.terraform import Planned

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from driftwatch.drift import Reading
    from driftwatch.model import Announcement

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
DIGEST = Digester(b"a key of thirty-two bytes length")
STACK = StackId(repository="platform", path="envs/prod")
OTHER = StackId(repository="platform", path="envs/stage")
MEMBER = "U0ANNA0001"
RULES = Rules.compile(RulesSettings(), shipped())

Outputs = dict[str, str]


def declared(stack: StackId = STACK) -> StackDeclaration:
    return StackDeclaration(id=stack, owners=("@platform",))


def baseline_of(inputs: Inputs) -> Inputs:
    """As if every input had been another one, so that all that moved is evidence."""
    return replace(
        inputs,
        commit="b" * 40,
        tree="t0",
        variables="0" * 16,
        data_reads="0" * 16,
        variable_digests=dict.fromkeys(inputs.variable_digests or {}, "0" * 16),
        read_digests=dict.fromkeys(inputs.read_digests or {}, "0:0"),
        provider_configurations={
            key: replace(each, digest="0" * 16, region=None)
            for key, each in (inputs.provider_configurations or {}).items()
        },
        state_serial=1,
        state_lineage="lineage",
    )


def reading_of(text: str, baseline: Inputs | None = None) -> Reading:
    """What a document means, after the rules."""
    inputs = Inputs(commit="c" * 40, tree="t1", state_serial=2, state_lineage="lineage")
    read = read_plan(parse_document(text), digest=DIGEST, inputs=inputs, baseline=baseline)
    return RULES.govern(read, stack=STACK, now=NOON)


def result_of(reading: Reading, stack: StackId = STACK, at: datetime = NOON) -> CheckResult:
    return CheckResult(
        stack=stack,
        commit="c" * 40,
        trigger=Trigger.SCHEDULE,
        verdict=reading.verdict,
        method=Method.PLAN,
        method_reason="no_recording",
        started_at=at,
        duration_seconds=1.0,
        engine=Engine(name="terraform", version="1.11.4"),
        findings=reading.findings,
        inputs=reading.inputs,
        mass_deletion=reading.mass_deletion,
        unjudged=reading.unjudged,
    )


# ---- Without a store -----------------------------------------------------------------------------------


def said_of(result: CheckResult) -> Outputs:
    """All forms of a check, and everything that people are told of it."""
    stored = [_stored(place, each) for place, each in enumerate(result.findings, 1)]
    return {
        **printed(result),
        **listed(stored),
        **told(announcements_of(result, stored)),
        "repr of the result": repr(result),
    }


def printed(result: CheckResult) -> Outputs:
    """`check` in every format."""
    forms = {f"check --format {form}": formats.render([result], form) for form in Format if form != "table"}
    return {
        **forms,
        "check": _at_a_terminal(lambda console: terminal.show_results([result], console=console)),
    }


def listed(stored: Sequence[StoredFinding]) -> Outputs:
    """`findings list` and `findings show`, as they are made of what is stored."""
    lines = [terminal.attribute_line(each) for item in stored for each in item.finding.attributes]
    return {
        "findings list": _at_a_terminal(lambda console: console.print(terminal.findings_list(stored, NOON))),
        "findings list --format json": formats.to_json(drift_documents.findings_document(stored, None)),
        "findings show --format json": formats.to_json(
            {str(item.id): drift_documents.life_document(item) for item in stored}
        ),
        "findings show": "\n".join(line.plain for line in lines),
        "explanation": "\n".join(sentence for item in stored for sentence in explain(item.finding)),
        "one line": "\n".join(formats.one_line(item.finding) for item in stored),
        "rules that fit": "\n".join(
            repr(fit) for item in stored for fit in RULES.fits(item.finding, stack=STACK, today=None)
        ),
    }


def announcements_of(result: CheckResult, stored: Sequence[StoredFinding]) -> tuple[Announcement, ...]:
    """That it was found, and that it is gone in the check after it."""
    found = [(said, now) for _, said, now in announce_all({}, result, advance((), result), declared())]
    gone = replace(result, findings=(), started_at=NOON + timedelta(hours=1))
    heard = {story: now for story, _, now in announce_all({}, result, advance((), result), declared())}
    ends = announce_all(heard, gone, advance(stored, gone), declared())
    return tuple(one for said, _ in found for one in said) + tuple(one for _, said, _ in ends for one in said)


def told(announcements: Sequence[Announcement]) -> Outputs:
    """Every announcement by every channel: alone, in an incident, in one of several stacks, in a digest."""
    outputs: Outputs = {"repr of the announcements": repr(announcements)}
    for announcement in announcements:
        for place, message in enumerate(_messages(announcement)):
            name = f"{announcement.kind} {place}"
            outputs |= {f"{name}: {channel}": text for channel, text in sent(message).items()}
    return outputs


def sent(message: Message) -> Outputs:
    """One message as each channel sends it."""
    return {
        "slack": repr(render_incident.head(message, buttons=True)),
        "slack without buttons": repr(render.message(message.announcement)),
        "slack in the thread": repr(render_incident.reply(message.all_told)),
        "webhook": webhook.body(message).decode(),
        "mail": f"{prose.subject(message)}\n{prose.body(message, 30_000)}",
        "short text": prose.body(message, 500),
        "issue": f"{markdown.title(message)}\n{markdown.body(message, '<!-- mark -->')}",
        "comment": markdown.comment(message),
        "message": repr(message),
    }


def _messages(announcement: Announcement) -> Iterator[Message]:
    line = IncidentLine(announcement=announcement, over=False)
    beside = IncidentLine(announcement=replace(announcement, stack=str(OTHER)), over=False)
    for thread, incident, more in (
        ("incident:7", _incident(line), ()),
        (
            "incident:7",
            _incident(line, beside, title="commit ccccccc is not applied"),
            (beside.announcement,),
        ),
        ("digest:2026-11-25", None, (beside.announcement,)),
    ):
        yield Message(
            id=1,
            channel="slack",
            dedupe_key="envs/prod#1",
            episode="e1",
            announcement=announcement,
            attempts=0,
            created_at=NOON,
            thread=thread,
            incident=incident,
            more=more,
        )


def _incident(*lines: IncidentLine, title: str | None = None) -> Incident:
    return Incident(
        id=7,
        title=title,
        opened_at=NOON,
        closed_at=None,
        lines=lines,
        total=len(lines),
        open=len(lines),
        seen="5eed" * 8,
    )


def _stored(place: int, finding: Finding) -> StoredFinding:
    return StoredFinding(
        id=place,
        stack=STACK,
        status=FindingStatus.OPEN,
        first_seen=NOON,
        last_seen=NOON,
        finding=finding,
        opened_at=NOON,
    )


def _at_a_terminal(show: Any) -> str:
    written = io.StringIO()
    show(Console(file=written, width=100, force_terminal=True, highlight=False))
    return written.getvalue()


# ---- With a store: the whole way of a check ------------------------------------------------------------


@dataclass
class Checkout:
    """A repository with one commit."""

    def submodules(self, _commit: str) -> tuple[str, ...]:
        return ()

    def history(self, *_: object, **__: object) -> tuple[()]:
        return ()

    def checkout(self, _commit: str) -> Any:
        return nullcontext(Path("/nowhere"))


@dataclass
class Planner:
    """Plans a document, or what a plan fails with."""

    outcome: str | Exception

    def plan(self, *_: object, **__: object) -> Planned:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Planned(
            document=parse_document(self.outcome),
            engine=Engine(name="terraform", version="1.11.4"),
            lock_file=None,
            state_lineage="lineage",
            state_serial=2,
        )


@dataclass
class Estate:
    """Knows every stack that it is asked for."""

    def subject(self, stack: StackId) -> Subject:
        options = StackSettings(path=stack.path, owners=("@platform",))
        return Subject(stack=stack, commit="c" * 40, options=options, reads=(stack.path,), tree="t1")


@dataclass
class Ear:
    """Hears the answers to presses."""

    heard: list[str] = field(default_factory=list)

    def answer(self, _pressed: Pressed, sentences: tuple[str, ...]) -> None:
        self.heard += sentences

    def ask_reason(self, _pressed: Pressed, what: str) -> None:
        self.heard.append(what)


@dataclass
class House:
    """A state directory with its database, and a check's whole way through it."""

    directory: Path
    config: Path
    stop: threading.Event

    def store(self) -> Store:
        return Store.open(state_dir=self.directory, database=None)

    def outputs(self, outcome: str | Exception, *, more: Sequence[str | Exception] = ()) -> Outputs:
        """Checks two stacks, then one of them again with each of `more`, and tells and shows all of it."""
        written = io.StringIO()
        with redirect_stderr(written):
            log.configure(json=True, level="debug")
            store = self.store()
            try:
                results = [
                    self._check(store, STACK, outcome, NOON),
                    self._check(store, OTHER, outcome, NOON + timedelta(seconds=1)),
                    *(
                        self._check(store, STACK, each, NOON + timedelta(minutes=place))
                        for place, each in enumerate(more, 1)
                    ),
                ]
                outputs = self._told(store) | self._pressed(store)
                self._keep_aside(results)
            finally:
                store.close()
            outputs |= self._shown()
        for place, result in enumerate(results):
            outputs |= {f"result {place}: {name}": text for name, text in printed(result).items()}
        return outputs | self._on_disk() | {"log": written.getvalue(), "metrics": generate_latest().decode()}

    def _check(self, store: Store, stack: StackId, outcome: str | Exception, at: datetime) -> CheckResult:
        workshop = Workshop(
            inventory=Estate(),
            checkouts={"platform": Checkout()},
            examiner=Examiner(Planner(outcome), None, WarmSettings(), digest=DIGEST, clock=lambda: at),
            identities=None,
            ledger=store,
            spool=Spool(self.directory),
            rules=RULES,
            work=self.directory / "work",
            inherited={},
            channels=("slack", "webhook:ops"),
            clock=lambda: at,
        )
        return check(stack, Trigger.SCHEDULE, workshop, self.stop)

    def _told(self, store: Store) -> Outputs:
        outputs: Outputs = {}
        later = NOON + timedelta(days=1)
        while due := store.due_messages(at=later, limit=50):
            for each in due:
                message = store.whole_message(each, at=later)
                outputs |= {f"message {each.id}: {name}": text for name, text in sent(message).items()}
                store.message_sent(message.id, {"ts": "1.1"}, at=later, carried=message.carried)
        return outputs

    def _pressed(self, store: Store) -> Outputs:
        """Every button on every incident, as somebody who may do anything; acknowledged is told again."""
        person = PersonSettings.model_validate({"slack": [MEMBER], "rights": ["admin"]})
        ear = Ear()
        desk = Desk(
            ledger=store,
            people=People.compile({"anna": person}),
            replies=ear,
            votes=Votes(
                book=store, terms=ApprovalSettings(), people={}, clock=lambda: NOON + timedelta(hours=2)
            ),
            clock=lambda: NOON + timedelta(hours=2),
        )
        for incident in store.incidents(open_only=False, limit=10, after=None).items:
            for button in (Button.DETAILS, Button.ACKNOWLEDGE, Button.ACCEPT, Button.REPAIR):
                aim = Aim(button=button, incident=incident.id, seen=incident.seen)
                key = f"{incident.id}:{button}"
                pressed = Pressed(
                    aim=aim, member=MEMBER, key=key, channel="C1", thread=None, trigger="1.trigger"
                )
                desk.take(pressed)
        return {"answers in Slack": "\n".join(ear.heard)} | {
            f"after a press, {name}": text for name, text in self._told(store).items()
        }

    def _keep_aside(self, results: Sequence[CheckResult]) -> None:
        spool = Spool(self.directory)
        for result in results:
            spool.save(result, declaration=declared(result.stack), channels=("slack",))

    def _shown(self) -> Outputs:
        """The commands themselves, on what is in the database."""
        outputs = {}
        for form in Listing:
            said = io.StringIO()
            with redirect_stdout(said):
                list_findings(
                    self.config, stack=None, status="all", noise=True, limit=100, after=None, form=form
                )
                for number in range(1, 4):
                    self._try(lambda number=number, form=form: show_finding(self.config, number, form))
                try_rules(self.config, None, form)
                list_incidents(everything=True, config=self.config, output=form, limit=100, after=None)
                self._try(lambda form=form: show_incident(1, config=self.config, output=form))
            outputs[f"commands, {form}"] = said.getvalue()
        return outputs

    def _try(self, command: Any) -> None:
        """There may be no third finding."""
        try:
            command()
        except DriftwatchError as problem:
            terminal.stdout.print(str(problem))

    def _on_disk(self) -> Outputs:
        return {
            f"file {path.relative_to(self.directory)}": path.read_bytes().decode("latin-1")
            for path in sorted(self.directory.rglob("*"))
            if path.is_file()
        } | {"rows": rows_of(self.directory)}


def rows_of(directory: Path) -> str:
    """All rows of all tables: in the file, a long one may be in pieces."""
    connection = sqlite3.connect(directory / DATABASE_FILE)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()
