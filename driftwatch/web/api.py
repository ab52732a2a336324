"""`/api/v1`: what other programs ask and do, a CI job above all. `/api/v1/openapi.json` describes it.

Documents are those of the terminal's `--format json`. Whoever may not see a stack is answered as if it were
not there. What is done goes the way that a person's press goes: the same rights, the same audit, the same
digest of what was seen. FastAPI is imported with this module, so that commands without a server do without.
"""

# No postponed annotations here: FastAPI reads those of the endpoints.

from datetime import datetime
from glob import escape
from http import HTTPStatus
from typing import Annotated, Any, Literal, Protocol, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftwatch import __version__
from driftwatch.config.values import plain_text
from driftwatch.documents.drift import (
    event_document,
    findings_document,
    life_document,
    shown_stack,
    stacks_document,
    stored,
    timestamp,
)
from driftwatch.documents.repair import (
    pin_document,
    proposal_document,
    proposals_document,
    shown_proposal,
    suspension_document,
)
from driftwatch.documents.work import kept_check, kept_checks, kept_job
from driftwatch.drift import Accept, Acknowledge, Press, Refused, Reopen, Snooze
from driftwatch.drift.lifecycle import ACTION_NAMES, Action
from driftwatch.errors import StoreError, UnknownStackError, sentence
from driftwatch.log import redact
from driftwatch.model import (
    FindingStatus,
    Hint,
    Proposal,
    ProposalKind,
    ProposalState,
    Right,
    StackId,
    Trigger,
    Wish,
)
from driftwatch.pipeline.votes import Vote
from driftwatch.policy.rights import Person
from driftwatch.web.bodies import bounded_body
from driftwatch.web.door import Door, Refusal

PREFIX = "/api/v1"
VIA = "api"

LARGEST_BODY = 64 * 1024
BODY_SECONDS = 10.0
MOST = 500
"""Items of a page."""

_COMMIT = "^([0-9a-f]{40}|[0-9a-f]{64})$"
_STATUS_OF_REFUSAL = {"no_right": HTTPStatus.FORBIDDEN, "gone": HTTPStatus.NOT_FOUND}

_NOT_READ = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large", f"A request has at most {LARGEST_BODY} bytes."),
    HTTPStatus.REQUEST_TIMEOUT: ("too_slow", f"A request is all there within {BODY_SECONDS:g} seconds."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("packed", "A request is sent as it is, without Content-Encoding."),
    HTTPStatus.BAD_REQUEST: ("invalid", "The request ended before its end."),
}

router = APIRouter(prefix=PREFIX)


# ---- what is asked for --------------------------------------------------------------------------------


Line = Annotated[str, AfterValidator(plain_text), Field(max_length=1000)]


class Body(BaseModel):
    """What a request says; a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TriggerBody(Body):
    """Which stacks are to be checked now, by an id or a glob; or which repository is to be fetched first.

    After a fetch, what its new commits touch is checked.
    """

    stack: Annotated[Line | None, Field(examples=["platform/envs/prod/*"])] = None
    repository: Annotated[Line | None, Field(examples=["platform"])] = None


class ProposalBody(Body):
    """What is to be proposed for a stack. A rollback names the whole commit."""

    stack: Line
    kind: Literal["revert", "deploy", "rollback"]
    commit: Annotated[str, Field(pattern=_COMMIT)] | None = None
    reason: Line | None = None


class VoteBody(Body):
    """A decision about just what was seen: `digest` is the proposal's, as it was read."""

    digest: Line
    reason: Line | None = None


class FindingBody(Body):
    """Why, and of which content: with `fingerprint`, it is refused where that has changed meanwhile."""

    reason: Line | None = None
    fingerprint: Line | None = None


class SnoozeBody(FindingBody):
    """Until when nobody wants to hear of it."""

    until: AwareDatetime


class AcceptBody(FindingBody):
    """That it may stay as it is, all of it or some attributes (JSON pointers), and who answers for that."""

    reason: Line
    owner: Line | None = None
    expires: AwareDatetime | None = None
    attributes: tuple[Line, ...] = ()


