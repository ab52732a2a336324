"""Preview: what a pull request would do, said in it before the merge.

    read it → who has asked for what → may it be run? → merge → touched → plan each → still the same? → say

Level-triggered: a look takes a repository and a number, reads the pull request, its comments and driftwatch's
own one from the forge, and does what is left to do. What is remembered between two looks stands in that
comment, so that a restart plans nothing twice. Nothing of a fork is fetched, and nothing of a pull request
that brings something new to be run is planned, until somebody with the right has named its head. What was
planned for a head that is another by now is thrown away.

Nothing here applies, and no apply's environment is known here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypedDict

from driftwatch import log
from driftwatch.config.patterns import is_among
from driftwatch.errors import (
    ForgeUnavailableError,
    MergeConflictError,
    PullRequestMovedError,
    RepositoryError,
)
from driftwatch.model import CommitState, CommitStatus, Right
from driftwatch.notify.render_preview import UNHEARD, GoneStack, Preview, Step, Wait, render
from driftwatch.pipeline import preview_code as codes
from driftwatch.pipeline.inventory import REPOSITORY_FILE
from driftwatch.pipeline.ports import Proposals, Repository
from driftwatch.pipeline.preview_plans import Seen, judged, unplanned
from driftwatch.pipeline.preview_words import (
    Case,
    Heard,
    Memo,
    Ruling,
    has_commands,
    hear,
    mark_of,
    remembered,
    written,
)
from driftwatch.policy.authors import known_as, who

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.gitops import PreviewSettings
    from driftwatch.config.repair import ApprovalSettings
    from driftwatch.git.pulls import Merged
    from driftwatch.model import JsonValue, PullRequest, StackId
    from driftwatch.pipeline.inventory import Inventory, Subject
    from driftwatch.pipeline.ports import PullRequests
    from driftwatch.pipeline.preview_plans import Speculator
    from driftwatch.policy.rights import People

CONTEXT = "driftwatch"
"""The status of all together; that of a stack is `driftwatch/<its id>`.

