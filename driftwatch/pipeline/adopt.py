"""Adopt: from findings to a pull request that brings the code to the cloud.

    plan → the findings still? → edit → draft → plan → proved? → publish → offer, and report what was refused

The draft is a commit that only this machine knows, until a plan of it has shown that the differences are gone
and nothing else has come. Nothing is applied here, no branch is touched but one of our own, and no secret is
written into code. What cannot be edited safely is told with its place and its value: in the answer, and where
there is a forge, in an issue.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

from driftwatch import log
from driftwatch.drift.redaction import mask_of
from driftwatch.errors import (
    DriftwatchError,
    EngineError,
    EngineInterruptedError,
    ForgeError,
    Remedy,
    StoreError,
    UnknownStackError,
    UnsafeRepositoryError,
)
from driftwatch.git.branches import branch_of
from driftwatch.git.drafting import Edits
from driftwatch.hcl.editing import Refusal, block_text, shown
from driftwatch.hcl.stack_code import StackCode
from driftwatch.hcl.writing import quoted
from driftwatch.model import (
    DRIFTWATCH,
    Adopted,
    AdoptionWish,
    Cause,
    FindingKind,
    NotAdopted,
)
from driftwatch.pipeline import adopt_words as words
from driftwatch.pipeline.committed import Committed, Texts
from driftwatch.pipeline.ports import Drafts
from driftwatch.pipeline.rehearsal import rehearse
from driftwatch.pipeline.subjects import environment_of, plan_request, subject_of
from driftwatch.policy.adoption import AGAIN, Deeds, fresh, unproved
from driftwatch.policy.course import Then, course_of
from driftwatch.policy.digests import exact, is_unknown
from driftwatch.policy.secrecy import is_secret_path, looks_secret

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.repair import RepairSettings
    from driftwatch.drift import Digester
    from driftwatch.hcl.stack_code import Done
    from driftwatch.model import Adoption, AttributeChange, Finding, StackId, StoredFinding, Suspension
    from driftwatch.pipeline.check import Workshop
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.ports import Offers, Planner
    from driftwatch.pipeline.rehearsal import Rehearsal

IMPORTED = "imported.tf"
"""Where imports are written in a stack's directory."""

LOOK_AGAIN = timedelta(minutes=10)
"""Between two looks at a remote for whether what was adopted before is merged."""

MOST_TOLD = 20
"""Refusals of one adoption that the log tells of; all of them are kept."""

MOST_PAST = 50
"""Earlier adoptions whose refusals an issue goes on to tell."""

MOST_PLANS = 24
"""Plans of drafts that one adoption may take to find out which of its edits do not hold."""

_LONGEST_SLUG = 60
_BY_HAND = frozenset({Cause.OUT_OF_BAND})
_PASSING = frozenset({"gone", "changed"})
"""Refusals of what differs no more, or otherwise: nobody has to edit anything for them."""

_KINDS = frozenset({FindingKind.MODIFIED, FindingKind.REPLACED, FindingKind.DELETED})
_IMPORTABLE = re.compile(r"([\w-]+)\.([\w-]+)")

_Written: TypeAlias = "list[Done] | Refusal"

logger = log.get("adopt")


class Book(Protocol):
    """Where findings are kept, and what was wished for."""

    def findings_of(self, stack: StackId) -> Sequence[StoredFinding]:
        """Those of a stack that are not resolved."""

    def ask_adoption(self, wish: AdoptionWish, at: datetime) -> int: ...

    def adoptions_asked(self) -> Mapping[int, AdoptionWish]:
        """Those that have no answer yet."""

    def adoptions(
        self, *, stack: StackId | None = None, by: str | None = None, limit: int | None = None
    ) -> Sequence[Adoption]:
        """What was wanted, the newest first, with what came of it."""

    def answer_adoption(self, number: int, adopted: Adopted, at: datetime) -> None: ...


class Record(Protocol):
    """Where people say that nothing is to be done by itself, and read what was."""

    def suspension_of(self, stack: StackId, at: datetime) -> Suspension | None: ...

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
    ) -> bool: ...