# ---- who asks -----------------------------------------------------------------------------------------


async def _door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


def _caller(request: Request) -> Person:
    address = request.client.host if request.client else ""
    door: Door = request.app.state.door
    return door.let_in(request.headers.get("Authorization", ""), address)


TheDoor = Annotated[Door, Depends(_door)]
Caller = Annotated[Person, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most so many.")]
After = Annotated[int | None, Query(ge=1, description="The `next` of the page before.")]
Glob = Annotated[str | None, Query(max_length=1000, description="A stack's id, or a glob.")]


class _OfStack(Protocol):
    @property
    def stack(self) -> StackId: ...


Found = TypeVar("Found", bound=_OfStack)


def _visible(caller: Person, found: Found | None) -> Found:
    """What was found. Raises the Refusal of what is not there, also where they may not see its stack."""
    if found is None or not caller.may(Right.VIEW, str(found.stack)):
        raise _not_found()
    return found


# ---- stacks -------------------------------------------------------------------------------------------


@router.get("/stacks")
def list_stacks(door: TheDoor, caller: Caller, stack: Glob = None) -> dict[str, Any]:
    """The stacks, with their verdict and the health of their checks."""
    patterns = [stack] if stack is not None else []
    found = door.store.stacks(patterns, now=door.clock(), allowed_age=door.allowed_age)
    return stacks_document([each for each in found if caller.may(Right.VIEW, str(each.id))])


@router.get("/stacks/{stack:path}")
def show_stack(door: TheDoor, caller: Caller, stack: str) -> dict[str, Any]:
    """One stack."""
    found = door.store.stacks([escape(stack)], now=door.clock(), allowed_age=door.allowed_age)
    status = found[0] if found else None
    if status is None or not caller.may(Right.VIEW, str(status.id)):
        raise _not_found()
    suspension = door.store.suspension_of(status.id, door.clock())
    pin = door.store.pins().get(status.id)
    return {
        **shown_stack(status),
        "suspension": suspension_document(suspension),
        "pin": pin_document(pin),
    }


# ---- checks -------------------------------------------------------------------------------------------


@router.post("/trigger", status_code=HTTPStatus.ACCEPTED)
def trigger(door: TheDoor, caller: Caller, body: TriggerBody) -> dict[str, Any]:
    """Have stacks checked now, or a repository fetched and what its new commits touch checked.

    Answers with a job for each stack; `/jobs/{id}` says what became of it. A queued job is not doubled. For a
    repository there are no jobs yet: `/checks` tells by their `commit` when they are done.
    """
    if body.repository is not None and body.stack is None:
        return _fetch(door, caller, body.repository)
    if body.stack is None or body.repository is not None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid", "Give a stack or a repository, and not both.")
    at = door.clock()
    known = [each.id for each in door.store.stacks([body.stack], now=at)]
    mine = [each for each in known if caller.may(Right.VIEW, str(each))]
    if not mine:
        raise Refusal(HTTPStatus.NOT_FOUND, "not_found", "No stack that you may see matches.")
    allowed = [each for each in mine if caller.may(Right.CHECK, str(each))]
    outcome = f"queued {len(allowed)} stacks" if allowed else "refused: no_right"
    _note(door, caller, at, action="trigger", subject=body.stack, outcome=outcome)
    if not allowed:
        raise _no_right(Right.CHECK, body.stack)
    queued = [
        (each, door.store.enqueue(each, Trigger.MANUAL, requested_by=caller.name, at=at)) for each in allowed
    ]
    jobs = [{"stack": str(each), "job": job.job_id, "created": job.created} for each, job in queued]
    return {"queued": jobs, "at": timestamp(at)}


def _fetch(door: Door, caller: Person, repository: str) -> dict[str, Any]:
    """Has a repository fetched, for whoever may have any stack of it checked, also one to come."""
    at = door.clock()
    stacks = [str(each.id) for each in door.store.stacks([f"{escape(repository)}/*"], now=at)]
    stacks.append(f"{repository}/*")
    is_visible = repository in door.repositories and any(caller.may(Right.VIEW, each) for each in stacks)
    if door.hints is None or not is_visible:
        raise _not_found()
    allowed = any(caller.may(Right.CHECK, each) for each in stacks)
    outcome = "asked to fetch" if allowed else "refused: no_right"
    _note(door, caller, at, action="trigger", subject=repository, outcome=outcome)
    if not allowed:
        raise _no_right(Right.CHECK, repository)
    door.hints.take(Hint(repository=repository), VIA)
    return {"queued": [], "repository": repository, "at": timestamp(at)}


@router.get("/jobs/{job}")
def show_job(door: TheDoor, caller: Caller, job: int) -> dict[str, Any]:
    """What became of a job."""
    found = _visible(caller, door.store.job(job))
    return kept_job(found)


@router.get("/checks")
def list_checks(
    door: TheDoor, caller: Caller, stack: Glob = None, limit: Limit = 100, after: After = None
) -> dict[str, Any]:
    """Checks, the newest first."""
    page = door.store.checks(stack=stack, limit=limit, after=after)
    return kept_checks([each for each in page.items if caller.may(Right.VIEW, str(each.stack))], page.next)


@router.get("/checks/{check}")
def show_check(door: TheDoor, caller: Caller, check: int) -> dict[str, Any]:
    """One check."""
    found = _visible(caller, door.store.check(check))
    return kept_check(found)


# ---- findings -----------------------------------------------------------------------------------------


@router.get("/findings")
def list_findings(
    door: TheDoor,
    caller: Caller,
    *,
    stack: Glob = None,
    status: Annotated[list[FindingStatus] | None, Query(description="Only these; may be repeated.")] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Findings, the newest first.

    By default those that go on. A page may have fewer than asked for and a `next` all the same.
    """
    statuses = status or [each for each in FindingStatus if each.is_active]
    page = door.store.findings(stack=stack, statuses=statuses, limit=limit, after=after)
    seen = [each for each in page.items if caller.may(Right.VIEW, str(each.stack))]
    return findings_document(seen, page.next)


@router.get("/findings/{finding}")
def show_finding(door: TheDoor, caller: Caller, finding: int) -> dict[str, Any]:
    """One finding, with every step of its life."""
    found = _visible(caller, door.store.finding(finding))
    events = door.store.finding_events(finding)
    return {**stored(found), **life_document(found), "events": [event_document(each) for each in events]}


@router.post("/findings/{finding}/acknowledge")
def acknowledge(door: TheDoor, caller: Caller, finding: int, body: FindingBody) -> dict[str, Any]:
    """Look after a finding."""
    return _press(door, caller, finding, Acknowledge(), body)


@router.post("/findings/{finding}/snooze")
def snooze(door: TheDoor, caller: Caller, finding: int, body: SnoozeBody) -> dict[str, Any]:
    """Put a finding aside until a time."""
    return _press(door, caller, finding, Snooze(until=body.until), body)


@router.post("/findings/{finding}/accept")
def accept(door: TheDoor, caller: Caller, finding: int, body: AcceptBody) -> dict[str, Any]:
    """Let a finding be as it is now."""
    terms = Accept(owner=body.owner, expires=body.expires, attributes=body.attributes)
    return _press(door, caller, finding, terms, body)


@router.post("/findings/{finding}/reopen")
def reopen(door: TheDoor, caller: Caller, finding: int, body: FindingBody) -> dict[str, Any]:
    """Make a finding everybody's again."""
    return _press(door, caller, finding, Reopen(), body)


def _press(door: Door, caller: Person, number: int, action: Action, body: FindingBody) -> dict[str, Any]:
    found = _visible(caller, door.store.finding(number))
    at, right = door.clock(), Right.ACCEPT if isinstance(action, Accept) else Right.ACKNOWLEDGE
    press = Press(action=action, actor=caller.name, at=at, reason=body.reason, seen=body.fingerprint)
    allowed = caller.may(right, str(found.stack))
    acted = door.store.act(number, press) if allowed else Refused(reason="no_right", sentence="")
    refusal = "unknown" if acted is None else acted.reason if isinstance(acted, Refused) else None
    outcome = f"refused: {refusal}" if refusal else "done"
    _note(
        door,
        caller,
        at,
        action=ACTION_NAMES[type(action)],
        subject=f"finding {number}",
        outcome=outcome,
        reason=body.reason,
    )
    if not allowed:
        raise _no_right(right, str(found.stack))
    if isinstance(acted, Refused):
        raise Refusal(HTTPStatus.CONFLICT, acted.reason, sentence(acted.sentence))
    return show_finding(door, caller, number)


# ---- proposals ----------------------------------------------------------------------------------------


@router.get("/proposals")
def list_proposals(
    door: TheDoor,
    caller: Caller,
    *,
    stack: Glob = None,
    state: Annotated[list[ProposalState] | None, Query(description="Only these; may be repeated.")] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Proposals, the newest first.

    By default those of which something may come. A page may have fewer, and a `next` all the same.
    """
    states = state or [each for each in ProposalState if each.is_open]
    page = door.store.proposals(stack=stack, states=states, limit=limit, after=after)
    seen = [each for each in page.items if caller.may(Right.VIEW, str(each.draft.stack))]
    return proposals_document(seen, page.next, needed=door.needed)


@router.post("/proposals", status_code=HTTPStatus.ACCEPTED)
def ask(door: TheDoor, caller: Caller, body: ProposalBody) -> dict[str, Any]:
    """Ask for a proposal.

    Answers with the number of a wish; `/wishes/{number}` says what the daemon made of it.
    """
    at, kind = door.clock(), ProposalKind(body.kind)
    if (kind is ProposalKind.ROLLBACK) != (body.commit is not None):
        raise Refusal(HTTPStatus.BAD_REQUEST, "invalid", "commit: goes with a rollback, and only with that.")
    found = door.store.stacks([escape(body.stack)], now=at)
    stack = found[0].id if found else None
    if stack is None or not caller.may(Right.VIEW, str(stack)):
        raise _not_found()
    allowed = caller.may(Right.APPLY, str(stack))
    action = "rollback" if kind is ProposalKind.ROLLBACK else "propose"
    wish = Wish(stack=stack, kind=kind, by=caller.name, reason=body.reason, commit=body.commit)
    number = door.store.wish(wish, at) if allowed else None
    outcome = "refused: no_right" if number is None else f"asked for, wish {number}"
    subject = f"{kind} {stack}" + (f" to {body.commit}" if body.commit else "")
    _note(door, caller, at, action=action, subject=subject, outcome=outcome, reason=body.reason)
    if number is None:
        raise _no_right(Right.APPLY, str(stack))
    return {"wish": number}


@router.get("/wishes/{wish}")
def show_wish(door: TheDoor, caller: Caller, wish: int) -> dict[str, Any]:
    """What the daemon made of a wish.

    `done` is false until it is answered: with a proposal, or with why there is none.
    """
    wished = _visible(caller, door.store.wished(wish))
    granted = door.store.granted(wish)
    proposal = door.store.proposal(granted.proposal) if granted and granted.proposal is not None else None
    return {
        "wish": wish,
        "stack": str(wished.stack),
        "kind": wished.kind.value,
        "by": wished.by,
        "done": granted is not None,
        "proposal": proposal_document(proposal, needed=door.needed) if proposal else None,
        "error": granted.error if granted else None,
        "note": granted.note if granted else None,
    }


@router.get("/proposals/{proposal}")
def show_proposal(door: TheDoor, caller: Caller, proposal: int) -> dict[str, Any]:
    """One proposal: its plan, its findings, and every step of its life."""
    return _shown(door, _seen(door, caller, proposal))


@router.post("/proposals/{proposal}/approve")
def approve(door: TheDoor, caller: Caller, proposal: int, body: VoteBody) -> dict[str, Any]:
    """Say that a proposal may be applied."""
    return _vote(door, caller, proposal, body, approves=True)


@router.post("/proposals/{proposal}/reject")
def reject(door: TheDoor, caller: Caller, proposal: int, body: VoteBody) -> dict[str, Any]:
    """Say that a proposal is not to be applied: its end."""
    return _vote(door, caller, proposal, body, approves=False)


def _vote(door: Door, caller: Person, number: int, body: VoteBody, *, approves: bool) -> dict[str, Any]:
    _seen(door, caller, number)
    vote = Vote(proposal=number, approves=approves, seen=body.digest, via=VIA, reason=body.reason)
    counted = door.votes.cast(vote, caller)
    refusal = counted.outcome.removeprefix("refused: ")
    if refusal != counted.outcome:
        status = _STATUS_OF_REFUSAL.get(refusal, HTTPStatus.CONFLICT)
        raise Refusal(status, refusal, sentence(counted.sentence))
    shown = _shown(door, _seen(door, caller, number))
    return {"outcome": counted.outcome, "sentence": counted.sentence, "proposal": shown}


def _seen(door: Door, caller: Person, number: int) -> Proposal:
    found = door.store.proposal(number)
    if found is None or not caller.may(Right.VIEW, str(found.draft.stack)):
        raise _not_found()
    return found


def _shown(door: Door, proposal: Proposal) -> dict[str, Any]:
    wanted = set(proposal.draft.findings)
    closing = [
        each for each in door.store.findings_of(proposal.draft.stack) if each.finding.fingerprint in wanted
    ]
    return shown_proposal(proposal, door.store.proposal_events(proposal.id), closing, needed=door.needed)


# ---- answers ------------------------------------------------------------------------------------------


def add_api(app: FastAPI, door: Door) -> None:
    """Adds the API to an application."""
    app.state.door = door
    description = get_openapi(
        title="driftwatch",
        version=__version__,
        routes=router.routes,
        description="Drift detection and GitOps reconciliation for Terraform and OpenTofu.",
    )
    description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{"token": []}]

    async def openapi(_: Request) -> JSONResponse:
        return JSONResponse(description)

    app.include_router(router)
    app.router.add_route(f"{PREFIX}/openapi.json", openapi, methods=["GET"])
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnknownStackError, _gone)
    app.add_exception_handler(StoreError, _unavailable)
    app.add_middleware(_Bounded)


async def _refused(_: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)  # noqa: S101  (for the type checker)
    return _answer(refusal.status, refusal.code, refusal.message, refusal.headers)


async def _invalid(_: Request, problem: Exception) -> JSONResponse:
    """Names what is wrong and where, and repeats nothing of what was sent: it may be a secret."""
    assert isinstance(problem, RequestValidationError)  # noqa: S101  (for the type checker)
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problem.errors()[:10]]
    return _answer(HTTPStatus.BAD_REQUEST, "invalid", "; ".join(told))


async def _gone(_: Request, _problem: Exception) -> JSONResponse:
    """A stack that was taken out of its repository between two questions."""
    refusal = _not_found()
    return _answer(refusal.status, refusal.code, refusal.message)


async def _unavailable(_: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, StoreError)  # noqa: S101  (for the type checker)
    return _answer(
        HTTPStatus.SERVICE_UNAVAILABLE, problem.code, redact(problem.message), {"Retry-After": "10"}
    )


def _answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": code, "message": message}, status_code=status, headers=headers)


def _not_found() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "not_found", "There is no such thing, or you may not see it.")


def _no_right(right: Right, what: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, "no_right", f"You have no right to {right} for {what}.")


def _note(
    door: Door,
    caller: Person,
    at: datetime,
    *,
    action: str,
    subject: str,
    outcome: str,
    reason: str | None = None,
) -> None:
    door.store.note(
        at=at, actor=caller.name, via=VIA, action=action, subject=subject, outcome=outcome, reason=reason
    )


class _Bounded:
    """Refuses a body that is too large or too slow before anything looks at it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        body = await bounded_body(scope, receive, most=LARGEST_BODY, seconds=BODY_SECONDS)
        if isinstance(body, HTTPStatus):
            await _answer(body, *_NOT_READ[body])(scope, receive, send)
            return
        whole: Message = {"type": "http.request", "body": body, "more_body": False}
        messages = iter((whole,))

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)
