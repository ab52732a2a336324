"""What terraform says when something fails, turned into the errors that driftwatch knows.

The exit code says nothing of the cause, so it is read from diagnostics: those of `plan -json`, or the text
that other commands print, wrapped at 78 columns. The rules are tried in order, on one line of text without
the wrapping; each was made from a message that a real terraform or provider gave (tests/terraform/corpus).
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from driftwatch.errors import (
    ApplyFailedError,
    BackendRefusedError,
    CloudThrottledError,
    CloudUnreachableError,
    ConfigurationInvalidError,
    CredentialsExpiredError,
    CredentialsMissingError,
    DiskFullError,
    EngineCrashedError,
    InitFailedError,
    NotARootModuleError,
    PlanFailedError,
    PlanStaleError,
    ProviderCrashedError,
    ProviderUnavailableError,
    StateLockedError,
    StateNotSavedError,
    StateUnreadableError,
    VariableMissingError,
    VersionMismatchError,
    WorkspaceMissingError,
)
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from driftwatch.errors import DriftwatchError
    from driftwatch.terraform.command import Finished

_LONGEST_DETAIL = 4000
_LONGEST_SENTENCE = 400
_MOST_DIAGNOSTICS = 50

_FRAME = re.compile(r"\x1b\[[0-9;]*m|^[╷│╵] ?", re.MULTILINE)
_TEXT_DIAGNOSTIC = re.compile(r"^(Error|Warning): (.*?)(?=^(?:Error|Warning): |\Z)", re.MULTILINE | re.DOTALL)
_WHERE = re.compile(r"\bon (?P<file>\S.*?) line (?P<line>\d+)")
_ADDRESS = re.compile(r"\s*with (?P<address>\S+),")
_PLACE = re.compile(r"\s+(?:with \S+,|on \S.*? line \d+)")
_PREAMBLE = re.compile(r"(?:Terraform|OpenTofu) encountered problems during initiali[sz]ation")
_OUR_APPLY = re.compile(r"@dw-p(\d{1,19})-[0-9a-f]{8}$")
"""The host name under which an apply of driftwatch's takes its lock."""