Where several repositories of the configuration are one project of a forge, all together is told of each for
itself, as `driftwatch/<its name>`: a pull request is the one's whose branch it is for; commits are both's.
"""

LONGEST_CONTEXT = 200
LONGEST_DESCRIPTION = 140
"""Characters. GitHub takes 140 for a description, and both forges keep some 255 of a context."""

MANY = 50
"""Of more stacks, only the status of all together says that they are being planned."""

DIGEST = 16
APPROVAL = 32
"""Hexadecimal digits of what an approval names: nobody can make two changes that have the same."""

YIELD_SECONDS = 2.0
KEPT = 200
"""Pull requests of which the last preview is held in memory, so that an approval need not plan again."""

FORK = Wait(sentence="It comes from a fork: nothing of it is fetched or run by itself.")

logger = log.get("preview")


class Code(Proposals, Repository, Protocol):
    """One repository, with what others propose to change in it."""

    def authors(self, base: str, commit: str) -> frozenset[str]:
        """All who wrote the commits since `base`. Raises RepositoryError where that cannot be told."""


class Book(Protocol):
    """Where findings and the audit are kept."""

    def findings_of(self, stack: StackId) -> Sequence[object]: ...

    def note(
        self,
        *,
        at: datetime,
        actor: str,
        via: str,
        action: str,
        subject: str,
        outcome: str,
        reason: str | None = None,
        key: str | None = None,
    ) -> bool: ...


class Outcome(StrEnum):
    """What came of a look."""

    CLOSED = "closed"
    OTHER_BRANCH = "other_branch"
    NOT_READY = "not_ready"
    """The branch itself was not fetched yet."""
    SETTLED = "settled"
    """All is said that there is to say."""
    UNTOUCHED = "untouched"
    WAITING = "waiting"
    CONFLICT = "conflict"
    FAILED = "failed"
    PLANNED = "planned"
    MOVED = "moved"
    """It is another by now: to be looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a commit that is not the branch's head would touch, were it the head.

    `stacks` are those that it brings or changes, as they are there; `gone` those whose directory is no more.
    """

    commit: str
    stacks: tuple[Subject, ...] = ()
    gone: tuple[StackId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What came of a look; `passing` where looking again later may come to more."""

    outcome: Outcome
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One repository that is on a forge, and how its pull requests are treated.

    `host` is where people have their accounts, `context` the status of all together.
    """

    name: str
    kind: str
    host: str
    branch: str
    settings: PreviewSettings
    protected: tuple[str, ...]
    forge: PullRequests
    code: Code
    context: str = CONTEXT


@dataclass(slots=True, kw_only=True)
class _Kept:
    """What this process still knows of a pull request; none of it is needed."""

    heard: int = 0
    quiet: tuple[str, str] | None = None
    """The head and base at which nothing was touched, of which no comment tells."""
    preview: Preview | None = None
    inputs: str = ""
    unsaid: Memo | None = None
    """What the comment is to remember of `preview`, where the forge did not take it yet."""
    statuses: dict[tuple[str, str], CommitStatus] = field(default_factory=dict)
    stacks: dict[tuple[str, str], None] = field(default_factory=dict)
    """The head and the id of each stack that has a status of its own there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """Looks at pull requests, one at a time.

    `work` is a directory that nothing else is in. `busy` is whether something more important wants the
    machine: a preview waits between two plans while it is.
    """

    desks: Mapping[str, Desk]
    inventory: Inventory
    speculator: Speculator
    book: Book
    people: People
    terms: ApprovalSettings
    work: Path
    busy: Callable[[], bool] = lambda: False
    kept: dict[tuple[str, int], _Kept] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def look_at(
        self,
        repository: str,
        number: int,
        stop: threading.Event,
        *,
        again: bool = False,
        last: bool = False,
    ) -> Looked:
        """Does what there is to do for one pull request; `again` plans even what was planned.

        What was said stands while it cannot be looked at for what may pass; with the `last` try it does not.
        Raises ForgeError where the forge does not answer, StoreError, and EngineInterruptedError where it was
        stopped. What is wrong with the pull request is said in it.
        """
        with self.lock:
            desk = self.desks[repository]
            pull = desk.forge.pull_request(number)
            if pull is None or not pull.is_open:
                self.forget(repository, number)
                return Looked(outcome=Outcome.CLOSED)
            if pull.base != desk.branch:
                return Looked(outcome=Outcome.OTHER_BRANCH)
            base = desk.code.head()
            if base is None:
                return Looked(outcome=Outcome.NOT_READY, passing=True)
            kept = self.kept.pop((repository, number), None) or _Kept()
            self.kept[repository, number] = kept
            while len(self.kept) > KEPT:
                del self.kept[next(iter(self.kept))]
            look = _Look(self, desk, pull, kept=kept, base=base, stop=stop)
            return look.run(again=again, last=last)

    def rooms(self, repository: str) -> list[int]:
        """The pull requests of which something lies on the disk."""
        directory = self.work / repository
        return sorted(
            int(each.name) for each in _entries(directory) if each.name.isascii() and each.name.isdecimal()
        )

    def forget(self, repository: str, number: int) -> None:
        """Removes what was made for a pull request that is closed."""
        self.kept.pop((repository, number), None)
        shutil.rmtree(self.work / repository / str(number), ignore_errors=True)


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


class _Common(TypedDict):
    """What every preview says."""

    head: str
    base: str | None
    branch: str
    answers: tuple[str, ...]
    unheard: bool
    own_file: bool
    needed: int


