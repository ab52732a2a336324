"""One stack of a pull request: planned as it would be after the merge, and what is to be said of that.

    identify → plan → read → ask what would follow → say

The plan is a check's: with the environment for looking, without the state lock, in a room of its own, and it
is thrown away. Whatever goes wrong is said of this stack, and hides no other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.errors import (
    ConfigurationInvalidError,
    DriftwatchError,
    EngineInterruptedError,
    InitFailedError,
    NotARootModuleError,
    PlanFailedError,
    VariableMissingError,
    VersionMismatchError,
)
from driftwatch.model import CommitState, ErrorReport, FindingKind, Right
from driftwatch.notify.render_preview import StackPreview
from driftwatch.pipeline.preview_outlook import outlook
from driftwatch.pipeline.propose import counted
from driftwatch.pipeline.rehearsal import rehearse
from driftwatch.pipeline.subjects import environment_of, plan_request

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.repair import ApprovalSettings
    from driftwatch.drift import Digester
    from driftwatch.model import Finding, StackId, StoredFinding
    from driftwatch.pipeline.admissions import Clerk
    from driftwatch.pipeline.check import Workshop
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.ports import Planner
    from driftwatch.pipeline.rehearsal import Rehearsal
    from driftwatch.policy.rights import People

_OF_CODE = (
    ConfigurationInvalidError,
    InitFailedError,
    NotARootModuleError,
    PlanFailedError,
    VariableMissingError,
    VersionMismatchError,
)
"""What the code is to blame for: the pull request is not good. Of all else nobody knows."""

logger = log.get("preview")


class Findings(Protocol):
    """Where findings are kept."""

    def findings_of(self, stack: StackId) -> Sequence[StoredFinding]:
        """Those of a stack that are not resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is said of a stack, and a digest of what an approval of it would cover, where it needs one."""

    preview: StackPreview
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculator:
    """Plans what is not merged. `planner` plans, and has nothing that could apply."""

    workshop: Workshop
    planner: Planner
    findings: Findings
    clerk: Clerk
    digester: Digester
    clock: Callable[[], datetime]

    def look(
        self,
        subject: Subject,
        checkout: Path,
        work: Path,
        stop: threading.Event,
        *,
        head: str,
        protected: bool,
        approval: bool,
    ) -> Seen:
        """Plans one stack at the merge that is checked out.

        `head` is the commit that an approval is bound to, `approval` whether destroying asks for one. Raises
        EngineInterruptedError where it was stopped, and nothing else.
        """
        try:
            return self._look(
                subject, checkout, work, stop, head=head, protected=protected, approval=approval
            )
        except EngineInterruptedError:
            raise
        except DriftwatchError as problem:
            state = CommitState.FAILURE if isinstance(problem, _OF_CODE) else CommitState.ERROR
            return _failed(subject, problem.report(), state)
        except OSError as problem:
            said = log.redact(str(problem))
            return _failed(subject, ErrorReport(code="machine_failed", message=said, passing=True))
        except Exception as problem:  # a fault of ours is this stack's error, and hides no other stack
            logger.exception("A stack could not be previewed.", action="preview", stack=str(subject.stack))
            said = log.redact(f"{type(problem).__name__}: {problem}")
            return _failed(subject, ErrorReport(code="internal_error", message=said))

    def _look(
        self,
        subject: Subject,
        checkout: Path,
        work: Path,
        stop: threading.Event,
        *,
        head: str,
        protected: bool,
        approval: bool,
    ) -> Seen:
        if account := subject.options.identity.aws_account:
            self.workshop.identities.expect({**self.workshop.inherited, **environment_of(subject)}, account)
        planned = self.planner.plan(plan_request(subject, checkout, work), stop)
        rehearsal = rehearse(
            planned,
            stack=subject.stack,
            commit=subject.commit,
            tree=subject.tree,
            workshop=self.workshop,
            digester=self.digester,
            now=self.clock(),
        )
        coming = outlook(self.clerk, subject, rehearsal, protected=protected)
        asks = approval and any(each.destroys for each in rehearsal.facts.changes)
        preview = StackPreview(
            stack=str(subject.stack),
            state=CommitState.SUCCESS,
            said=counted(rehearsal.summary),
            summary=rehearsal.summary,
            findings=_told(rehearsal),
            notes=tuple(_notes(rehearsal)),
            already=self._already(subject.stack),
            after=coming.after,
            held=coming.held,
            denied=coming.denied,
            approval=asks,
        )
        # Bound to the head that people see, not to the merge, which only this machine knows.
        digest = replace(rehearsal, commit=head).digest_for(()) if asks else ""
        return Seen(preview=preview, digest=digest)

    def _already(self, stack: StackId) -> tuple[Finding, ...]:
        return tuple(each.finding for each in self.findings.findings_of(stack) if each.is_to_be_closed)


def unplanned(subject: Subject, said: str, state: CommitState) -> StackPreview:
    """What is said of a stack that was not looked at."""
    return StackPreview(stack=str(subject.stack), state=state, said=said)


def judged(
    preview: StackPreview,
    approved: Iterable[str],
    *,
    people: People,
    terms: ApprovalSettings,
    authors: Collection[str],
) -> StackPreview:
    """How a stack that was planned stands, with those of whom an approval is there.

    Pure. Who has no right for just this stack, or not any more, has not approved it; nor has who made the
    change, where the settings say so.
    """
    if preview.summary is None:
        return preview
    said = counted(preview.summary)
    if preview.denied:
        return replace(preview, state=CommitState.FAILURE, said=f"{said}; own rules do not allow it")
    if not preview.approval:
        return replace(preview, state=CommitState.SUCCESS, said=said)
    names = tuple(
        name
        for name in dict.fromkeys(approved)
        if (person := people.by_name.get(name)) is not None
        and person.may(Right.APPROVE, preview.stack)
        and name not in authors
    )
    if len(names) >= terms.needed:
        return replace(preview, state=CommitState.SUCCESS, said=f"{said}; approved", approved=names)
    return replace(preview, state=CommitState.FAILURE, said=f"{said}; to be approved", approved=names)


def _told(rehearsal: Rehearsal) -> tuple[Finding, ...]:
    """The findings that say more of what is shown of the plan."""
    shown = {each.address for each in rehearsal.summary.changes}
    return tuple(each for each in rehearsal.reading.findings if each.address in shown)


def _notes(rehearsal: Rehearsal) -> list[str]:
    notes = [rehearsal.reading.mass_deletion] if rehearsal.reading.mass_deletion else []
    notes += [
        f"{each.address} fails: {each.message or 'what it asserts does not hold'}"
        for each in rehearsal.reading.findings
        if each.kind is FindingKind.CHECK_FAILED
    ]
    return notes


def _failed(subject: Subject, error: ErrorReport, state: CommitState = CommitState.ERROR) -> Seen:
    words = "the plan fails" if state is CommitState.FAILURE else "could not be planned"
    said = f"{words} ({error.code})"
    return Seen(preview=StackPreview(stack=str(subject.stack), state=state, said=said, error=error))