_OTHERS_ADVICE = (
    "It is tried again later. driftwatch breaks no locks; where the holder is gone, a person may."
)
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One error that terraform reported, with the resource or provider and the place in the code it names."""

    summary: str
    detail: str = ""
    address: str | None = None
    file: str | None = None
    line: int | None = None

    @property
    def text(self) -> str:
        return _BLANKS.sub(" ", f"{self.summary} {self.detail}").strip()

    @property
    def is_of_code(self) -> bool:
        return self.file is not None and self.address is None

    @property
    def place(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return " at ".join(filter(None, (self.address, where)))

    def __str__(self) -> str:
        """As a person reads it."""
        return "\n".join(
            filter(None, (f"Error: {self.summary}", self.place and f"  {self.place}", self.detail))
        )


class InitNeededError(InitFailedError):
    """The directory is not initialised, or no longer in the way that its code asks for."""


def from_json(line: bytes) -> Diagnostic | None:
    """The error in one line of a JSON stream, if it is one."""
    if b'"diagnostic"' not in line:
        return None
    try:
        message = json.loads(line)
        found = message["diagnostic"] if message["type"] == "diagnostic" else None
        return _diagnostic(found) if found and found["severity"] == "error" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _diagnostic(found: dict[str, Any]) -> Diagnostic:
    place = found.get("range") or {}
    return Diagnostic(
        summary=str(found["summary"]),
        detail=str(found.get("detail") or ""),
        address=found.get("address"),
        file=place.get("filename"),
        line=(place.get("start") or {}).get("line"),
    )


def from_text(output: str) -> list[Diagnostic]:
    """The errors in what a command without `-json` printed, with or without colours and frames."""
    plain = _FRAME.sub("", output.replace("\r", ""))
    found = [
        _text_diagnostic(match.group(2))
        for match in _TEXT_DIAGNOSTIC.finditer(plain)
        if match.group(1) == "Error"
    ][:_MOST_DIAGNOSTICS]
    return [each for each in found if not _PREAMBLE.match(each.summary)] or found


def _text_diagnostic(text: str) -> Diagnostic:
    """Of a place only its name is kept: the lines of code that are shown with it may hold anything."""
    summary, _, rest = text.strip().partition("\n\n")
    place, _, detail = rest.partition("\n\n") if _PLACE.match(rest) else ("", "", rest)
    flat = _BLANKS.sub(" ", place)
    where, of = _WHERE.search(flat), _ADDRESS.match(place)
    return Diagnostic(
        summary=_BLANKS.sub(" ", summary),
        detail=detail.strip(),
        address=of["address"] if of else None,
        file=where["file"] if where else None,
        line=int(where["line"]) if where else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """`pattern` on an error's text in one line; `sentence` makes the message, the summary serves without it.

    `of_code` is whether an error that points at a line of code, and at no resource, can be this: the names in
    somebody's code must not be taken for what a cloud says.
    """

    error: type[DriftwatchError]
    pattern: re.Pattern[str]
    advice: str | None = None
    sentence: Callable[[re.Match[str], Sequence[Diagnostic]], str] | None = None
    of_code: bool = False

    def matches(self, diagnostic: Diagnostic) -> re.Match[str] | None:
        if diagnostic.is_of_code and not self.of_code:
            return None
        return self.pattern.search(diagnostic.text)


def _rule(
    error: type[DriftwatchError],
    pattern: str,
    advice: str | None = None,
    sentence: Callable[[re.Match[str], Sequence[Diagnostic]], str] | None = None,
    *,
    of_code: bool = False,
) -> _Rule:
    compiled = re.compile(pattern, re.IGNORECASE)
    return _Rule(error=error, pattern=compiled, advice=advice, sentence=sentence, of_code=of_code)


def _variables(_match: re.Match[str], diagnostics: Sequence[Diagnostic]) -> str:
    found = (re.search(r'input variable "([^"]+)"', each.text) for each in diagnostics)
    names = dict.fromkeys(match[1] for match in found if match)
    return (
        f"no value for {', '.join(f'var.{name}' for name in names)}" if names else "a variable has no value"
    )


def _workspace(match: re.Match[str], _diagnostics: Sequence[Diagnostic]) -> str:
    name = match["name"] or match["which"]
    return f"the workspace {name} does not exist" if name else "this backend has no workspaces"


_AUTHENTICATE = "Check the credentials in the stack's `environment` (or yours, for `check DIR`)."
_INIT_AGAIN = "Run `init` with this code and commit the lock file that it writes."

_RULES = (
    _rule(
        StateNotSavedError,
        r"failed to (?:save|persist|update) state|error saving (?:current )?state|writing the updated state",
        "Push the state that was kept, with `state push`, before anything else is planned or applied.",
    ),
    _rule(
        PlanStaleError,
        r"saved plan is stale|saved plan does not match the given state",
        "Nothing was changed. Plan again: what is asked for may be something else now.",
    ),
    _rule(
        DiskFullError,
        r"no space left on device|disk quota exceeded|: file too large",
        "Free some space where driftwatch keeps its state; the last good result stands.",
        of_code=True,
    ),
    _rule(
        VersionMismatchError,
        r"unsupported (?:terraform|opentofu) core version",
        "Install a version that the code's required_version allows, or change that.",
        of_code=True,
    ),
    _rule(
        StateUnreadableError,
        r"unsupported state file format|state snapshot was created by|does not have the expected content"
        r"|state file could not be (?:parsed|decoded|read)|error (?:decoding|unmarshall?ing) state"
        r"|decryption failed for",
        "Look at the state itself: it is damaged, or of a newer version than the engine here.",
    ),
    _rule(
        InitNeededError,
        r"please run .(?:terraform|tofu) init|module not installed|module source has changed"
        r"|module version requirements have changed|required plugins are not installed"
        r"|inconsistent dependency lock file|backend configuration changed|initialization required",
        "Run `init` in the directory.",
        of_code=True,
    ),
    _rule(NotARootModuleError, r"^no configuration files"),
    _rule(
        VariableMissingError,
        r"no value for required variable",
        "Set it in the stack's `variables` or `var_files` (for `check DIR`: --var, --var-file or TF_VAR_…).",
        _variables,
        of_code=True,
    ),
    _rule(
        WorkspaceMissingError,
        r'workspace "?(?P<name>[^\s"()]+)"? (?:does not|doesn.t) exist'
        r"|selected workspace \((?P<which>[^)]+)\)|workspaces not supported",
        "Create it with `workspace new`, or change `workspaces`; driftwatch never creates one.",
        _workspace,
    ),
    _rule(
        CredentialsExpiredError,
        r"expiredtoken|requestexpired"
        r"|(?:token|credentials?|session|assertion|keys?)\b[^.]{0,60} expired"
        r"|sso token failed|invalidgrant"
        r"|expired[^.]{0,20} (?:token|credentials)|token refresh failed|invalid_grant"
        r"|expiredauthenticationtoken"
        r"|AADSTS(?:700024|50173|70043|7000222)",
        f"Renew them. {_AUTHENTICATE}",
    ),
    _rule(
        CloudThrottledError,
        r"throttl|rate exceeded|too ?many ?requests|requestlimitexceeded|slow ?down\b|ratelimitexceeded"
        r"|rate limit|resource_exhausted|(?:status ?code:?|error|status) (?:429|50[0234])\b"
        r"|service ?unavailable|internalfailure|internalerror|bad gateway|gateway time-?out",
        "It is tried again later; lower `terraform.parallelism` where it comes back.",
    ),
    _rule(
        ProviderCrashedError,
        r"plugin did not respond|plugin (?:process )?(?:has )?(?:crashed|exited)"
        r"|failed to respond to the plugin|code = (?:unavailable|canceled) desc"
        r"|connection is shutting down|request cancell?ed the|the terraform-provider-\S+ plugin crashed",
        "It is tried again later; where it comes back, the provider's own log (TF_LOG) says more.",
    ),
    _rule(
        ProviderUnavailableError,
        r"doesn.t match any of the checksums|does not match any of the checksums|dependency changes detected"
        r"|failed to (?:query available|resolve) provider packages|failed to install provider"
        r"|could not retrieve the list of available versions|exec format error"
        r"|unrecognized remote plugin message|failed to (?:instantiate|load) (?:provider|plugin)"
        r"|could not load plugin|incompatible provider version|invalid provider registry|text file busy"
        r"|fork/exec",
        f"Check `terraform.provider_mirrors` and the lock file. {_INIT_AGAIN}",
    ),
    _rule(
        BackendRefusedError,
        r"error (?:refreshing|loading|inspecting) states?|failed to get (?:existing workspaces|state)"
        r"|http remote state endpoint|error (?:configuring|loading) the backend|state data in s3"
        r"|unable to (?:list objects|access object)|s3 bucket \S+ does not exist"
        r"|error acquiring the state lock|failed to (?:lock|retrieve lock)|invalid backend configuration"
        r"|backend(?: initialization|.s) (?:failed|error)"
        r"|error (?:connecting to|querying) (?:the )?(?:backend|cloud)",
        "Check the backend's address and credentials: its block, `backend_config`, `environment`.",
    ),
    _rule(
        CredentialsMissingError,
        r"no valid credential sources|nocredentialproviders|could not find default credentials"
        r"|invalidclienttokenid|unrecognizedclient|signaturedoesnotmatch|invalidaccesskeyid|authfailure"
        r"|access ?denied|unauthorizedoperation|not authorized|authorizationfailed|unauthorized|forbidden"
        r"|status ?code:? 40[13]|failed to refresh cached credentials|unable to build authorizer"
        r"|permission_?denied",
        _AUTHENTICATE,
    ),
    _rule(
        InitFailedError,
        r"\bask(?:ing|)\b.{0,30} state migration",
        "A state lies in the directory beside the one that its backend names; move it away, or migrate it.",
    ),
    _rule(
        InitFailedError,
        r"failed to download module|could not download module|error accessing remote module|module not found"
        r"|error downloading|unresolvable module version",
        "Check the module's source, and what its host needs to be reached.",
        of_code=True,
    ),
    _rule(
        CloudUnreachableError,
        r"dial tcp|connection re(?:set|fused)|no such host|i/o timeout|tls handshake timeout"
        r"|use of closed network connection|network is unreachable",
        "Check the network, and the proxy and the endpoints in the stack's `environment`.",
    ),
)

_DEATH = re.compile(r"^(?:fatal error|panic|runtime error): .*|(?:TERRAFORM|OPENTOFU) CRASH", re.MULTILINE)
_LOCK = re.compile(r"error acquiring the state lock", re.IGNORECASE)
_HELD = re.compile(
    r"lock info:|already locked|resource temporarily unavailable|conditionalcheckfailed|preconditionfailed"
    r"|conditional request failed",
    re.IGNORECASE,
)
_LOCK_FIELD = re.compile(r"^\s*(ID|Operation|Who|Created):[ \t]+(\S.*?)\s*$", re.MULTILINE)
_OTHERS_LOCK = re.compile(r"already locked: ID=(\S+)")


def failure(
    finished: Finished,
    diagnostics: Sequence[Diagnostic],
    *,
    now: datetime | None = None,
    engine: str = "terraform",
) -> DriftwatchError:
    """The error that a command's failure is. `now` is for the age of a lock."""
    diagnostics = diagnostics or from_text(finished.output)
    detail = _detail(diagnostics, finished)
    if crash := _crash(finished, diagnostics):
        return EngineCrashedError(
            f"{engine} {finished.command} {crash}",
            advice="It is tried again later; where it comes back, it needs more memory, or is broken.",
            detail=detail,
        )
    for diagnostic in diagnostics:
        if _LOCK.search(diagnostic.summary) and _HELD.search(diagnostic.text):
            return _locked(diagnostic, now or datetime.now(UTC), detail)
    for rule in _RULES:
        for diagnostic in diagnostics or [Diagnostic(summary=_last_lines(finished))]:
            if match := rule.matches(diagnostic):
                sentence = rule.sentence(match, diagnostics) if rule.sentence else _sentence(diagnostic, "")
                return rule.error(redact(sentence), advice=rule.advice, detail=detail)
    return _unknown(finished, diagnostics, detail, engine)