class _Look:
    """One look at one pull request."""

    def __init__(
        self,
        previews: Previews,
        desk: Desk,
        pull: PullRequest,
        *,
        kept: _Kept,
        base: str,
        stop: threading.Event,
    ) -> None:
        self._of = previews
        self._desk = desk
        self._pull = pull
        self._kept = kept
        kept.statuses = {key: each for key, each in kept.statuses.items() if key[0] == pull.head}
        kept.stacks = {key: None for key in kept.stacks if key[0] == pull.head}
        self._base = base
        self._stop = stop
        self._sign = previews.speculator.digester.hex
        self._remarks = desk.forge.remarks(pull.number)
        recalled = remembered(self._remarks, desk.name, pull.number, self._sign)
        memo, self._body = recalled.memo, recalled.body
        self._said_before = memo
        self._altered = memo is not None and not recalled.intact
        """Somebody has changed what people read: what is remembered counts, and all is written anew."""
        self._memo = memo if memo is not None and memo.head == pull.head else None
        """Of this very head; an earlier one's is worth nothing but for what was heard."""
        self._since = max(memo.remark if memo else 0, kept.heard)
        self._stocks: dict[str, Mapping[StackId, Subject]] = {}
        self._heard = Heard()
        self._all_known = True
        self._is_last = False

    # ---- the flow ----------------------------------------------------------------------------------------

    def run(self, *, again: bool, last: bool) -> Looked:
        self._is_last = last
        heard = self._hear(frozenset())
        permits = self._permits(heard)
        if self._pull.from_fork and not permits:
            return self._wait((FORK,), heard, base="")
        if self._is_settled() and not (
            again or self._altered or any(each.is_taken for each in heard.rulings)
        ):
            return self._nothing_new(heard)
        try:
            return self._of_head(again=again)
        except PullRequestMovedError:
            return Looked(outcome=Outcome.MOVED)
        except RepositoryError as problem:  # of this one's commits: the others go on
            return self._unplannable(problem)

    def _of_head(self, *, again: bool) -> Looked:
        """Raises RepositoryError for whatever its commits cannot be had, merged or looked into for."""
        merged = self._desk.code.fetch_pull_request(
            self._pull.number, kind=self._desk.kind, head=self._pull.head
        )
        touched = self._touched(merged)
        authors = self._authors(merged) if self._of.terms.not_by_author else frozenset()
        heard = self._hear(authors)
        return self._of_merge(merged, touched, heard, authors, again=again)

    def _of_merge(
        self,
        merged: Merged,
        touched: Touched,
        heard: Heard,
        authors: frozenset[str],
        *,
        again: bool,
    ) -> Looked:
        inputs = self._inputs(touched)
        is_known = self._memo is not None and self._memo.step is Step.DONE and self._memo.inputs == inputs
        if is_known and not (heard.again or heard.approved or again or self._altered):
            return self._nothing_new(heard)
        if not touched.stacks and not touched.gone:
            return self._untouched(merged, heard, inputs)
        unsaid = self._kept.unsaid if self._kept.inputs == inputs and not (heard.again or again) else None
        if unsaid is not None and self._kept.preview is not None:
            return self._say_later(self._kept.preview, unsaid, merged, heard, authors)
        permits = self._permits(heard)
        waits = self._waits(merged, touched)
        if waits and not permits:
            return self._wait(waits, heard, base=merged.base, merged=merged)
        known = self._kept.preview if is_known and self._kept.inputs == inputs else None
        if known is not None and not (heard.again or again):
            return self._say_again(known, heard, authors, inputs)
        return self._plan(merged, touched, heard, authors, inputs, named=bool(waits))

    def _is_settled(self) -> bool:
        if self._kept.quiet == (self._pull.head, self._base):
            return True
        memo = self._memo
        if memo is None or memo.base != self._base:
            return False
        return memo.step in (Step.DONE, Step.CONFLICT, Step.WAITING)

    # ---- what people said --------------------------------------------------------------------------------

    def _hear(self, authors: frozenset[str]) -> Heard:
        memo = self._memo
        shown = memo is not None and memo.step is Step.DONE
        to_approve = (
            [each.stack for each in self._kept.preview.stacks if each.approval] if self._kept.preview else []
        )
        case = Case(
            kind=self._desk.kind,
            host=self._desk.host,
            head=self._pull.head,
            digest=memo.digest if memo and shown else "",
            scope=self._scope() if has_commands(self._remarks, self._since) else (),
            to_approve=tuple(to_approve) if shown else (),
            authors=authors,
            all_known=self._all_known,
            altered=self._altered,
        )
        self._heard = hear(self._remarks, self._since, self._of.people, case)
        return self._heard

    def _scope(self) -> tuple[str, ...]:
        """The stacks of the repository, and one that nobody has: for who may do it with all of them."""
        return (*map(str, self._stock()), f"{self._desk.name}/*")

    def _permits(self, heard: Heard) -> tuple[str, ...]:
        before = self._memo.permits if self._memo else ()
        return tuple(dict.fromkeys((*before, *heard.permits)))

    def _authors(self, merged: Merged) -> frozenset[str]:
        """Whose change it may be, by their names in the configuration: anybody's where nobody can tell."""
        people = self._of.people
        opener = people.on_forge(self._desk.kind, self._pull.author, self._desk.host)
        names = {opener.name} if opener else set()
        try:
            wrote = {who(each) for each in self._desk.code.authors(merged.base, merged.head)}
        except RepositoryError as problem:
            logger.warning(
                f"Nobody's approval counts, as it cannot be told who wrote it: {problem.message}",
                action="preview",
                repository=self._desk.name,
                pull_request=self._pull.number,
            )
            self._all_known = False
            return frozenset(people.by_name)
        names |= {name for name in people.by_name if wrote & known_as(name, people.by_name)}
        return frozenset(names)

    def _audit(self, rulings: Sequence[Ruling]) -> None:
        """What was taken or refused is on record before it is done, and once however often it is read."""
        for each in rulings:
            what = f"{each.command.what}, " if each.command.what else ""
            self._of.book.note(
                at=self._of.speculator.clock(),
                actor=each.person or f"{self._desk.kind}:{each.login}",
                via=self._desk.kind,
                action=f"preview_{each.command.verb}",
                subject=f"{self._desk.name}#{self._pull.number}",
                outcome=each.outcome,
                reason=f"{what}at the commit {self._pull.head[:10]}",
                key=f"preview:{self._desk.kind}:{self._desk.name}:{self._pull.number}:{each.remark}",
            )
            logger.info(
                "Somebody asked for something in a pull request.",
                action="preview",
                repository=self._desk.name,
                pull_request=self._pull.number,
                person=each.person,
                outcome=each.outcome,
            )

    # ---- may it be run -----------------------------------------------------------------------------------

    def _stock(self) -> Mapping[StackId, Subject]:
        """The branch's stacks at the commit that is merged with, whenever stock was last taken of it."""
        if self._base not in self._stocks:
            self._stocks[self._base] = self._of.inventory.at(self._desk.name, self._base)
        return self._stocks[self._base]

    def _touched(self, merged: Merged) -> Touched:
        """Those that are to be previewed of what the merge changes. Raises as a look into a commit does."""
        self._base = merged.base
        globs, before = self._desk.settings.stacks, self._stock()
        after = self._of.inventory.at(self._desk.name, merged.commit)
        return Touched(
            commit=merged.commit,
            stacks=tuple(
                now
                for stack, now in after.items()
                if is_among(str(stack), globs) and (stack not in before or before[stack].tree != now.tree)
            ),
            gone=tuple(each for each in before if each not in after and is_among(str(each), globs)),
        )

    def _inputs(self, touched: Touched) -> str:
        """A digest over what is planned: a commit of the branch that leaves it alone changes nothing."""
        stacks: dict[str, JsonValue] = {str(each.stack): each.tree for each in touched.stacks}
        gone: list[JsonValue] = [str(each) for each in touched.gone]
        return self._sign({"head": self._pull.head, "stacks": stacks, "gone": gone})

    def _waits(self, merged: Merged, touched: Touched) -> tuple[Wait, ...]:
        """Why it is not run by itself; each reason once."""
        found = [FORK] if self._pull.from_fork else []
        found += codes.protected(merged.changed, self._desk.protected)
        most = self._desk.settings.most_stacks
        if len(touched.stacks) > most:
            many = f"It touches {len(touched.stacks)} stacks"
            found.append(Wait(sentence=f"{many}, and more than {most} are not planned by themselves."))
        found += self._of_code(merged, touched)
        return tuple(dict.fromkeys(found))

    def _of_code(self, merged: Merged, touched: Touched) -> list[Wait]:
        if not touched.stacks:
            return []
        found: dict[Wait, None] = {}
        earlier = self._stock()
        with (
            self._desk.code.checkout(merged.base) as before,
            self._desk.code.checkout(merged.commit) as after,
        ):
            known = codes.known_providers(before, {each.path for each in earlier})
            for subject in touched.stacks:
                was = earlier.get(subject.stack)
                reads = dict.fromkeys((*(was.reads if was else ()), *subject.reads))
                units = subject.options.engine == "terragrunt"
                found |= dict.fromkeys(
                    codes.reasons(
                        codes.code_of(before, reads, units=units) if was else codes.Code(),
                        codes.code_of(after, subject.reads, units=units),
                        known=known,
                        changed=merged.changed,
                    )
                )
        return list(found)

    # ---- planning ----------------------------------------------------------------------------------------

    def _plan(
        self,
        merged: Merged,
        touched: Touched,
        heard: Heard,
        authors: frozenset[str],
        inputs: str,
        *,
        named: bool,
    ) -> Looked:
        """Plans each stack; where people had to let it be (`named`), only what they may have checked."""
        self._audit(heard.rulings)
        permits = self._permits(heard)
        before = Preview(
            step=Step.PLANNING,
            stacks=tuple(unplanned(each, "", CommitState.PENDING) for each in touched.stacks),
            gone=self._gone(merged, touched),
            **self._common(merged, heard),
        )
        memo = Memo(
            step=Step.PLANNING,
            head=self._pull.head,
            base=merged.base,
            remark=heard.last,
            permits=permits,
            approved=self._approved(heard),
            digest=self._memo.digest if self._memo else "",
        )
        self._say(before, memo)
        seen = self._see(merged, touched, permits if named else None)
        if seen is None:
            return self._moved()
        digest = _overall(self._pull.head, seen)
        done = replace(
            before,
            step=Step.DONE,
            stacks=tuple(each.preview for each in seen),
            digest=digest,
        )
        approved = memo.approved if digest and digest == memo.digest else ()
        memo = replace(memo, step=Step.DONE, inputs=inputs, digest=digest, approved=approved)
        # Kept before the forge is asked once more: it may be away just now, and need not cost the plans.
        self._kept.preview, self._kept.inputs, self._kept.unsaid = done, inputs, memo
        if not self._is_same():
            return self._moved()
        self._finish(done, memo, authors)
        return Looked(outcome=Outcome.PLANNED, passing=done.passing)

    def _see(self, merged: Merged, touched: Touched, permits: Sequence[str] | None) -> list[Seen] | None:
        """What each stack's plan says; None where the pull request has moved meanwhile."""
        protected = any(True for _ in codes.protected(merged.changed, self._desk.protected))
        work = self._of.work / self._desk.name / str(self._pull.number)
        found: list[Seen] = []
        with self._desk.code.checkout(merged.commit) as checkout:
            for place, subject in enumerate(touched.stacks):
                self._give_way()
                if place and not self._may_go_on():
                    return None
                if permits is not None and not self._may_be_checked(subject, permits):
                    found.append(_not_for(subject))
                    continue
                found.append(
                    self._of.speculator.look(
                        subject,
                        checkout,
                        work,
                        self._stop,
                        head=self._pull.head,
                        protected=protected,
                        approval=self._desk.settings.required_for_destroy,
                    )
                )
        return found

    def _may_be_checked(self, subject: Subject, permits: Sequence[str]) -> bool:
        known = self._of.people.by_name
        return any(name in known and known[name].may(Right.CHECK, str(subject.stack)) for name in permits)

    def _give_way(self) -> None:
        while self._of.busy() and not self._stop.is_set():
            self._stop.wait(YIELD_SECONDS)

    def _is_same(self) -> bool:
        now = self._desk.forge.pull_request(self._pull.number)
        if now is None or not now.is_open:
            self._of.forget(self._desk.name, self._pull.number)
            return False
        return (now.head, now.base) == (self._pull.head, self._pull.base)

    def _may_go_on(self) -> bool:
        """Whether the next plan is worth it; only the last look, before anything is said, has to succeed."""
        try:
            return self._is_same()
        except ForgeUnavailableError:
            return True

    def _moved(self) -> Looked:
        self._kept.preview = self._kept.unsaid = None
        logger.info(
            "A pull request is another by now: what was planned is thrown away.",
            action="preview",
            repository=self._desk.name,
            pull_request=self._pull.number,
        )
        return Looked(outcome=Outcome.MOVED)

    def _gone(self, merged: Merged, touched: Touched) -> tuple[GoneStack, ...]:
        if not touched.gone:
            return ()
        with self._desk.code.checkout(merged.base) as before:
            return tuple(
                GoneStack(
                    stack=str(stack),
                    resources=codes.declared(codes.code_of(before, (stack.path,))),
                    open_findings=len(self._of.book.findings_of(stack)),
                )
                for stack in touched.gone
            )

    # ---- saying ------------------------------------------------------------------------------------------

    def _finish(self, preview: Preview, memo: Memo, authors: frozenset[str]) -> None:
        """Says how all stands, with what was approved."""
        stacks = tuple(
            judged(each, memo.approved, people=self._of.people, terms=self._of.terms, authors=authors)
            for each in preview.stacks
        )
        self._say(replace(preview, stacks=stacks), memo)
        self._kept.unsaid = None
        logger.info(
            "A pull request is previewed.",
            action="preview",
            repository=self._desk.name,
            pull_request=self._pull.number,
            commit=self._pull.head,
            stacks=len(stacks),
        )

    def _say_later(
        self, planned: Preview, memo: Memo, merged: Merged, heard: Heard, authors: frozenset[str]
    ) -> Looked:
        """What was planned and the forge did not take; with what people have asked for since."""
        self._audit(heard.rulings)
        if not self._is_same():
            return self._moved()
        preview = replace(
            planned,
            base=merged.base,
            answers=tuple(dict.fromkeys((*planned.answers, *_answers(heard)))),
            unheard=planned.unheard or heard.unheard,
        )
        memo = replace(
            memo,
            base=merged.base,
            remark=heard.last,
            permits=self._permits(heard),
            unheard=memo.unheard or heard.unheard,
        )
        self._finish(preview, memo, authors)
        return Looked(outcome=Outcome.PLANNED, passing=preview.passing)

    def _say_again(self, known: Preview, heard: Heard, authors: frozenset[str], inputs: str) -> Looked:
        """An approval of what is shown already: nothing is planned for that."""
        assert self._memo is not None  # noqa: S101  (what is known was said)
        self._audit(heard.rulings)
        preview = replace(known, answers=_answers(heard), unheard=heard.unheard, base=self._base)
        memo = replace(
            self._memo,
            base=self._base,
            inputs=inputs,
            remark=heard.last,
            approved=self._approved(heard),
            unheard=heard.unheard,
        )
        if not self._is_same():
            return self._moved()
        self._finish(preview, memo, authors)
        return Looked(outcome=Outcome.SETTLED)

    def _approved(self, heard: Heard) -> tuple[str, ...]:
        before = self._memo.approved if self._memo else ()
        return tuple(dict.fromkeys((*before, *heard.approved)))

    def _nothing_new(self, heard: Heard) -> Looked:
        """The branch moved without touching any of it, or somebody asked who may not: no plan for that."""
        self._audit(heard.rulings)
        memo = self._memo
        if memo is not None:
            said = self._body.replace("\r\n", "\n").partition("\n")[2]
            answers = [UNHEARD] if heard.unheard and not memo.unheard else []
            added = [each for each in (*answers, *_answers(heard)) if each not in said]
            if added or memo.base != self._base:
                unheard = memo.unheard or heard.unheard
                memo = replace(memo, base=self._base, remark=heard.last, unheard=unheard)
                self._write(memo, said + "".join(f"\n\n{each}" for each in added))
        self._kept.heard = heard.last
        return Looked(outcome=Outcome.SETTLED)

    def _untouched(self, merged: Merged, heard: Heard, inputs: str) -> Looked:
        """Nothing to plan. Where no comment is there, none is made over that."""
        self._audit(heard.rulings)
        preview = Preview(step=Step.DONE, **self._common(merged, heard))
        is_first = self._said_before is None and not self._with_status()
        if is_first and not heard.rulings and not preview.own_file:
            self._set(self._desk.context, preview.state, preview.said)
            self._kept.quiet = (self._pull.head, merged.base)
        else:
            memo = Memo(
                step=Step.DONE,
                head=self._pull.head,
                base=merged.base,
                inputs=inputs,
                remark=heard.last,
                permits=self._permits(heard),
            )
            self._say(preview, memo)
        return Looked(outcome=Outcome.UNTOUCHED)

    def _wait(
        self, waits: Sequence[Wait], heard: Heard, *, base: str, merged: Merged | None = None
    ) -> Looked:
        """Says what it waits for, once."""
        memo = self._memo
        is_said = memo is not None and memo.step is Step.WAITING and memo.base == base
        if is_said and not (heard.rulings or self._altered):
            self._kept.heard = heard.last
            return Looked(outcome=Outcome.WAITING)
        self._audit(heard.rulings)
        unheard = heard.unheard or (memo is not None and memo.unheard)
        preview = replace(
            Preview(step=Step.WAITING, waits=tuple(waits), **self._common(merged, heard)), unheard=unheard
        )
        self._say(
            preview,
            Memo(
                step=Step.WAITING,
                head=self._pull.head,
                base=base,
                remark=heard.last,
                unheard=unheard,
            ),
        )
        return Looked(outcome=Outcome.WAITING)

    def _unplannable(self, problem: RepositoryError) -> Looked:
        step = Step.CONFLICT if isinstance(problem, MergeConflictError) else Step.FAILED
        heard = self._heard
        report = problem.report()
        is_said = self._memo is not None and self._memo.step is Step.DONE
        if report.passing and is_said and not self._is_last:
            return Looked(outcome=Outcome.FAILED, passing=True)  # what is said stands until more is known
        self._audit(heard.rulings)
        preview = Preview(step=step, error=report, **self._common(None, heard))
        memo = Memo(
            step=step,
            head=self._pull.head,
            base=self._base,
            # Where it could not be looked at, what was asked for is to be heard once more.
            remark=heard.last if step is Step.CONFLICT else self._since,
            permits=self._permits(heard),
            approved=self._approved(heard),
            digest=self._memo.digest if self._memo else "",
        )
        self._say(preview, memo)
        outcome = Outcome.CONFLICT if step is Step.CONFLICT else Outcome.FAILED
        return Looked(outcome=outcome, passing=report.passing)

    def _common(self, merged: Merged | None, heard: Heard) -> _Common:
        return {
            "head": self._pull.head,
            "base": merged.base if merged else None,
            "branch": self._desk.branch,
            "answers": _answers(heard),
            "unheard": heard.unheard,
            "own_file": merged is not None and REPOSITORY_FILE in merged.changed,
            "needed": self._of.terms.needed,
        }

    def _say(self, preview: Preview, memo: Memo) -> None:
        """Sets the statuses, then writes the comment: what the comment remembers is then true."""
        planning = preview.step is Step.PLANNING
        said: dict[str, tuple[CommitState, str]] = {}
        if not planning or len(preview.stacks) <= MANY:
            said |= {each.stack: (each.state, each.said or "Being planned.") for each in preview.stacks}
        if not planning:
            stays = "The stack would be gone; nothing is destroyed."
            said |= {gone.stack: (CommitState.SUCCESS, stays) for gone in preview.gone}
        before = self._with_status()
        # What was said of a stack at this head is not left to stand where nothing is known of it any more.
        said |= {stack: _left(preview) for stack in before if stack not in said}
        for stack, (state, words) in said.items():
            self._kept.stacks[self._pull.head, stack] = None
            self._set(_named(stack), state, words)
        self._set(self._desk.context, preview.state, preview.said)
        memo = replace(memo, stacks=tuple(said))
        mark = written(memo, self._desk.name, self._pull.number, self._sign, "")
        self._write(memo, render(preview, mark).partition("\n")[2])

    def _with_status(self) -> tuple[str, ...]:
        """The stacks that have a status of their own at this head, as far as is remembered."""
        before = self._memo.stacks if self._memo else ()
        return tuple(dict.fromkeys((*before, *(stack for _, stack in self._kept.stacks))))

    def _write(self, memo: Memo, rest: str) -> None:
        """The comment, where it is another than the one that is there."""
        rest = log.redact(rest)  # as the forge's port does: what is sealed is what is written
        body = f"{written(memo, self._desk.name, self._pull.number, self._sign, rest)}\n{rest}"
        if body.strip() != self._body.replace("\r\n", "\n").strip():
            self._desk.forge.say(self._pull.number, mark_of(self._desk.name), body)
            self._body = body
        self._memo, self._altered = memo, False
        self._kept.heard = memo.remark

    def _set(self, context: str, state: CommitState, said: str) -> None:
        """One status, where it is another than the one that was set last."""
        status = CommitStatus(context=context, state=state, description=said[:LONGEST_DESCRIPTION])
        key = (self._pull.head, context)
        if self._kept.statuses.get(key) != status:
            self._desk.forge.set_status(self._pull.head, status)
            self._kept.statuses[key] = status


