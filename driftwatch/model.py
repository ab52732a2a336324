"""The nouns: frozen values that every part shares and none owns.

Nothing here does I/O or reads a clock. A value that reaches this module's types is already redacted: where
a plan marks an attribute as sensitive, its values are digests (see `driftwatch.drift.redaction`).
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (dataclass fields are read at run time)
from dataclasses import dataclass, field
from datetime import datetime, timedelta  # noqa: TC003
from enum import StrEnum
from typing import Self

from typing_extensions import TypeAliasType

JsonValue = TypeAliasType(
    "JsonValue", "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
)
"""A named alias: pydantic cannot follow a plain one into itself."""

DEFAULT_WORKSPACE = "default"
UNKNOWN_VALUE = "(known after apply)"
"""Stands for a value that only an apply will know; Terraform prints the same words."""


class Trigger(StrEnum):
    """Why work starts."""

    SCHEDULE = "schedule"
    COMMIT = "commit"
    MANUAL = "manual"
    CLOUD_EVENT = "cloud_event"
    UPSTREAM = "upstream"
    POST_APPLY = "post_apply"
    RETRY = "retry"


class Verdict(StrEnum):
    """What a check found. Unknown is `ERROR` or `SKIPPED`, never `IN_SYNC`."""

    IN_SYNC = "in_sync"
    DRIFTED = "drifted"
    PENDING = "pending"
    MIXED = "mixed"
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def is_good(self) -> bool:
        """True where the check came to know something: only such a check may resolve findings."""
        return self not in (Verdict.ERROR, Verdict.SKIPPED)


class Method(StrEnum):
    """How a check came to its verdict."""

    PLAN = "plan"
    REPLAY = "replay"


class Approach(StrEnum):
    """Which method a check is to use: `AUTO` is the cheapest that proves enough, the others force one.

    `PLAN` plans through warm providers, `PLAIN` without them, `REPLAY` never plans.
    """

    AUTO = "auto"
    PLAN = "plan"
    PLAIN = "plain"
    REPLAY = "replay"


class FindingKind(StrEnum):
    """In which way a resource address differs."""

    MODIFIED = "modified"
    DELETED = "deleted"
    CREATED = "created"
    REPLACED = "replaced"
    DESTROYED = "destroyed"
    UNMANAGED = "unmanaged"
    OUTPUT = "output"
    CHECK_FAILED = "check_failed"

    @property
    def is_removal(self) -> bool:
        """True where something is lost: what nobody may come to overlook."""
        return self in (FindingKind.DELETED, FindingKind.REPLACED, FindingKind.DESTROYED)


class Cause(StrEnum):
    """Why an attribute differs."""

    OUT_OF_BAND = "out_of_band"
    UNAPPLIED_COMMIT = "unapplied_commit"
    PROVIDER_UPGRADE = "provider_upgrade"
    INPUT_CHANGE = "input_change"
    STATE_EDIT = "state_edit"
    NOISE = "noise"
    UNDETERMINED = "undetermined"


class InputKind(StrEnum):
    """What a verdict is a function of, beside the cloud."""

    COMMIT = "commit"
    PROVIDER = "provider"
    LOCK_FILE = "lock_file"
    PROVIDER_CONFIGURATION = "provider_configuration"
    ENGINE = "engine"
    VARIABLE = "variable"
    DATA_READ = "data_read"
    UPSTREAM_OUTPUT = "upstream_output"
    STATE = "state"


class Severity(StrEnum):
    """How much it matters, in ascending order."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class FindingStatus(StrEnum):
    """Where a finding stands in its life.

    `ACKNOWLEDGED`, `SNOOZED` and `ACCEPTED` are what a person said of it; `FLAPPING` is one that comes and
    goes.
    """

    OPEN = "open"
    CHANGED = "changed"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ACCEPTED = "accepted"
    FLAPPING = "flapping"

    @property
    def is_active(self) -> bool:
        """True while the difference is there, whatever a person said of it."""
        return self is not FindingStatus.RESOLVED

    @property
    def is_quiet(self) -> bool:
        """True where a person put it aside: it is there, and neither news nor counted among the open."""
        return self in (FindingStatus.SNOOZED, FindingStatus.ACCEPTED)

    @property
    def is_open(self) -> bool:
        """True where it waits for somebody: what `open_findings` counts."""
        return self.is_active and not self.is_quiet