_OF_COMMAND: Mapping[str, type[DriftwatchError]] = {
    "plan": PlanFailedError,
    "show": PlanFailedError,
    "apply": ApplyFailedError,
}


def _last_lines(finished: Finished) -> str:
    """What a command without a diagnostic said at last, in one line."""
    return _BLANKS.sub(" ", redact(_FRAME.sub("", finished.output))).strip()[-_LONGEST_SENTENCE:]


def _unknown(
    finished: Finished, diagnostics: Sequence[Diagnostic], detail: str | None, engine: str
) -> DriftwatchError:
    """What no rule knows: of the code, where it names a line of it and no resource; else of the command."""
    first = diagnostics[0] if diagnostics else None
    if first and first.is_of_code:
        return ConfigurationInvalidError(
            redact(_sentence(first, "")), advice="Mend the code; `validate` says the same.", detail=detail
        )
    error = _OF_COMMAND.get(finished.command, InitFailedError)
    return error(
        redact(_sentence(first, f"{engine} {finished.command} failed (exit code {finished.returncode})")),
        advice="The detail is what it said.",
        detail=detail,
    )


def _sentence(diagnostic: Diagnostic | None, otherwise: str) -> str:
    if diagnostic is None:
        return otherwise
    # Redacted before anything is cut: half a secret is not known as one.
    summary = redact(diagnostic.summary).strip().rstrip(".:")
    detail = _BLANKS.sub(" ", redact(diagnostic.detail)).strip()
    first = re.split(r"(?<=[.;])\s", detail, maxsplit=1)[0].rstrip(".;") if detail else ""
    said = f"{summary}: {first}" if first and first not in summary else summary
    prefix = f"{diagnostic.place}: " if diagnostic.place else ""
    return f"{prefix}{said}"[:_LONGEST_SENTENCE]