def _answers(heard: Heard) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.sentence for each in heard.rulings if each.sentence))


def _overall(head: str, seen: Sequence[Seen]) -> str:
    """What an approval names: over the head, and all that would be destroyed. "" where nothing would be."""
    asked = sorted((each.preview.stack, each.digest) for each in seen if each.digest)
    return hashlib.sha256(json.dumps([head, asked]).encode()).hexdigest()[:APPROVAL] if asked else ""


def _not_for(subject: Subject) -> Seen:
    said = "not planned: nobody who let it be planned has the right to check this stack"
    return Seen(preview=unplanned(subject, said, CommitState.ERROR))


def _left(preview: Preview) -> tuple[CommitState, str]:
    """What is to be said of a stack that a preview does not tell of, where an earlier one has."""
    if preview.step is Step.DONE:
        return CommitState.SUCCESS, "It is not touched any more."
    is_coming = preview.step in (Step.PLANNING, Step.WAITING)
    return CommitState.PENDING if is_coming else CommitState.ERROR, preview.said


def _named(stack: str) -> str:
    """A stack's status; a name that is too long for a forge is cut, and told from others by a digest."""
    context = f"{CONTEXT}/{stack}"
    if len(context) <= LONGEST_CONTEXT:
        return context
    digest = hashlib.sha256(stack.encode()).hexdigest()[:DIGEST]
    return f"{context[: LONGEST_CONTEXT - DIGEST - 1]}-{digest}"
