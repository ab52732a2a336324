"""The store: what driftwatch knows and must not forget, asked for and changed by intention.

Its place in the flow is `record`: a check, what it means for findings, and the messages that tell of it are
one transaction. Intent is a row before the work starts (due times, jobs, messages), so that a restart goes on
from the rows. It decides nothing about drift and sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

from driftwatch.drift import Flapping
from driftwatch.errors import UnknownStackError
from driftwatch.model import DRIFTWATCH
from driftwatch.store import (
    adoptions,
    audit,
    checks,
    findings,
    incidents,
    jobs,
    kept,
    lives,
    outbox,
    proposals,
    removed,
    repair_news,
    repairs,
    schema,
    stacks,
    suspensions,
    tokens,
    told,
    wishes,
)
from driftwatch.store.codec import writable_result
from driftwatch.store.engine import Backend, Database
from driftwatch.store.leader import Leadership
from driftwatch.store.values import ActedOnAll, Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from driftwatch.drift import Press, Refused
    from driftwatch.model import (
        Adopted,
        Adoption,
        AdoptionWish,
        Announcement,
        ApplyRun,
        Cancellation,
        CheckResult,
        Decision,
        ErrorReport,
        FindingStatus,
        Granted,
        Hold,
        Incident,
        Inputs,
        Job,
        JobState,
        Message,
        Pin,
        Proposal,
        ProposalDraft,
        ProposalState,
        StackDeclaration,
        StackId,
        StackStatus,
        StoredFinding,
        Suspension,
        Token,
        Trigger,
        Wish,
    )
    from driftwatch.store.incidents import OpenFinding
    from driftwatch.store.values import (
        Acted,
        AuditEntry,
        Enqueued,
        FindingEvent,
        KeptCheck,
        KeptJob,
        Page,
        Proof,
        ProposalEvent,
        Recorded,
        RepositoryStatus,
        SyncedStacks,
        Upgraded,
    )

PATIENCE = 10.0
"""Seconds to wait for somebody else's lock before a transaction is tried again: SQLite's writers take
milliseconds, so who holds it for longer is a backup or a shell, and a check can wait for those."""

_BATCH = 2_000
"""Rows deleted in one transaction: a writer that waits behind it waits for tens of milliseconds."""


class Store:
    """One per process, for all threads.

    Every method raises a StoreError (StoreUnavailableError, StoreLockedError, StoreCorruptError …) or
    DiskFullError where the database does not do its part; nothing is half written then.
    """

    def __init__(
        self,
        database: Database,
        upgraded: Upgraded,
        *,
        flapping: Flapping | None = None,
        voice: Voice | None = None,
    ) -> None:
        self._database = database
        self._flapping = flapping or Flapping()
        self._voice = voice or Voice()
        self._leadership = Leadership(database.backend)
        self.upgraded = upgraded
        """What opening it did to the schema."""

    @classmethod
    def open(
        cls,
        *,
        state_dir: Path,
        database: str | None,
        patience: float = PATIENCE,
        flapping: Flapping | None = None,
        voice: Voice | None = None,
    ) -> Self:
        """Opens the database, made or upgraded as needed: a file in `state_dir`, or the URL of a PostgreSQL.

        `flapping` says which findings count as coming and going; `voice` who is told of what and when, by
        default all channels of everything, at once. Its channels are those for what a person did; checks and
        the like say themselves which there are.
        Raises StoreNewerError, StoreCorruptError, StoreLockedError, StoreUnavailableError, and ConfigError
        where `database` is not the URL of a PostgreSQL.
        """
        opened = Database(_backend(state_dir, database, patience))
        try:
            return cls(opened, schema.upgrade(opened), flapping=flapping, voice=voice)
        except BaseException:
            opened.close()
            raise

    def close(self) -> None:
        """Gives the connections back. Who still waits for a lock is told that it is locked."""
        self._leadership.close()
        self._database.close()

    def leads(self) -> bool:
        """True where this process says what is due and speaks; always, where no other daemon can be."""
        return not self._database.backend.is_shared or self._leadership.held()

    def damage(self) -> tuple[str, ...]:
        """What a thorough look at every stored page finds wrong; seconds on a large file."""
        return self._database.read(self._database.backend.damage)

    # Repositories and stacks

    def record_fetch(
        self,
        repository: str,
        *,
        url: str,
        branch: str,
        commit: str | None,
        error: ErrorReport | None,
        at: datetime,
    ) -> None:
        """Notes a fetch; with an `error`, or no `commit`, what was last good stays.

        That a head is refused, and that a good one is used again, people are told.
        """
        self._database.write(
            partial(
                stacks.record_fetch,
                repository=repository,
                url=url,
                branch=branch,
                commit=commit,
                error=error,
                at=at,
                voice=self._voice,
            )
        )

    def repositories(self) -> list[RepositoryStatus]:
        return self._database.read(stacks.repositories)

    def sync_stacks(
        self,
        repository: str,
        declared: Sequence[StackDeclaration],
        at: datetime,
        *,
        gone: Mapping[StackId, str] | None = None,
    ) -> SyncedStacks:
        """Makes the repository's stacks those declared; findings of the others end as "stack_removed".

        Of each that is not any more people are told, with the sentence that `gone` has for it.
        """
        return self._database.write(
            partial(
                removed.sync,
                repository=repository,
                declared=declared,
                at=at,
                gone=gone or {},
                voice=self._voice,
            )
        )

    def stacks(
        self,
        patterns: Sequence[str] = (),
        *,
        now: datetime,
        allowed_age: Callable[[StackId], timedelta] | None = None,
    ) -> list[StackStatus]:
        """All stacks, or those whose id matches one of the globs, by name.

        A stack is blind where its latest check failed, and stale where there is no good one, or where the
        latest is older than the daemon has noted as allowed (see `allow_ages`), or else `allowed_age` says.
        """
        return self._database.read(
            partial(stacks.statuses, patterns=patterns, now=now, allowed_age=allowed_age)
        )

    def schedule(self, due: Mapping[StackId, datetime]) -> None:
        """Notes when stacks are next due; one that is not known is passed over."""
        self._database.write(partial(stacks.schedule, due=due))

    def due_times(self) -> dict[StackId, datetime | None]:
        """When each stack is due; None where that was never said."""
        return self._database.read(stacks.due_times)

    def allow_ages(self, ages: Mapping[StackId, timedelta]) -> None:
        """Notes how long each stack may go without a good check before it is stale."""
        self._database.write(partial(stacks.allow_ages, ages=ages))

    def tell_stale(
        self, *, at: datetime, since: datetime, fallback: timedelta, channels: Sequence[str]
    ) -> list[Announcement]:
        """Tells of each stack, once, that had no good check for longer than allowed; a good one ends that.

        What was before `since` does not count: nobody could look then. `fallback` is what is allowed for a
        stack of which nothing is noted.
        """
        found = self._database.read(partial(stacks.all_unwatched, at=at, since=since, fallback=fallback))
        if not found:
            return []
        known = {stack for stack, it in self._database.read(told.running) if it.stale}
        silent = [stack for stack in found if stack not in known]
        tell = partial(lives.tell_stale, at=at, since=since, fallback=fallback, voice=self._to(channels))
        return self._each(silent, tell)

    def remind(self, *, at: datetime, after: timedelta, channels: Sequence[str]) -> list[Announcement]:
        """Reminds of open findings that were last spoken of longer than `after` ago."""
        due = {
            stack
            for stack, it in self._database.read(told.running)
            if it.episode is not None and (it.spoken_at is None or at - it.spoken_at >= after)
        }
        return self._each(sorted(due), partial(lives.remind, at=at, after=after, voice=self._to(channels)))

    def baseline(self, stack: StackId) -> Inputs | None:
        """The inputs of the stack's last check that was in sync."""
        return self._database.read(partial(checks.baseline, stack=stack))

    # Checks

    def record_check(
        self,
        result: CheckResult,
        *,
        declaration: StackDeclaration,
        channels: Sequence[str],
        job: Job | None = None,
        late: bool = False,
    ) -> Recorded:
        """Writes a result, what it does to the stack's findings, and a message per channel for what is news.

        One transaction, which also ends the job. The same result written again changes nothing. With `late`,
        a result that waited while a later check was recorded becomes history and no news. Raises
        FencedOffError where the stack was claimed again since the job was: nothing is written then.
        """
        return self._database.write(
            partial(
                checks.record,
                result=writable_result(result),
                declaration=declaration,
                voice=self._to(channels),
                job=job,
                late=late,
                flapping=self._flapping,
            )
        )

    def commits_of(self, stack: StackId, prefix: str) -> list[str]:
        """The commits at which a stack was checked that begin with `prefix`; of the checks that are kept."""
        return self._database.read(partial(checks.commits_of, stack=stack, prefix=prefix))

    def prune_checks(self, before: datetime) -> int:
        """Deletes checks older than `before`, and returns how many.

        Each stack's latest and latest good one stay, and those that findings or the baseline refer to.
        """
        return self._delete(self._database.read(partial(checks.prunable, before=before)))

    def coalesce_checks(self, before: datetime) -> int:
        """Thins runs of checks older than `before` that said the same to their first and last."""
        return self._delete(self._database.read(partial(checks.repetitive, before=before)))

    # Findings

    def findings(
        self,
        *,
        stack: str | None = None,
        statuses: Iterable[FindingStatus] | None = None,
        counted: bool | None = True,
        limit: int = 100,
        after: int | None = None,
    ) -> Page[StoredFinding]:
        """Findings, the newest first: `limit` of them, those older than the one with the id `after`.

        `stack` is a glob; None stands for all stacks, all statuses, counted or not.
        """
        return self._database.read(
            partial(findings.page, stack=stack, statuses=statuses, counted=counted, limit=limit, after=after)
        )

    def finding(self, id: int) -> StoredFinding | None:  # noqa: A002  (it is what the seam calls it)
        return self._database.read(partial(findings.one, finding_id=id))

    def finding_events(self, id: int) -> list[FindingEvent]:  # noqa: A002  (it is what the seam calls it)
        """A finding's life, oldest step first."""
        return self._database.read(partial(findings.events, finding_id=id))

    def act(self, id: int, press: Press) -> Acted | Refused | None:  # noqa: A002  (it is what the seam calls it)
        """Does what a person asked for with a finding, or says why it cannot be; None: no such finding.

        The step is recorded with who and why, and whoever was told of the finding is told of it. What was
        told stays; the next check tells what is news then.
        """
        return self._database.write(partial(lives.press, finding_id=id, pressed=press, voice=self._voice))

    def act_on_all(self, seen: Mapping[int, str], press: Press) -> ActedOnAll:
        """As `act`, for several findings at once, by id the content (fingerprint) that the person saw.

        Those of one stack in one transaction, which is told once.
        """
        by_stack = self._database.read(partial(findings.by_stack, ids=list(seen)))
        done = [
            self._database.write(
                partial(
                    lives.press_all,
                    stack_id=stack,
                    seen={each: seen[each] for each in mine},
                    pressed=press,
                    voice=self._voice,
                )
            )
            for stack, mine in sorted(by_stack.items())
        ]
        return ActedOnAll(
            acted=tuple(each for one in done for each in one.acted),
            refused=tuple(each for one in done for each in one.refused),
        )

    # Incidents

    def incident(self, id: int) -> Incident | None:  # noqa: A002  (it is what the seam calls it)
        """How an incident stands now."""
        return self._database.read(partial(incidents.standing, incident_id=id))

    def incidents(
        self, *, open_only: bool = True, limit: int = 100, after: int | None = None
    ) -> Page[Incident]:
        """Incidents as they stand now, the newest first, each with at most ten of its stacks."""
        return self._database.read(partial(incidents.page, open_only=open_only, limit=limit, after=after))

    def open_in(self, incident: int, *, fingerprint: str | None = None) -> list[OpenFinding]:
        """The findings of an incident that wait for somebody; with a `fingerprint`, those with that content.

        The latter whatever a person said of them, as long as they are not resolved.
        """
        if fingerprint is not None:
            return self._database.read(
                partial(incidents.findings_like, incident_id=incident, fingerprint=fingerprint)
            )
        return self._database.read(partial(incidents.open_findings, incident_id=incident))

    # Audit

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
    ) -> bool:
        """Adds a row to the audit. False, and nothing written, where one with this `key` is there already."""
        return self._database.write(
            partial(
                audit.add,
                at=at,
                actor=actor,
                via=via,
                action=action,
                subject=subject,
                outcome=outcome,
                reason=reason,
                key=key,
            )
        )

    def audit(self, *, limit: int = 100, after: int | None = None) -> Page[AuditEntry]:
        """The audit, the newest first."""
        return self._database.read(partial(audit.page, limit=limit, after=after))

    def audit_damage(self) -> int | None:
        """The id of the first row of the audit that is not as it was written; None where all are."""
        return self._database.read(audit.first_damaged)

    def reopen_ended(self, *, at: datetime, channels: Sequence[str]) -> list[Announcement]:
        """Re-opens the findings whose snooze or acceptance is over, and tells of them."""
        found = self._database.read(partial(findings.ended, at=at))
        return self._each(found, partial(lives.reopen_ended, at=at, voice=self._to(channels)))

    # Repair

    def findings_of(self, stack: StackId) -> list[StoredFinding]:
        """The findings of a stack that are not resolved."""
        return self._database.read(partial(findings.active_of, stack=stack))

    def drifting(self) -> list[StackId]:
        """The stacks with findings that wait for somebody."""
        return self._database.read(stacks.drifting)

    def status_of(self, stack: StackId, now: datetime) -> StackStatus | None:
        """What is known of one stack."""
        return self._database.read(partial(stacks.status_of, stack=stack, now=now))

    def mass_deletion_of(self, stack: StackId) -> str | None:
        """What the latest good check of a stack says of a mass deletion."""
        return self._database.read(partial(checks.mass_deletion_of, stack=stack))

    def latest_proposals(self, stack: StackId) -> list[Proposal]:
        """The latest proposal of each kind of a stack."""
        return self._database.read(partial(proposals.latest, stack=stack))

    def applied_unproved(self) -> list[Proposal]:
        """Those that are applied and of which no check has said yet whether it helped."""
        return self._database.read(proposals.unproved)

    def proved(self, proposal: Proposal) -> Proof | None:
        """The first good check after an apply: its id, its verdict, what is still open. None: none yet."""
        return self._database.read(partial(proposals.proof, proposal=proposal))

    def tell_repair(
        self, proposal: int, *, said: str, at: datetime, topic: str = ""
    ) -> tuple[Announcement, ...]:
        """Tells what became of a proposal, where its findings were told: each step and topic once."""
        return self._database.write(
            partial(repair_news.tell, proposal_id=proposal, said=said, at=at, voice=self._voice, topic=topic)
        )

    def wish(self, wish: Wish, at: datetime) -> int:
        """Leaves a person's wish for a daemon; returns its number. Raises UnknownStackError."""
        number = self._database.write(partial(wishes.make, wish=wish, at=at))
        if number is None:
            raise _unknown(wish.stack)
        return number

    def wishes(self) -> dict[int, Wish]:
        """The wishes that nobody has answered, by their number."""
        return self._database.read(wishes.waiting)

    def grant(self, wish: int, *, proposal: int | None, error: str | None, at: datetime) -> None:
        """Answers a wish: with a proposal, or with why there is none; that is also told where it drifts."""
        if proposal is None and error is not None:
            self._database.write(
                partial(repair_news.refuse, number=wish, said=error, at=at, voice=self._voice)
            )
        else:
            self._database.write(partial(wishes.grant, number=wish, proposal=proposal, error=error, at=at))

    def wished(self, wish: int) -> Wish | None:
        """A wish, whether anything came of it yet or not."""
        return self._database.read(partial(wishes.one, number=wish))

    def granted(self, wish: int) -> Granted | None:
        """What came of a wish; None where nothing did yet."""
        return self._database.read(partial(wishes.granted, number=wish))

    # Proposals

    def propose(self, draft: ProposalDraft) -> Proposal:
        """Writes a proposal, or gives the open one of the same stack and kind that stands for it.

        That is one with the same digest, as it is; and one that is being applied, or was applied and is not
        verified, whatever its digest: nobody knows yet what is left to do. Any other open one is superseded
        by the new. `created_at` of what comes back tells whether it is new. Raises UnknownStackError.
        """
        proposed = self._database.write(partial(repairs.propose, draft=draft))
        if proposed is None:
            raise _unknown(draft.stack)
        return proposed

    def proposals(
        self,
        *,
        stack: str | None = None,
        states: Iterable[ProposalState] | None = None,
        limit: int = 100,
        after: int | None = None,
    ) -> Page[Proposal]:
        """Proposals, the newest first; `stack` is a glob. None stands for all stacks and all states."""
        return self._database.read(
            partial(proposals.page, stack=stack, states=states, limit=limit, after=after)
        )

    def proposal(self, id: int) -> Proposal | None:  # noqa: A002  (as above)
        return self._database.read(partial(proposals.one, proposal_id=id))

    def proposal_events(self, id: int) -> list[ProposalEvent]:  # noqa: A002  (as above)
        """A proposal's life, oldest step first."""
        return self._database.read(partial(proposals.events, proposal_id=id))

    def decide(self, id: int, decision: Decision) -> Proposal | Refused:  # noqa: A002  (as above)
        """Takes a person's vote on a proposal of which nothing was begun, or says why it cannot be.

        Each person has one vote, the latest. One against it rejects the proposal at once. Votes for it are
        only kept: whether they suffice, the caller says by `approved`.
        """
        return self._database.write(partial(repairs.decide, proposal_id=id, decision=decision))

    def approved(self, id: int) -> bool:  # noqa: A002  (as above)
        """Makes a proposal approved that is proposed or waits; false without a vote for what it holds."""
        return self._database.write(partial(repairs.approved, proposal_id=id))

    def hold(self, id: int, hold: Hold, at: datetime) -> bool:  # noqa: A002  (as above)
        """Makes a proposal wait that might be applied. True where the reason or its end is news."""
        return self._database.write(partial(repairs.hold, proposal_id=id, reason=hold, at=at))

    def actionable(self, at: datetime, limit: int = 100) -> list[Proposal]:
        """Proposals that may have to be applied now, oldest first; none where the stack's apply runs.

        Approved ones, automatic ones, and those whose wait is over.
        """
        return self._database.read(partial(proposals.actionable, at=at, limit=limit))

    def end(
        self,
        id: int,  # noqa: A002  (as above)
        state: ProposalState,
        outcome: str,
        at: datetime,
        *,
        by: str = DRIFTWATCH,
    ) -> bool:
        """Ends a proposal as superseded, rejected, expired or failed; false where it runs or has ended.

        One that was applied and that no check can verify may end as expired or failed.
        """
        return self._database.write(
            partial(repairs.end, proposal_id=id, state=state, outcome=outcome, at=at, by=by)
        )

    def expire_proposals(self, at: datetime) -> list[Proposal]:
        """Ends the proposals that are past their time and of which nothing was begun."""
        return self._database.write(partial(repairs.expire, at=at))

    # Applies

    def begin_apply(self, id: int, run: ApplyRun, at: datetime) -> bool:  # noqa: A002  (as above)
        """Writes that an apply begins; only where this is True may terraform be started.

        False where the proposal is not approved, nor automatic, or has expired; where another one of the
        stack is being applied; and where the stack is suspended, whatever was asked before. From here to the
        apply's end, results of checks that were claimed earlier are refused (FencedOffError).
        """
        return self._database.write(partial(repairs.begin, proposal_id=id, run=run, at=at), repeatable=False)

    def note_process(self, id: int, pid: int, pid_started: int) -> bool:  # noqa: A002  (as above)
        """Notes the process that applies; false where the proposal is not being applied."""
        return self._database.write(
            partial(repairs.note_process, proposal_id=id, pid=pid, pid_started=pid_started)
        )

    def note_output(self, id: int, output: str) -> bool:  # noqa: A002  (as above)
        """Notes what terraform has said so far, redacted; false where the proposal is not being applied."""
        return self._database.write(partial(repairs.note_output, proposal_id=id, output=output))

    def cancel_apply(self, id: int, cancellation: Cancellation) -> bool:  # noqa: A002  (as above)
        """Notes that somebody wants an apply interrupted, which the daemon on its machine then does, once.

        False where the proposal is not being applied, and where somebody wanted that before.
        """
        return self._database.write(
            partial(repairs.cancel, proposal_id=id, cancellation=cancellation), repeatable=False
        )

    def end_apply(
        self,
        id: int,  # noqa: A002  (as above)
        state: ProposalState,
        *,
        at: datetime,
        exit_code: int | None,
        output: str | None,
        outcome: str,
        downstream: Sequence[StackId] = (),
    ) -> bool:
        """Writes how an apply ended: applied, failed or interrupted. False where that was written before.

        However it ended, the check after it is queued in the same transaction, as are those of the stacks
        `downstream`, and what was claimed while it ran is fenced off.
        """
        return self._database.write(
            partial(
                repairs.end_apply,
                proposal_id=id,
                state=state,
                at=at,
                exit_code=exit_code,
                output=output,
                outcome=outcome,
                downstream=downstream,
            )
        )

    def verify(
        self,
        id: int,  # noqa: A002  (as above)
        *,
        check_id: int,
        ok: bool,
        at: datetime,
        outcome: str,
    ) -> bool:
        """Writes what the check after an apply proved, once: verified, or failed."""
        return self._database.write(
            partial(repairs.verify, proposal_id=id, check_id=check_id, ok=ok, at=at, outcome=outcome)
        )

    def running_applies(self) -> list[Proposal]:
        """Proposals that are being applied, or were when somebody last could write, oldest first."""
        return self._database.read(proposals.running)

    def applies(
        self, *, stack: str | None = None, limit: int = 100, after: int | None = None
    ) -> Page[Proposal]:
        """Proposals that ever had a run, the newest first."""
        return self._database.read(
            partial(proposals.page, stack=stack, states=None, limit=limit, after=after, applied=True)
        )

    def recent_applies(self, since: datetime) -> dict[ProposalState, int]:
        """How many applies of the whole fleet failed, and how many were interrupted, since a moment."""
        return self._database.read(partial(proposals.ended_badly, since=since))

    def applied_stacks(self, since: datetime) -> set[StackId]:
        """The stacks of which an apply was begun since a moment."""
        return self._database.read(partial(proposals.applied_stacks, since=since))

    def returns(self, stack: StackId, identity: str, since: datetime) -> int:
        """How often a finding came back since a moment after driftwatch had repaired it."""
        return self._database.read(partial(proposals.returns, stack=stack, identity=identity, since=since))

    def apply_seconds(self, stack: StackId) -> list[float]:
        """How long the stack's last applies took that terraform ended well, the newest first."""
        return self._database.read(partial(proposals.apply_seconds, stack=stack))

    # Suspensions and pins

    def add_token(self, token: Token, *, secret: str) -> Token:
        """Keeps a token for the API, and gives it its id. Of its secret only a digest is kept."""
        return self._database.write(partial(tokens.add, token=token, secret=secret), repeatable=False)

    def use_token(self, secret: str, at: datetime) -> Token | None:
        """The token of a secret; None where there is none, or it has expired or was revoked."""
        token = self._database.read(partial(tokens.use, secret=secret, at=at))
        if token is not None and (token.used_at is None or at - token.used_at >= tokens.USED_EVERY):
            self._database.write(partial(tokens.note_use, token=token, at=at))
        return token

    def revoke_token(self, id: int, *, by: str, at: datetime) -> bool:  # noqa: A002  (as above)
        """Makes a token good for nothing, at once; False where that it is already, or it is not known."""
        return self._database.write(partial(tokens.revoke, token_id=id, by=by, at=at))

    def tokens(self) -> list[Token]:
        """All there ever were, the oldest first."""
        return self._database.read(tokens.every)

    def suspend(self, suspension: Suspension) -> bool:
        """Puts a suspension in force, in place of one of the same scope. No apply begins after this.

        False where one of driftwatch's own is in force there, which nobody replaces: it waits for somebody
        who has looked at the state and resumes the stack.
        """
        return self._database.write(partial(suspensions.suspend, suspension=suspension))

    def resume(self, scope: str, by: str, at: datetime) -> bool:
        """Ends the suspension of just this scope; false where none is in force."""
        return self._database.write(partial(suspensions.resume, scope=scope, by=by, at=at))

    def suspensions(self, at: datetime) -> list[Suspension]:
        """The suspensions that are in force, by scope."""
        return self._database.read(partial(suspensions.in_force, at=at))

    def suspension_of(self, stack: StackId, at: datetime) -> Suspension | None:
        """The most specific suspension of a stack: its own, its repository's, or that of everything."""
        return self._database.read(partial(suspensions.of_stack, stack=stack, at=at))

    def pin(self, pin: Pin) -> None:
        """Keeps a stack at a commit, in place of an earlier pin. Raises UnknownStackError."""
        if not self._database.write(partial(suspensions.pin, wanted=pin)):
            raise _unknown(pin.stack)

    def unpin(self, stack: StackId) -> bool:
        """Takes a stack's pin out; false where there is none."""
        return self._database.write(partial(suspensions.unpin, stack=stack))

    def pins(self) -> dict[StackId, Pin]:
        """All pins, those of stacks that are no longer declared too."""
        return self._database.read(suspensions.pins)

    # Adoptions

    def ask_adoption(self, wish: AdoptionWish, at: datetime) -> int:
        """Leaves drift that is to be adopted for a daemon; returns its number. Raises UnknownStackError."""
        number = self._database.write(partial(adoptions.ask, wish=wish, at=at))
        if number is None:
            raise _unknown(wish.stack)
        return number

    def adoptions_asked(self) -> dict[int, AdoptionWish]:
        """What is to be adopted and has no answer yet, by number."""
        return self._database.read(adoptions.asked)

    def adoptions(
        self, *, stack: StackId | None = None, by: str | None = None, limit: int | None = None
    ) -> list[Adoption]:
        """What was wanted, of a stack and by somebody where they are given; the newest first."""
        return self._database.read(partial(adoptions.newest, stack=stack, by=by, limit=limit))

    def adoption(self, number: int) -> Adoption | None:
        """What was wanted under a number, and what came of it; None where there is none."""
        return self._database.read(partial(adoptions.one, number=number))

    def answer_adoption(self, number: int, adopted: Adopted, at: datetime) -> None:
        """Writes what came of an adoption."""
        self._database.write(partial(adoptions.answer, number=number, adopted=adopted, at=at))

    def adopted(self, number: int) -> Adopted | None:
        """What came of an adoption; None where nothing did yet."""
        found = self.adoption(number)
        return found.adopted if found else None

    # Jobs

    def enqueue(
        self, stack: StackId, trigger: Trigger, *, requested_by: str | None, at: datetime
    ) -> Enqueued:
        """Queues a check; a queued one of lower priority is raised. Raises UnknownStackError."""
        queued = self._database.write(
            partial(jobs.enqueue, stack=stack, trigger=trigger, requested_by=requested_by, at=at)
        )
        if queued is None:
            raise _unknown(stack)
        return queued

    def job(self, id: int) -> KeptJob | None:  # noqa: A002  (as above)
        """How a unit of work stands; None where it is not known, or no longer."""
        return self._database.read(partial(kept.job, job_id=id))

    def check(self, id: int) -> KeptCheck | None:  # noqa: A002  (as above)
        """A check; None where it is not known, or no longer."""
        return self._database.read(partial(kept.check, check_id=id))

    def checks(
        self, *, stack: str | None = None, limit: int = 100, after: int | None = None
    ) -> Page[KeptCheck]:
        """Checks, the newest first; `stack` is a glob, None stands for all."""
        return self._database.read(partial(kept.checks, stack=stack, limit=limit, after=after))

    def claim(self, node: str, *, at: datetime, lease: timedelta) -> Job | None:
        """The next job, this node's until the lease ends; None where nothing can run now."""
        return self._database.write(partial(jobs.claim, node=node, at=at, lease=lease), repeatable=False)

    def renew(self, job: Job, *, at: datetime, lease: timedelta) -> bool:
        """Makes the lease last from now on; False where the job is no longer its worker's."""
        return self._database.write(partial(jobs.renew, job=job, at=at, lease=lease))

    def finish(self, job: Job, state: JobState, *, at: datetime) -> None:
        """Ends a job of which no check came; INTERRUPTED queues it again. Not the worker's own: no effect."""
        self._database.write(partial(jobs.finish, job=job, state=state, at=at))

    def recover(self, *, node: str | None, at: datetime) -> int:
        """Takes the jobs back whose worker is gone: those of `node`, and those whose lease is over.

        Each is queued once more as a retry; after three claims it fails instead (see `given_up`). Drain the
        spool before: a result that waits there makes its job's retry needless.
        """
        return self._database.write(partial(jobs.recover, node=node, at=at))

    def given_up(self) -> list[Job]:
        """Jobs that failed for good and of which no check tells yet: `record_check` an error for each."""
        return self._database.read(jobs.given_up)

    def queue_depth(self) -> dict[JobState, int]:
        """How many jobs are queued and how many running."""
        return self._database.read(jobs.depth)

    def prune_jobs(self, before: datetime) -> int:
        """Deletes jobs that ended before `before`. Returns how many."""
        return self._database.write(partial(jobs.prune, before=before))

    # Outbox

    def due_messages(self, *, at: datetime, limit: int) -> list[Message]:
        """Messages to send now, oldest first; of one channel and thread only the first that waits."""
        return self._database.read(partial(outbox.due, at=at, limit=limit))

    def whole_message(self, message: Message, *, at: datetime) -> Message:
        """The message with all that goes out with it, how its incident stands, and its anchor."""
        return self._database.read(partial(outbox.whole, message=message, at=at))

    def message_sent(
        self,
        id: int,  # noqa: A002  (as above)
        receipt: Mapping[str, str],
        *,
        at: datetime,
        carried: Sequence[int] = (),
    ) -> None:
        """Notes the channel's answer; that to the first message of a thread is the anchor of the others.

        `carried` are the ids of those that went out with it.
        """
        self._database.write(
            partial(outbox.sent, message_id=id, receipt=receipt, at=at, carried=tuple(carried))
        )

    def message_failed(self, id: int, *, reason: str, retry_at: datetime | None) -> None:  # noqa: A002  (as above)
        """Puts a message off, or makes it a dead letter where `retry_at` is None."""
        self._database.write(partial(outbox.failed, message_id=id, reason=reason, retry_at=retry_at))

    def outbox_depth(self) -> dict[str, int]:
        """How many messages are `waiting` and how many `dead`."""
        return self._database.read(outbox.depth)

    def prune_messages(self, before: datetime) -> int:
        """Deletes messages of episodes that are over and older than `before`. Returns how many."""
        return self._database.write(partial(outbox.prune, before=before))

    def _to(self, channels: Sequence[str]) -> Voice:
        return replace(self._voice, channels=tuple(channels))

    def _each(
        self, stack_ids: Iterable[int], tell: Callable[..., tuple[Announcement, ...]]
    ) -> list[Announcement]:
        """What is told of each of these stacks, in a transaction of its own."""
        return [
            announcement
            for stack_id in stack_ids
            for announcement in self._database.write(partial(tell, stack_id=stack_id))
        ]

    def _delete(self, check_ids: Sequence[int]) -> int:
        batches = (check_ids[start : start + _BATCH] for start in range(0, len(check_ids), _BATCH))
        return sum(self._database.write(partial(checks.delete_all, ids=batch)) for batch in batches)


def _unknown(stack: StackId) -> UnknownStackError:
    return UnknownStackError(
        f"no stack {stack}", advice="`driftwatch stacks list` shows those that are known."
    )


def _backend(state_dir: Path, database: str | None, patience: float) -> Backend:
    if database is None:
        from driftwatch.store.sqlite import SqliteBackend

        return SqliteBackend(state_dir, patience=patience)
    from driftwatch.store.postgres import PostgresBackend

    return PostgresBackend(database, patience=patience)