def _detail(diagnostics: Sequence[Diagnostic], finished: Finished) -> str | None:
    text = "\n\n".join(map(str, diagnostics)) or _FRAME.sub("", finished.output)
    text = redact(text).strip()
    if not diagnostics:
        return text[-_LONGEST_DETAIL:] or None
    return text[:_LONGEST_DETAIL] or None


def _crash(finished: Finished, diagnostics: Sequence[Diagnostic]) -> str | None:
    """How the program died, if it did. Go exits with 2 then, as `-detailed-exitcode` does with changes."""
    if finished.returncode < 0:
        name = signal.Signals(-finished.returncode).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    if diagnostics:
        return None
    if died := _DEATH.search(finished.stderr):
        return f"crashed: {redact(died.group())[:200]}"
    if finished.returncode not in (0, 1):
        return f"died with exit code {finished.returncode} and no diagnostics"
    return None


def _locked(diagnostic: Diagnostic, now: datetime, detail: str | None) -> StateLockedError:
    fields = dict(_LOCK_FIELD.findall(diagnostic.detail))
    others = _OTHERS_LOCK.search(diagnostic.text)
    if others and others[1] != fields.get("ID"):
        # The http backend fills in the lock that we asked for; only the id is the holder's.
        fields = {"ID": others[1]}
    holder = fields.get("Who")
    ours = _OUR_APPLY.search(holder or "")
    by = f" by the apply of proposal {ours[1]} ({holder})" if ours else f" by {holder}" if holder else ""
    doing = fields.get("Operation", "").removeprefix("OperationType").lower()
    parts = [
        f"{doing}" if doing else "",
        _age(fields.get("Created"), now),
        f"lock id {fields['ID']}" if "ID" in fields else "",
    ]
    about = ", ".join(filter(None, parts))
    return StateLockedError(
        redact(f"the state is locked{by}" + (f" ({about})" if about else "")),
        advice=_unlock(ours[1], fields.get("ID")) if ours else _OTHERS_ADVICE,
        detail=detail,
    )


def _unlock(proposal: str, lock: str | None) -> str:
    """What a person does about a lock of driftwatch's own, which nothing but its apply gives back."""
    return (
        f"`driftwatch proposals show {proposal}` says whether that apply still runs. Where it was "
        f"interrupted, look at the state; then `terraform force-unlock {lock or 'ID'}` gives the lock back."
    )


def _age(created: str | None, now: datetime) -> str:
    """`for 2 h 5 min`, from Go's way to print a time; "" where it cannot be read."""
    match = re.match(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)", created or "")
    if match is None:
        return ""
    since = datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00")
    minutes = max(0, int((now - since).total_seconds() // 60))
    hours, rest = divmod(minutes, 60)
    return f"for {hours} h {rest} min" if hours else f"for {rest} min"


def needs_init(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether an `init` is what is missing."""
    rule = next(rule for rule in _RULES if rule.error is InitNeededError)
    return any(rule.matches(diagnostic) for diagnostic in diagnostics)