class Shelf(Book, Record, Protocol):
    """The store, as an adoption sees it."""


class Bench(Drafts, Texts, Protocol):
    """A repository, as an adoption sees it."""

    def stands(self, branch: str) -> bool:
        """Whether a branch of ours is on the remote, with something that is not merged yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A repository as adoptions use it: where drafts are made, and where they are offered, if anywhere.

    `branch` is the one that stacks are deployed from.
    """

    drafts: Bench
    branch: str
    offers: Offers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is adopted or not as one: a finding, or an import.

    `paths` are the pointers that are edited, None where it is about the whole resource. `left` are those that
    differ too, and stay as they are: what the code wants there is known only after an apply.
    """

    address: str
    paths: frozenset[str] | None
    write: Callable[[StackCode], _Written]
    said: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What has come of it so far."""

    refused: list[NotAdopted] = field(default_factory=list)
    plans: int = 0
    draft: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    done: list[tuple[Unit, list[Done]]] = field(default_factory=list)

    def refuse(self, unit: Unit, reason: str, sentence: str) -> None:
        self.refused.append(NotAdopted(address=unit.address, reason=reason, sentence=sentence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopter:
    """Brings code to the cloud. `work` is a directory of its own for plans of drafts."""

    workshop: Workshop
    book: Shelf
    planner: Planner
    digester: Digester
    settings: RepairSettings
    hosts: Mapping[str, Host]
    work: Path
    clock: Callable[[], datetime]
    looked_at: dict[StackId, datetime] = field(default_factory=dict)
    """When something of ours was last found to be still on offer."""

    # ---- what is wanted --------------------------------------------------------------------------------

    def asked(self) -> Mapping[int, AdoptionWish]:
        """What waits to be adopted, by number."""
        return self.book.adoptions_asked()

    def is_due(self, stack: StackId) -> bool:
        """Whether `follow_up` may find something to do. Asks the store alone."""
        looked_at = self.looked_at.get(stack)
        if looked_at is not None and self.clock() - looked_at < LOOK_AGAIN:
            return False
        return bool(self._due(stack))

    def follow_up(self, stack: StackId) -> None:
        """Writes down that a stack's drift is to be adopted, where its course says so and it is news.

        While what was adopted so before waits to be merged, nothing else is: one pull request is enough to
        look at. Asks the remote for that; raises RepositoryError.
        """
        found = self._due(stack)
        if not found:
            return
        self.looked_at[stack] = self.clock()
        if self._stands(stack):
            return
        del self.looked_at[stack]
        wish = AdoptionWish(
            stack=stack,
            by=DRIFTWATCH,
            findings=tuple(found),
            marks=tuple(found.values()),
            reason="The stack's course is to adopt its drift.",
        )
        self.book.ask_adoption(wish, self.clock())

    def _due(self, stack: StackId) -> dict[str, str]:
        """The findings to adopt now by itself, by their fingerprints, with what each is known by later."""
        wanted = {each.fingerprint: _mark(each, self.digester) for each in self._wanted(stack)}
        if not wanted:
            return {}
        if not fresh(wanted, self.book.adoptions(stack=stack, by=DRIFTWATCH, limit=1), self.clock()):
            return {}  # nearly always, and one row says so
        return fresh(wanted, self.book.adoptions(stack=stack, by=DRIFTWATCH), self.clock())

    def _wanted(self, stack: StackId) -> Sequence[Finding]:
        """The findings that the stack's course is to adopt, and that nobody has put aside."""
        try:
            subject = subject_of(stack, self.workshop)
        except UnknownStackError:
            return ()
        options = subject.options
        courses = {options.on_drift, *(each.then for each in self.settings.courses)}
        if Then.ADOPT.value not in courses:
            return ()
        found = [
            each.finding
            for each in self.book.findings_of(stack)
            if each.is_to_be_closed
            and each.finding.kind in _KINDS
            and self._course(each.finding, subject) is Then.ADOPT
        ]
        if not found or self.workshop.pinned(stack) or self.book.suspension_of(stack, self.clock()):
            return ()
        return sorted(found, key=lambda each: each.fingerprint)

    def _stands(self, stack: StackId) -> bool:
        """Whether what was last adopted by itself is still on offer."""
        past = self.book.adoptions(stack=stack, by=DRIFTWATCH)
        made = (each.adopted.branch for each in past if each.adopted is not None and not each.adopted.error)
        branch = next(filter(None, made), None)
        return branch is not None and self.hosts[stack.repository].drafts.stands(branch)

    def _course(self, finding: Finding, subject: Subject) -> Then:
        options = subject.options
        return course_of(
            finding,
            stack=str(subject.stack),
            labels=options.labels,
            on_drift=options.on_drift,
            on_commit=options.on_commit,
            rules=self.settings.courses,
        ).then

    def carry_out(self, number: int, wish: AdoptionWish, stop: threading.Event) -> None:
        """Does what is wanted, and answers.

        Raises EngineInterruptedError and StoreError; and where nobody waits for the answer, whatever may pass
        by itself: then it is tried again, for a day.
        """
        try:
            adopted = self._adopt_still(wish, stop)
        except (StoreError, EngineInterruptedError):
            raise
        except DriftwatchError as problem:
            may_pass = wish.by == DRIFTWATCH and problem.remedy is Remedy.RETRY
            if may_pass and not self._is_old(number, wish.stack):
                raise
            adopted = Adopted(error=problem.message)
        except Exception:
            logger.exception(
                "An adoption failed for a reason of driftwatch's own.",
                action="adopt",
                stack=str(wish.stack),
            )
            adopted = Adopted(error="a mistake of driftwatch's own is in the way, which its log tells of")
        at = self.clock()
        self.book.answer_adoption(number, adopted, at)
        self.book.note(
            at=at,
            actor=wish.by,
            via="repair",
            action="adopt",
            subject=f"{wish.stack}, adoption {number}",
            outcome=words.outcome_of(adopted),
            reason=wish.reason,
        )
        self._tell(number, wish, adopted)

    def _is_old(self, number: int, stack: StackId) -> bool:
        """Whether a wish of driftwatch's own was tried for a whole day: it may be made anew after that."""
        at = next(
            (each.at for each in self.book.adoptions(stack=stack, by=DRIFTWATCH) if each.number == number),
            None,
        )
        return at is not None and self.clock() - at >= AGAIN

    def _tell(self, number: int, wish: AdoptionWish, adopted: Adopted) -> None:
        """Says in the log what came of it: of what was wanted by itself, nobody waits for the answer."""
        where = {"action": "adopt", "stack": str(wish.stack), "adoption": number}
        if adopted.branch:
            logger.info("Drift was brought into the code.", branch=adopted.branch, url=adopted.url, **where)
        elif not adopted.skipped:
            logger.warning("Drift could not be adopted.", refused=len(adopted.refused), **where)
        if adopted.error:
            level = logger.info if adopted.skipped else logger.warning
            level(f"An adoption has not come to its end: {adopted.error}", **where)
        for each in adopted.refused[:MOST_TOLD]:
            logger.warning(
                f"Drift is left to people: {words.line_of(each.sentence)}.",
                address=each.address,
                path=each.path or None,
                place=each.place or None,
                reason=each.reason,
                **where,
            )

    def _adopt_still(self, wish: AdoptionWish, stop: threading.Event) -> Adopted:
        """Adopts what was wanted; of what was by itself, what still is: it may have waited for long."""
        if wish.by != DRIFTWATCH:
            return self.adopt(wish, stop)
        still = {each.fingerprint for each in self._wanted(wish.stack)}
        left = tuple(each for each in wish.findings if each in still)
        if not left:
            return Adopted(error="it is no longer wanted", skipped=True)
        return self.adopt(replace(wish, findings=left), stop)

    # ---- doing it --------------------------------------------------------------------------------------

    def adopt(self, wish: AdoptionWish, stop: threading.Event) -> Adopted:
        """Edits, proves and offers. Raises as a plan does, RepositoryError, and ForgeError."""
        if pin := self.workshop.pinned(wish.stack):
            raise DriftwatchError(
                f"{wish.stack} was rolled back and stays at {pin[:10]}: its code is not edited"
            )
        subject = subject_of(wish.stack, self.workshop)
        self._expect_identity(subject)
        before = self._plan(subject, subject.commit, stop)
        if before.reading.mass_deletion:
            raise DriftwatchError(f"nothing is adopted: {before.reading.mass_deletion}")
        outcome = Outcome()
        trial = _Trial(self, subject, self._code(subject), before, stop, outcome)
        self._settle(trial, [*self._findings(wish, before, outcome), *self._imports(wish, trial)])
        return self._offer(wish, subject, outcome)

    def _expect_identity(self, subject: Subject) -> None:
        if account := subject.options.identity.aws_account:
            given = {**self.workshop.inherited, **environment_of(subject)}
            self.workshop.identities.expect(given, account)

    def _plan(self, subject: Subject, commit: str, stop: threading.Event) -> Rehearsal:
        """A plan of a commit, in a directory that no check uses."""
        with self.workshop.checkouts[subject.stack.repository].checkout(commit) as checkout:
            planned = self.planner.plan(plan_request(subject, checkout, self.work), stop)
        return rehearse(
            planned,
            stack=subject.stack,
            commit=commit,
            tree=None,
            workshop=self.workshop,
            digester=self.digester,
            now=self.clock(),
        )

    def _code(self, subject: Subject) -> StackCode:
        """The stack's code, and who else reads what of it."""
        options, root = subject.options, posixpath.normpath(subject.stack.path)
        given = set(options.variables)
        given |= {
            name.removeprefix("TF_VAR_")
            for name in [*self.workshop.inherited, *environment_of(subject)]
            if name.startswith("TF_VAR_")
        }
        reader = Committed(self.hosts[subject.stack.repository].drafts, subject.commit)
        return StackCode(
            root="" if root == "." else root,
            read=reader.directory,
            shared=lambda file: self._other_reader(subject, file) or reader.other_caller(subject, file),
            var_files=tuple(posixpath.normpath(posixpath.join(root, each)) for each in options.var_files),
            given=frozenset(given),
        )

    def _other_reader(self, subject: Subject, file: str) -> str | None:
        """Another stack that reads a file; one in another workspace is another, too."""
        for other in self.workshop.inventory.subjects():
            if other.stack != subject.stack and other.stack.repository == subject.stack.repository:
                reads = {posixpath.normpath(each) for each in other.reads}
                if file in reads or (posixpath.dirname(file) or ".") in reads:
                    return str(other.stack)
        return None

    # ---- findings --------------------------------------------------------------------------------------

    def _findings(self, wish: AdoptionWish, before: Rehearsal, outcome: Outcome) -> Iterator[Unit]:
        """The findings that are wished for, as they are now."""
        known = {each.finding.fingerprint: each for each in self.book.findings_of(wish.stack)}
        now = {each.identity: each for each in before.reading.findings}
        for fingerprint in wish.findings:
            stored = known.get(fingerprint)
            if stored is None:
                outcome.refused.append(
                    NotAdopted(
                        address="a finding",
                        reason="gone",
                        sentence="it is resolved, or differs otherwise by now: look at it once more",
                    )
                )
                continue
            finding = now.get(stored.finding.identity)
            if finding is None or finding.fingerprint != fingerprint:
                outcome.refused.append(
                    NotAdopted(
                        address=stored.finding.address,
                        reason="changed",
                        sentence="it is another by now than when it was last checked",
                    )
                )
            elif unit := _unit_of(stored, finding, outcome):
                yield unit

    # ---- imports ---------------------------------------------------------------------------------------

    def _imports(self, wish: AdoptionWish, trial: _Trial) -> Iterator[Unit]:
        """Configuration for what was made by hand, as terraform generates it."""
        file, outcome = posixpath.join(trial.code.root, IMPORTED), trial.outcome
        for address, name in sorted(wish.imports.items()):
            unit = Unit(address=address, paths=None, write=lambda _code: [])
            labels = _IMPORTABLE.fullmatch(address)
            if labels is None:
                outcome.refuse(
                    unit, "not_importable", "only a resource of the root module itself is imported"
                )
                continue
            block = f"import {{\n  to = {address}\n  id = {quoted(name)}\n}}\n"
            try:
                text = self._generated(trial, address, block)
            except (UnsafeRepositoryError, EngineError) as problem:
                if problem.remedy is Remedy.RETRY:
                    raise
                outcome.refuse(unit, problem.code, f"it cannot be imported: {problem.message}")
                continue
            if text is None:
                outcome.refuse(
                    unit, "sensitive", "its configuration holds a secret, which is not written into code"
                )
                continue
            yield replace(unit, write=_appending(file, address, name, f"{block}\n{text}\n"))

    def _generated(self, trial: _Trial, address: str, block: str) -> str | None:
        """The resource block of an import; None where a secret belongs into it."""
        code, subject = trial.code.copy(), trial.subject
        code.append(posixpath.join(code.root, IMPORTED), block.encode())
        draft = self.hosts[subject.stack.repository].drafts.draft(
            Edits(onto=subject.commit, files=dict(code.edited), message=f"Try to import {address}")
        )
        with self.workshop.checkouts[subject.stack.repository].checkout(draft) as checkout:
            request = replace(plan_request(subject, checkout, self.work), generates=True)
            planned = self.planner.plan(request, trial.stop)
        kind, _, name = address.partition(".")
        text = block_text(planned.generated or b"", ("resource", kind, name))
        masks = [
            each.get("change", {}).get("after_sensitive")
            for each in planned.document.get("resource_changes", [])
            if each.get("address") == address
        ]
        if text is None or any(map(mask_of, masks)) or b"# sensitive" in text:
            return None
        said = text.decode()
        return None if looks_secret(said) else said

    # ---- trying ----------------------------------------------------------------------------------------

    def _settle(self, trial: _Trial, units: Sequence[Unit]) -> None:
        """Finds what holds: all of it, else all but what speaks against itself, else the halves that do."""
        left = trial.writable(units)
        while left:
            against = trial.attempt(left)
            if not against:
                return
            said = {each.address: each.sentence for each in against}
            named = [unit for unit in left if unit.address in said]
            if len(left) == 1 or named:
                trial.refuse(named or left, against)
                left = [unit for unit in left if unit not in named] if named else []
            else:
                good = [*self._holding(trial, left[::2]), *self._holding(trial, left[1::2])]
                if len(good) == len(left):  # each half for itself, and not together
                    trial.refuse(left[1::2], against)
                    good = left[::2]
                left = good

    def _holding(self, trial: _Trial, units: Sequence[Unit]) -> Sequence[Unit]:
        """Those that hold without the others, as far as there is patience to find out."""
        against = trial.attempt(units)
        if not against:
            return units
        if len(units) == 1 or trial.outcome.plans >= MOST_PLANS:
            trial.refuse(units, against)
            return []
        return [*self._holding(trial, units[::2]), *self._holding(trial, units[1::2])]

    # ---- offering --------------------------------------------------------------------------------------

    def _offer(self, wish: AdoptionWish, subject: Subject, outcome: Outcome) -> Adopted:
        host = self.hosts[wish.stack.repository]
        branch = url = issue = None
        refused = tuple(outcome.refused)
        error = None
        if outcome.draft is not None:
            opened = host.drafts.publish(outcome.draft, _branch(wish.stack, outcome.files))
            branch = opened.branch
            error = None if branch else "the branch says so by now: look at the stack once more"
        try:
            if host.offers is not None and branch is not None:
                url = host.offers.offer(
                    branch=branch,
                    base=host.branch,
                    title=words.title(wish, outcome),
                    body="\n".join(words.body(wish, subject, outcome)),
                )
            standing = self._standing(wish, refused)
            if host.offers is not None and standing:
                mark = f"<!-- driftwatch:adopt {words.line_of(str(wish.stack))} -->"
                body = "\n".join((mark, "", *words.issue(wish, subject, standing, url)))
                title = f"Drift of {words.line_of(str(wish.stack))} that the code cannot be brought to"
                issue = host.offers.report(mark=mark, title=title, body=body)
        except ForgeError as problem:
            if wish.by == DRIFTWATCH and problem.remedy is Remedy.RETRY:
                raise
            error = f"the forge was not told: {problem.message}"
        edits = tuple(words.edit_line(each) for _, done in outcome.done for each in done)
        return Adopted(branch=branch, url=url, issue=issue, edits=edits, refused=refused, error=error)

    def _standing(self, wish: AdoptionWish, refused: Sequence[NotAdopted]) -> Sequence[NotAdopted]:
        """What people have to see to in the whole stack, where there is anything new.

        That is what is refused now, and of what was earlier, all that still differs and was not tried since.
        """
        news = [each for each in refused if each.reason not in _PASSING]
        if not news:
            return ()
        known = {each.finding.fingerprint: each for each in self.book.findings_of(wish.stack)}
        open_now = {each.finding.address for each in known.values() if each.status.is_open}
        told = _about(wish, known) | {each.address for each in refused}
        for past in self.book.adoptions(stack=wish.stack, limit=MOST_PAST):
            earlier = past.adopted.refused if past.adopted else ()
            news += [
                each for each in earlier if each.address in open_now - told and each.reason not in _PASSING
            ]
            told |= _about(past.wish, known) | {each.address for each in earlier}
        return news


class _Against(Protocol):
    @property
    def address(self) -> str | None: ...

    @property
    def sentence(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """A plan of a draft that could not be made."""

    address: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class _Trial:
    """Attempts at one stack, from one commit."""

    adopter: Adopter
    subject: Subject
    code: StackCode
    before: Rehearsal
    stop: threading.Event
    outcome: Outcome

    def writable(self, units: Sequence[Unit]) -> list[Unit]:
        """Those that can be edited, one after the other; what cannot is refused with its place."""
        code, found = self.code.copy(), []
        for unit in units:
            attempt = code.copy()
            written = unit.write(attempt)
            if isinstance(written, Refusal):
                self.outcome.refused.append(_refused(unit.address, written))
            else:
                code = attempt
                found.append(unit)
        return found

    def refuse(self, units: Sequence[Unit], against: Sequence[_Against]) -> None:
        """Says of each what speaks against it, or else what does against all of them."""
        said = {each.address: each.sentence for each in against}
        others = "; ".join(each.sentence for each in against if each.address is None)
        for unit in units:
            self.outcome.refuse(unit, "not_proved", f"with the edit, {said.get(unit.address) or others}")

    def attempt(self, units: Sequence[Unit]) -> Sequence[_Against]:
        """Edits, drafts and plans; keeps what holds. Returns what speaks against it."""
        self.outcome.draft, self.outcome.files, self.outcome.done = None, {}, []
        self.outcome.plans += 1
        code, done = self.code.copy(), []
        for unit in units:
            written = unit.write(code)
            if isinstance(written, Refusal):
                return [_Failure(address=unit.address, sentence=written.sentence)]
            done.append((unit, written))
        host = self.adopter.hosts[self.subject.stack.repository]
        message = "\n".join(words.message(self.subject.stack, done))
        edits = Edits(onto=self.subject.commit, files=dict(code.edited), message=message)
        try:
            draft = host.drafts.draft(edits)
            after = self.adopter._plan(self.subject, draft, self.stop)  # noqa: SLF001  (its own trial)
        except UnsafeRepositoryError as problem:
            return [_Failure(address=None, sentence=problem.message)]
        except EngineError as problem:
            if problem.remedy is Remedy.RETRY:
                raise
            return [_Failure(address=None, sentence=f"the code does not plan: {problem.message}")]
        adopted = {unit.address: unit.paths for unit in units}
        findings = [each for each in self.before.reading.findings if each.address in adopted]
        against = unproved(
            _deeds(self.before), _deeds(after), adopted=adopted, following=after.following(findings)
        )
        if against:
            return against
        if failed := _new_failures(self.before, after):
            return [_Failure(address=None, sentence=f"{failed} would fail")]
        self.outcome.draft, self.outcome.files, self.outcome.done = draft, dict(code.edited), done
        return ()


# ---- pure ----------------------------------------------------------------------------------------------


def _unit_of(stored: StoredFinding, finding: Finding, outcome: Outcome) -> Unit | None:
    """What a finding asks for; None, and said why, where no edit is for it."""
    said = tuple(words.evidence(stored))
    unit = Unit(address=finding.address, paths=None, write=lambda _code: [], said=said)
    if finding.kind is FindingKind.DELETED:
        return replace(unit, write=lambda code: _one(code.forget(finding.address)))
    if finding.kind not in _KINDS:
        outcome.refuse(unit, "not_adoptable", f"a finding of kind {finding.kind} is not brought into code")
        return None
    changes = [each for each in finding.attributes if each.cause is Cause.OUT_OF_BAND]
    settled = [each for each in changes if not is_unknown(each.after)]
    if not settled:
        outcome.refuse(unit, "not_by_hand", "nothing of it was changed by hand, as far as is known")
        return None
    for each in settled:
        secret = each.sensitive or is_secret_path(each.path) or looks_secret([each.actual, each.after])
        if secret or each.also is not None:
            reason, sentence = (
                ("sensitive", "it is sensitive, and a secret is not written into code")
                if secret
                else ("code_moved", "the code has changed there too, and is not applied yet")
            )
            outcome.refused.append(
                NotAdopted(address=finding.address, reason=reason, sentence=sentence, path=each.path)
            )
            return None
    return replace(
        unit,
        paths=frozenset(each.path for each in settled),
        left=tuple(each.path for each in changes if is_unknown(each.after)),
        write=lambda code: _written(code, finding.address, settled),
    )


def _written(code: StackCode, address: str, changes: Sequence[AttributeChange]) -> _Written:
    """Edits all attributes of one finding; or none, where one of them is refused."""
    done: list[Done] = []
    for change in changes:
        made = code.set(address, change.path, now=change.after, wanted=change.actual)
        if isinstance(made, Refusal):
            return made
        done.append(made)
    return done


def _one(made: Done | Refusal) -> _Written:
    return made if isinstance(made, Refusal) else [made]


def _appending(file: str, address: str, name: str, text: str) -> Callable[[StackCode], _Written]:
    def write(code: StackCode) -> _Written:
        return _one(code.add(file, text.encode(), f"{address} is imported, which the cloud knows as {name}"))

    return write


def _refused(address: str, refusal: Refusal) -> NotAdopted:
    secret = refusal.reason == "sensitive"
    return NotAdopted(
        address=address,
        reason=refusal.reason,
        sentence=refusal.sentence,
        place=refusal.place,
        path=refusal.path,
        wanted="" if secret or not refusal.path else shown(refusal.wanted),
    )


def _about(wish: AdoptionWish, known: Mapping[str, StoredFinding]) -> set[str]:
    """The addresses that a wish is about, as far as they are known."""
    found = {known[each].finding.address for each in wish.findings if each in known}
    return found | set(wish.imports)


def _mark(finding: Finding, digester: Digester) -> str:
    """What a finding is known by after its end: the same difference is the same, whenever it comes."""
    said = [[each.path, each.actual, each.after] for each in finding.attributes if each.cause in _BY_HAND]
    return digester.hex(exact([finding.address, finding.kind.value, sorted(said, key=exact)]))


def _deeds(rehearsal: Rehearsal) -> Deeds:
    """Compared by values, too: a plan may touch the same things to another end."""
    return Deeds.of(rehearsal.plan, rehearsal.facts, rehearsal.digester.hex)


def _new_failures(before: Rehearsal, after: Rehearsal) -> str | None:
    """A check that fails only with the draft."""
    known = {each.identity for each in before.reading.findings}
    for each in after.reading.findings:
        if each.kind is FindingKind.CHECK_FAILED and each.identity not in known:
            return each.address
    return None


def _branch(stack: StackId, files: Mapping[str, bytes]) -> str:
    """By its content: the same edits come to the same branch."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + hashlib.sha256(files[path]).digest())
    return branch_of("adopt", str(stack), digest.hexdigest()[:8], longest=_LONGEST_SLUG)