class FindingEventKind(StrEnum):
    """What happened to a finding. That it was merely seen again moves `last_seen` and makes no event."""

    OPENED = "opened"
    CHANGED = "changed"
    REOPENED = "reopened"
    RESOLVED = "resolved"
    STACK_REMOVED = "stack_removed"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ACCEPTED = "accepted"
    FLAPPING = "flapping"
    SETTLED = "settled"
    """It came and went, and has stayed as it is for long enough."""


class Resolution(StrEnum):
    """What ended a finding, as far as the check that no longer saw it shows."""

    REPAIR = "repair"
    """An apply: driftwatch's own, or one that moved the state while the code is the same."""
    CODE = "code"
    """A commit that changed the stack's files."""
    HAND = "hand"
    """Neither code nor state moved: somebody put the cloud back. It may have been an apply elsewhere, since
    terraform writes no state that it finds as it remembers it."""
    GONE = "gone"
    """The resource is no more, as the code wanted it."""
    NOISE = "noise"
    """What is left of it does not count."""
    STACK_REMOVED = "stack_removed"
    """Nobody looks any more: what became of the resource is not known."""
    UNDETERMINED = "undetermined"


class Health(StrEnum):
    """Of the detector itself, per stack."""

    FRESH = "fresh"
    STALE = "stale"
    BLIND = "blind"


class TransitionKind(StrEnum):
    """What people are told about a stack: changes of its condition, never the condition itself again."""

    DRIFT_FOUND = "drift_found"
    DRIFT_CHANGED = "drift_changed"
    RESOLVED = "resolved"
    CHECK_FAILING = "check_failing"
    RECOVERED = "recovered"
    REPLAY_DISAGREED = "replay_disagreed"
    STALE = "stale"
    """No good check came for longer than allowed: nobody watches any more."""
    REMINDER = "reminder"
    """Nothing is new, and what was told long ago is still there."""
    HANDLED = "handled"
    """A person said something of it: acknowledged, snoozed, accepted, re-opened."""
    REPAIR = "repair"
    """Something became of a proposal to repair it: made, approved, held, applied, given up."""
    STACK_REMOVED = "stack_removed"
    """It is gone from the code, or from what is watched; what it made is not."""
    HEAD_REFUSED = "head_refused"
    """The newest commit of a whole repository is not used: nobody who may has signed it."""
    HEAD_ACCEPTED = "head_accepted"
    """And one is used again."""

    @property
    def is_aside(self) -> bool:
        """True where it tells what was done about it, and nothing new of what differs."""
        return self in (TransitionKind.HANDLED, TransitionKind.REPAIR)

    @property
    def is_of_detector(self) -> bool:
        """True where it tells of the watching itself, and not of what is watched."""
        return self in (
            TransitionKind.CHECK_FAILING,
            TransitionKind.RECOVERED,
            TransitionKind.REPLAY_DISAGREED,
            TransitionKind.STALE,
            TransitionKind.STACK_REMOVED,
            TransitionKind.HEAD_REFUSED,
            TransitionKind.HEAD_ACCEPTED,
        )

    @property
    def is_end(self) -> bool:
        """True where the story that it belongs to is over with it."""
        return self in (
            TransitionKind.RESOLVED,
            TransitionKind.RECOVERED,
            TransitionKind.REPLAY_DISAGREED,
            TransitionKind.HEAD_ACCEPTED,
        )


class Right(StrEnum):
    """What a person may do; nobody may do anything unless it is said so."""

    VIEW = "view"
    CHECK = "check"
    ACKNOWLEDGE = "acknowledge"
    """Acknowledge, snooze and re-open."""
    ACCEPT = "accept"
    APPROVE = "approve"
    APPLY = "apply"
    OVERRIDE_WINDOW = "override_window"
    ADMIN = "admin"
    """All of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What lets a machine act as a user over HTTP; only a digest of its secret is kept.

    It has at most its user's rights: of those, the ones in `rights`, for the stacks that `stacks` (ids or
    globs) match; None leaves them as they are. `used_at` is right to a minute.
    """

    id: int
    user: str
    rights: tuple[Right, ...] | None
    stacks: tuple[str, ...] | None
    note: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    used_at: datetime | None = None

    def works(self, at: datetime) -> bool:
        """Whether it is good for anything at that moment."""
        return self.revoked_at is None and at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class StackId:
    """Names one root module of a repository in one workspace: `<repository>/<path>[@<workspace>]`."""

    repository: str
    path: str
    workspace: str = DEFAULT_WORKSPACE

    def __str__(self) -> str:
        tail = "" if self.workspace == DEFAULT_WORKSPACE else f"@{self.workspace}"
        return f"{self.repository}/{self.path}{tail}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the form that `str()` gives; raises ValueError on anything else."""
        repository, slash, rest = text.partition("/")
        path, at, workspace = rest.rpartition("@") if "@" in rest else (rest, "", DEFAULT_WORKSPACE)
        if not (repository and slash and path) or (at and not workspace):
            raise ValueError(f"not a stack id: {text!r} (expected <repository>/<path>[@<workspace>])")
        return cls(repository=repository, path=path, workspace=workspace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The program that planned: `name` is terraform or tofu, `providers` maps source address to version."""

    name: str
    version: str
    providers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit, by what people know it by. `subject` is the first line of its message."""

    id: str
    author: str
    at: datetime
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One input that is another than in the baseline.

    `name` says which: a provider's source address, a variable, the address of a data source. `before` and
    `after` are versions, commits, regions or serials; never the value of a variable or of a data source.
    """

    input: InputKind
    name: str | None = None
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What moved since the baseline, the last check that was in sync, as far as it may concern one finding.

    `commits` are those in between that touched the stack's files, the newest first, at most `KEPT_COMMITS`;
    `more` counts the movements that are left out.
    """

    movements: tuple[Movement, ...] = ()
    commits: tuple[Commit, ...] = ()
    more: int = 0


KEPT_COMMITS = 20
"""A finding is for reading; `git log` shows them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeChange:
    """One attribute that differs.

    `path` is an RFC 6901 pointer into the resource. `before` is what the state remembered, `actual` what the
    cloud has, `after` what the code wants (`UNKNOWN_VALUE` where only an apply will tell). Values of a
    sensitive attribute are keyed digests. `rule` names the rule that hid it or made it count. `also` is a
    second cause at the same attribute: somebody changed it by hand, and the code wants something else than it
    did when it was applied.
    """

    path: str
    before: JsonValue
    actual: JsonValue
    after: JsonValue
    sensitive: bool
    cause: Cause
    rule: str | None = None
    also: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One resource address that differs, as one check saw it.

    `fingerprint` is a digest of the content (address, kind, attributes with their values): equal
    fingerprints mean that nothing new is to be told. `counted` is false for noise. `rule` names the rule that
    set the severity. `evidence` is None where there is nothing to compare with.
    """

    address: str
    type: str
    kind: FindingKind
    action: str
    causes: tuple[Cause, ...]
    severity: Severity
    fingerprint: str
    counted: bool
    attributes: tuple[AttributeChange, ...] = ()
    message: str | None = None
    rule: str | None = None
    evidence: Evidence | None = None

    @property
    def identity(self) -> str:
        """What makes it the same finding in the next check, whatever its attributes are by then."""
        group = self.kind if self.kind in (FindingKind.CHECK_FAILED, FindingKind.OUTPUT) else "resource"
        return f"{group}:{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfiguration:
    """One provider block, as far as it says where its resources are.

    `digest` covers the arguments that may matter for that; `opaque` where one of them refers to what a plan
    does not show, so that equal digests prove nothing. `resources` are the configuration addresses that use
    it; those that use a provider's default configuration are not listed.
    """

    source: str
    digest: str
    region: str | None = None
    opaque: bool = False
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything, beside the cloud itself, that a verdict is a function of.

    Digests are opaque and only compared. None means "not known", which is never equal to anything.
    `variables` and `data_reads` are digests of them all; `variable_digests` and `read_digests` tell them
    apart, by name and by address. `provider_configurations` are by their key in the plan document.
    """

    commit: str | None = None
    tree: str | None = None
    lock_file: str | None = None
    engine: Engine | None = None
    variables: str | None = None
    data_reads: str | None = None
    state_lineage: str | None = None
    state_serial: int | None = None
    variable_digests: Mapping[str, str] | None = None
    read_digests: Mapping[str, str] | None = None
    provider_configurations: Mapping[str, ProviderConfiguration] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """An error as it is stored and shown: `code` names its class, `advice` says what to do."""

    code: str
    message: str
    advice: str | None = None
    detail: str | None = None
    passing: bool = False
    """True where it may pass by itself: a check that fails so once is no news yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one examination of one stack at one commit."""

    stack: StackId
    commit: str | None
    trigger: Trigger
    verdict: Verdict
    method: Method
    method_reason: str
    started_at: datetime
    duration_seconds: float
    engine: Engine | None = None
    findings: tuple[Finding, ...] = ()
    error: ErrorReport | None = None
    inputs: Inputs = Inputs()
    mass_deletion: str | None = None
    """A sentence where so much is gone that a wrong account or an empty endpoint is the likelier reason."""
    disagreement: str | None = None
    """A sentence where a replay said that nothing had moved and a plain plan right after it saw otherwise."""
    unjudged: tuple[str, ...] = ()
    """Identities of findings that this check could say nothing of: they stay what they were."""

    @property
    def counted(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDeclaration:
    """A stack as configuration and repository declare it, before anything is known of its condition."""

    id: StackId
    labels: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """What is known of a stack: the row of `stacks list`. `verdict` is None before the first check.

    `verdict`, `method`, `commit` and `checked_at` are those of the latest check, good or not;
    `last_good_at` is that of the latest good one.
    """

    id: StackId
    verdict: Verdict | None
    health: Health
    health_reason: str | None
    method: Method | None
    commit: str | None
    checked_at: datetime | None
    last_good_at: datetime | None
    next_due_at: datetime | None
    suspended: bool
    open_findings: int
    error: ErrorReport | None
    owners: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


DRIFTWATCH = "driftwatch"
"""Who did what no person did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What a person accepted: these attributes with these values, of this kind, until it expires.

    `values` maps pointers to digests of what the cloud has and the code wants there. A finding without
    attributes is known by its `fingerprint`. None as `expires` is for good.
    """

    kind: FindingKind
    fingerprint: str
    values: Mapping[str, str]
    by: str
    at: datetime
    reason: str
    owner: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFinding:
    """A finding with its life so far.

    `opened_at` is when it last came, `clean_at` the last good check before that, None where there was none:
    it came into being between the two. `until` is when a snooze or an acceptance ends. `turns` are the times
    at which it lately came back, `flapping_since` is set while it counts as coming and going. `story` is the
    key of the shared cause that it is told with (see `driftwatch.drift.stories`).
    """

    id: int
    stack: StackId
    status: FindingStatus
    first_seen: datetime
    last_seen: datetime
    finding: Finding
    resolved_at: datetime | None = None
    resolution: Resolution | None = None
    opened_at: datetime | None = None
    clean_at: datetime | None = None
    until: datetime | None = None
    acceptance: Acceptance | None = None
    turns: tuple[datetime, ...] = ()
    flapping_since: datetime | None = None
    story: str = ""

    @property
    def is_to_be_closed(self) -> bool:
        """Whether it waits for something to be done: it was neither put aside, nor does it come and go."""
        return self.finding.counted and self.status.is_open and self.status is not FindingStatus.FLAPPING

    @property
    def time_to_detect(self) -> timedelta | None:
        """An upper bound: it may have come at any time since the last good check without it."""
        return self.opened_at - self.clean_at if self.opened_at and self.clean_at else None

    @property
    def time_to_resolve(self) -> timedelta | None:
        return self.resolved_at - self.opened_at if self.resolved_at and self.opened_at else None


class JobState(StrEnum):
    """The life of a unit of work. `INTERRUPTED` is one whose worker is gone."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One queued or running check of a stack.

    `token` is the fencing token of the claim: it only grows, and a worker whose token is no longer the
    stack's current one must not write a result.
    """

    id: int
    stack: StackId
    trigger: Trigger
    requested_by: str | None
    created_at: datetime
    attempts: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What people are told about one stack at one transition. It holds nothing that is not redacted.

    `findings` are the open ones that count, the worst first, at most `ANNOUNCED_FINDINGS`; `total` counts
    them all, and `set_aside` those that somebody snoozed or accepted. `opened`, `changed` and `resolved` are
    the addresses that are new, differ otherwise, and are gone since the last announcement; `flapping` those
    that from now on come and go without a word. `said` is what a person did with it, as a sentence.
    """

    kind: TransitionKind
    stack: str
    verdict: Verdict
    commit: str | None
    trigger: Trigger
    at: datetime
    findings: tuple[Finding, ...] = ()
    total: int = 0
    opened: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    error: ErrorReport | None = None
    mass_deletion: str | None = None
    check_id: int | None = None
    disagreement: str | None = None
    set_aside: int = 0
    flapping: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    said: str | None = None


ANNOUNCED_FINDINGS = 20
"""A message is for reading; the rest is counted, and `findings list` shows them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLine:
    """One stack's part in an incident: what was last told of it. `over` where nothing of it is left."""

    announcement: Announcement
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What came from one cause, over as many stacks as it concerns.

    `title` names the cause in words where it is known to be shared (`commit 1a2b3c4d5e is not applied`), and
    is None for a difference of its own. `lines` are the stacks, the worst first and those that are over last,
    at most `INCIDENT_LINES`; `total` counts them all, `open` those that are not over. `seen` is a digest of
    the open findings as they are shown: who acts on the incident says what they saw. `proposals` are those
    that are open for its stacks, the newest first, at most `INCIDENT_PROPOSALS`.
    """

    id: int
    title: str | None
    opened_at: datetime
    closed_at: datetime | None
    lines: tuple[IncidentLine, ...]
    total: int
    open: int
    seen: str
    proposals: tuple[Proposal, ...] = ()


INCIDENT_LINES = 50
"""A message is for reading; the rest is counted."""

INCIDENT_PROPOSALS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes to one channel at once: an announcement, and those of the same incident that came after it.

    Messages of one `thread` belong together and keep their order; `anchor` is the receipt that the channel
    gave for the first of them (Slack: channel and ts), None before. `episode` names the story of one stack,
    from "found" to "resolved", or from "failing" to "recovered". `more` are the announcements that wait
    behind this one in the thread and go out with it, `carried` the ids of their rows; `all_told` is all of
    them. `incident` is how things stand now; None in a digest, and on channels that take each announcement
    by itself.
    """

    id: int
    channel: str
    dedupe_key: str
    episode: str
    announcement: Announcement
    attempts: int
    created_at: datetime
    anchor: Mapping[str, str] | None = None
    thread: str = ""
    incident: Incident | None = None
    more: tuple[Announcement, ...] = ()
    carried: tuple[int, ...] = ()

    @property
    def all_told(self) -> tuple[Announcement, ...]:
        return (self.announcement, *self.more)


class ProposalKind(StrEnum):
    """A way to close findings."""

    REVERT = "revert"
    """Apply the code again: what somebody changed by hand is put back."""
    DEPLOY = "deploy"
    """Apply what is merged and not applied yet."""
    ROLLBACK = "rollback"
    """Apply an earlier commit."""


class ProposalState(StrEnum):
    """The life of a proposal."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    WAITING = "waiting"
    """It may be applied, but not now: `held` says for what, and until when."""
    APPLYING = "applying"
    APPLIED = "applied"
    """terraform has ended well; whether it helped, the check after it says."""
    VERIFIED = "verified"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"
    """The apply ended and nobody knows how: a person looks at the state before anything else is done."""

    @property
    def is_open(self) -> bool:
        """True while something may still come of it."""
        return self in (
            ProposalState.PROPOSED,
            ProposalState.APPROVED,
            ProposalState.WAITING,
            ProposalState.APPLYING,
            ProposalState.APPLIED,
        )

    @property
    def ended_badly(self) -> bool:
        """True after what may have been done by half: it is not done again without a person."""
        return self in (ProposalState.FAILED, ProposalState.INTERRUPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """What an apply would do to one resource: terraform's actions, and pointers to what would differ.

    For what it does in the state alone the action is `import` or `move`.
    """

    address: str
    type: str
    actions: tuple[str, ...]
    attributes: tuple[str, ...] = ()

    @property
    def is_of_state(self) -> bool:
        """True where nothing in the cloud changes: only the state comes to know it, or by another name."""
        return self.actions in (("import",), ("move",))

    @property
    def destroys(self) -> bool:
        """True for a replacement too, in either order, and where the state would forget it."""
        return "delete" in self.actions or "forget" in self.actions


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """A plan as people read it, without values. `changes` are at most `SUMMARY_CHANGES`, destroys first."""

    adds: int
    updates: int
    destroys: int
    replaces: int
    changes: tuple[PlannedChange, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.adds + self.updates + self.destroys + self.replaces

    @property
    def of_state(self) -> list[str]:
        """`2 to import` and `1 to move`: what happens in the state alone, of the changes that are named."""
        found = {word: sum(each.actions == (word,) for each in self.changes) for word in ("import", "move")}
        return [f"{number} to {word}" for word, number in found.items() if number]


SUMMARY_CHANGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one person said of a proposal: `approves`, or rejects. `digest` is of what they saw."""

    by: str
    at: datetime
    via: str
    approves: bool
    digest: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a proposal is not applied now: a word for machines, a sentence, and when that may change."""

    reason: str
    sentence: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A person asked that an apply be interrupted."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRun:
    """One apply. It is written before terraform starts; `pid` and `pid_started` right after.

    `pid_started` is the process's start time in the kernel's ticks, which tells it from a later one with the
    same id. `exit_code` is None while it runs, and where nobody knows. `output` is the end of what
    terraform said, redacted; while it runs, of what it said so far. `cancel` is who wanted it interrupted,
    whether or not it was in time.
    """

    id: str
    node: str
    plan_sha256: str
    state_lineage: str | None
    state_serial: int | None
    started_at: datetime
    pid: int | None = None
    pid_started: int | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    output: str | None = None
    cancel: Cancellation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalDraft:
    """What is proposed, before it is a row.

    `digest` is over all that an approval covers (`driftwatch.policy.digests`); `findings` are the
    fingerprints that it would close, `addresses` theirs. `author` is who made the change that it is about,
    where that is known, `authors` all who had a part in it, by their names in Git. `automatic` where it may
    be applied without a person. `radius` says how far it reaches, in a sentence or two.
    """

    stack: StackId
    kind: ProposalKind
    commit: str
    digest: str
    findings: tuple[str, ...]
    addresses: tuple[str, ...]
    summary: PlanSummary
    reason: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    automatic: bool
    risks: tuple[str, ...] = ()
    author: str | None = None
    authors: tuple[str, ...] = ()
    radius: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposal with its life so far. `superseded_by` is the id of the one that took its place, if any."""

    id: int
    state: ProposalState
    draft: ProposalDraft
    decisions: tuple[Decision, ...] = ()
    held: Hold | None = None
    run: ApplyRun | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    superseded_by: int | None = None

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who approved just this content, each once."""
        return tuple(
            dict.fromkeys(
                each.by for each in self.decisions if each.approves and each.digest == self.draft.digest
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Nothing is applied in this scope: a stack's id, a repository's name, or `*`. Checks go on."""

    scope: str
    by: str
    at: datetime
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A stack that was rolled back stays at that commit until somebody takes the pin out."""

    stack: StackId
    commit: str
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A repair that a person asked for, and for a rollback to which commit.

    `revert` where the code is to be brought back too, by a branch that people can merge.
    """

    stack: StackId
    kind: ProposalKind
    by: str
    reason: str | None = None
    commit: str | None = None
    revert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What came of a wish: a proposal, or why there is none. `note` says what else came of it."""

    proposal: int | None
    error: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What somebody says has happened to a repository: worth a look, and no more than that.

    `repository` is the name in the configuration. Without a pull request its branch may have moved.
    """

    repository: str
    pull_request: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request, or merge request, as its forge tells of it now.

    `head` is the commit that is proposed, `base` the branch that it is to go to. `author` is the forge's
    login of whoever opened it. `from_fork` is true where its branch is another repository's, and where that
    is gone or not known.
    """

    number: int
    title: str
    author: str
    head: str
    base: str
    from_fork: bool
    is_open: bool
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A comment on a pull request. `author` is the forge's login; `own` is true where it is driftwatch's.

    One that was `edited` may say something else than its author did: others may edit it too.
    """

    id: int
    author: str
    body: str
    own: bool
    edited: bool = False


class CommitState(StrEnum):
    """What a commit status says; each forge has its own words for them."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    """Looked at, and not good."""
    ERROR = "error"
    """Could not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitStatus:
    """One status of a commit: `context` names what looked at it, `description` says it in one line."""

    context: str
    state: CommitState
    description: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionWish:
    """Drift of one stack that is to be brought into its code, by a pull request or a branch.

    `findings` are fingerprints: what differs otherwise by now was not asked for. `imports` maps addresses
    that the code shall have to what their provider calls the things that are there. `marks` are digests of
    what differs, for wishes of driftwatch's own: what it has offered once, it does not offer again.
    """

    stack: StackId
    by: str
    findings: tuple[str, ...] = ()
    imports: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAdopted:
    """Why one address was left as it is: a word for machines and a sentence.

    `place` is file and line where there is one to look at, `wanted` the value that belongs there, as it would
    be written, and `path` the pointer to the attribute.
    """

    address: str
    reason: str
    sentence: str
    place: str = ""
    path: str = ""
    wanted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What came of an adoption: a branch with `edits`, each a sentence, and what was `refused`.

    `url` is the pull request's and `issue` that of the issue that tells what was refused; None without a
    forge. `skipped`: nothing was tried, as it was no longer wanted.
    """

    branch: str | None = None
    url: str | None = None
    issue: str | None = None
    edits: tuple[str, ...] = ()
    refused: tuple[NotAdopted, ...] = ()
    error: str | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What somebody wanted adopted, at `at`, and what came of it; None for both while it waits."""

    number: int
    wish: AdoptionWish
    at: datetime
    done_at: datetime | None = None
    adopted: Adopted | None = None
