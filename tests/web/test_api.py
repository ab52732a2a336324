"""The API over real HTTP, on a real store: who may do what, what is answered, and what it bears."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from driftwatch.config.repair import RepairSettings
from driftwatch.config.settings import PersonSettings
from driftwatch.errors import StoreUnavailableError
from driftwatch.model import (
    AttributeChange,
    Cause,
    CheckResult,
    Finding,
    FindingKind,
    Hint,
    Inputs,
    Method,
    PlanSummary,
    ProposalDraft,
    ProposalKind,
    Right,
    Severity,
    StackDeclaration,
    StackId,
    Token,
    Trigger,
    Verdict,
)
from driftwatch.pipeline.votes import Votes
from driftwatch.policy.rights import People
from driftwatch.store import Store
from driftwatch.web import Door, Server, create_app
from driftwatch.web.api import LARGEST_BODY, router
from driftwatch.web.door import FAILURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINE = StackId(repository="platform", path="envs/prod")
OTHERS = StackId(repository="billing", path="envs/prod")
UNKNOWN = 4711
DIGEST = "sha256:" + "d1" * 32
COMMIT = "0f3d" * 10
USERS = {
    "ci": {"rights": ["view", "check"], "stacks": ["platform/*"]},
    "anna": {"rights": ["admin"]},
    "ben": {"rights": ["approve", "apply"]},
    "dora": {"rights": ["view", "approve"]},
    "carol": {"rights": ["view", "acknowledge"], "stacks": ["platform/*"]},
}


class Well:
    """A daemon that is well."""

    def liveness(self) -> Any:
        return True, {}

    def readiness(self) -> Any:
        return True, {}

    def refresh_metrics(self) -> None:
        """Nothing to refresh."""


class House:
    """A store with a drifted stack in each of two repositories, and the API before it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.hints: list[tuple[Hint, str]] = []
        for stack in (MINE, OTHERS):
            check = CheckResult(
                stack=stack,
                commit=COMMIT,
                trigger=Trigger.SCHEDULE,
                verdict=Verdict.DRIFTED,
                method=Method.PLAN,
                method_reason="no_recording",
                started_at=NOW,
                duration_seconds=2.5,
                findings=(drift(),),
                inputs=Inputs(commit=COMMIT, state_serial=7),
            )
            store.record_check(check, declaration=StackDeclaration(id=stack), channels=[])
            self.propose(stack)

    def take(self, hint: Hint, via: str) -> None:
        """As what hints go to."""
        self.hints.append((hint, via))

    def propose(self, stack: StackId, digest: str = DIGEST) -> int:
        draft = ProposalDraft(
            stack=stack,
            kind=ProposalKind.REVERT,
            commit=COMMIT,
            digest=digest,
            findings=(drift().fingerprint,),
            addresses=("x.y",),
            summary=PlanSummary(adds=0, updates=1, destroys=0, replaces=0, changes=()),
            reason="on_drift says propose",
            created_by="driftwatch",
            created_at=self.now,
            expires_at=None,
            automatic=False,
        )
        return self.store.propose(draft).id

    def token(self, user: str, **words: Any) -> str:
        secret = f"driftwatch_canary-{user}-{len(self.store.tokens())}"
        standard: dict[str, Any] = {
            "id": 0,
            "user": user,
            "rights": None,
            "stacks": None,
            "note": "a test",
            "created_by": "anna",
            "created_at": self.now,
            "expires_at": self.now + timedelta(days=1),
        }
        self.store.add_token(Token(**(standard | words)), secret=secret)
        return secret

    def audited(self) -> list[tuple[str, str, str, str]]:
        entries = self.store.audit(limit=100).items
        return [(each.actor, each.via, each.action, each.outcome) for each in reversed(entries)]


def drift() -> Finding:
    return Finding(
        address="x.y",
        type="x",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.OUT_OF_BAND,),
        severity=Severity.HIGH,
        fingerprint="f1",
        counted=True,
        attributes=(
            AttributeChange(
                path="/port", before=22, actual=80, after=22, sensitive=False, cause=Cause.OUT_OF_BAND
            ),
        ),
    )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with closing(Store.open(state_dir=tmp_path, database=None)) as store:
        yield House(store)


@contextmanager
def serving(house: House, **terms: Any) -> Iterator[str]:
    repair = RepairSettings.model_validate({"approvals": {"not_by_author": False, **terms}})
    people = People.compile({name: PersonSettings.model_validate(it) for name, it in USERS.items()})
    door = Door(
        store=house.store,
        people=people,
        votes=Votes(book=house.store, terms=repair.approvals, people=people.by_name, clock=lambda: house.now),
        needed=repair.approvals.needed,
        allowed_age=lambda _: timedelta(hours=1),
        clock=lambda: house.now,
        hints=house,
        repositories=frozenset({MINE.repository, OTHERS.repository, "empty"}),
    )
    server, stop = Server(partial(create_app, Well(), door=door), "127.0.0.1:0"), threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.address()[1]}"
    finally:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def base(house: House) -> Iterator[str]:
    with serving(house) as url:
        yield url


def client(base: str, secret: str | None) -> httpx2.Client:
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    return httpx2.Client(base_url=f"{base}/api/v1", headers=headers, trust_env=False)


def said(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("error", "")


# ---- who may ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic {secret}"},
        {"Authorization": "{secret}"},
        {"X-Token": "{secret}"},
    ],
)
def test_without_a_good_token_nothing_is_said(house: House, base: str, headers: dict[str, str]) -> None:
    secret = house.token("anna")
    filled = {name: value.replace("{secret}", secret) for name, value in headers.items()}
    with httpx2.Client(base_url=base, headers=filled, trust_env=False) as anybody:
        for method, path, body in routes():
            answer = anybody.request(method, f"/api/v1{path}", json=body)
            assert said(answer) == (401, "unauthorized"), (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def routes(stack: StackId = MINE, number: int = 1) -> list[tuple[str, str, Any]]:
    """Each route, as a good request about a stack whose findings and so on have that number."""
    until = (NOW + timedelta(days=1)).isoformat()
    return [
        ("GET", "/stacks", None),
        ("GET", f"/stacks/{stack}", None),
        ("POST", "/trigger", {"stack": str(stack)}),
        ("GET", f"/jobs/{number}", None),
        ("GET", "/checks", None),
        ("GET", f"/checks/{number}", None),
        ("GET", "/findings", None),
        ("GET", f"/findings/{number}", None),
        ("POST", f"/findings/{number}/acknowledge", {"reason": "I look"}),
        ("POST", f"/findings/{number}/snooze", {"until": until}),
        ("POST", f"/findings/{number}/reopen", {}),
        ("POST", f"/findings/{number}/accept", {"reason": "it is right so"}),
        ("GET", "/proposals", None),
        ("POST", "/proposals", {"stack": str(stack), "kind": "revert"}),
        ("GET", f"/wishes/{number}", None),
        ("GET", f"/proposals/{number}", None),
        ("POST", f"/proposals/{number}/approve", {"digest": DIGEST}),
        ("POST", f"/proposals/{number}/reject", {"digest": DIGEST}),
    ]


def test_the_table_of_routes_is_whole() -> None:
    """So that no route is forgotten where each is tried."""
    known = {(next(iter(route.methods)), route.path.removeprefix("/api/v1")) for route in router.routes}  # type: ignore[attr-defined]
    asked = {(method, path) for method, path, _ in routes()}
    assert len(known) == len(asked)


NEEDS = {
    "trigger": Right.CHECK,
    "acknowledge": Right.ACKNOWLEDGE,
    "snooze": Right.ACKNOWLEDGE,
    "reopen": Right.ACKNOWLEDGE,
    "accept": Right.ACCEPT,
    "proposals": Right.APPLY,
    "approve": Right.APPROVE,
    "reject": Right.APPROVE,
}
LISTS = ("/stacks", "/checks", "/findings", "/proposals")


def needed(method: str, path: str) -> Right:
    return NEEDS[path.rpartition("/")[2]] if method == "POST" else Right.VIEW


@pytest.mark.row(65)
@pytest.mark.parametrize("right", [None, *Right])
def test_each_right_opens_its_routes_and_no_other(house: House, base: str, right: Right | None) -> None:
    """Row 65: every route by every right; what one may not see is as what is not there."""
    everything = (Right.VIEW,) if right is None else (Right.VIEW, right)
    secret = house.token("anna", rights=everything)
    job = house.store.enqueue(MINE, Trigger.MANUAL, requested_by="x", at=NOW).job_id
    assert job == 1
    with client(base, secret) as caller:
        for method, path, body in routes():
            answer = caller.request(method, path, json=body)
            opens = needed(method, path) in everything or right is Right.ADMIN
            if not opens:
                assert said(answer) == (403, "no_right"), (method, path)
            elif path.startswith("/wishes"):
                assert answer.status_code == (200 if right in (Right.APPLY, Right.ADMIN) else 404)
            else:
                assert answer.status_code in (200, 202, 409), (method, path, answer.text)


@pytest.mark.row(65)
def test_what_one_may_not_see_is_answered_as_what_is_not_there(house: House, base: str) -> None:
    """Row 65: the same 404 for foreign and absent, on every route, whatever other rights one has."""
    for stack in (MINE, OTHERS):
        house.store.enqueue(stack, Trigger.MANUAL, requested_by="x", at=NOW)
        house.store.wish(_wish(stack), NOW)
    foreign, absent = routes(OTHERS, 2), routes(StackId(repository="no", path="where"), UNKNOWN)
    secrets = [
        house.token("ci"),
        house.token("ben"),
        house.token("anna", stacks=("platform/*",)),
        house.token("anna", rights=(Right.APPROVE, Right.APPLY, Right.CHECK)),
    ]
    for secret in secrets:
        with client(base, secret) as caller:
            for (method, path, body), (_, nowhere, nothing) in zip(foreign, absent, strict=True):
                answers = [
                    caller.request(method, path, json=body),
                    caller.request(method, nowhere, json=nothing),
                ]
                assert [answer.status_code for answer in answers] == (
                    [200, 200] if method == "GET" and path in LISTS else [404, 404]
                ), (method, path)
                assert answers[0].json() == answers[1].json()
                assert "billing" not in answers[0].text


def _wish(stack: StackId) -> Any:
    from driftwatch.model import Wish

    return Wish(stack=stack, kind=ProposalKind.REVERT, by="x")


@pytest.mark.row(66)
def test_what_is_revoked_or_over_or_of_nobody_is_good_for_nothing_at_once(house: House, base: str) -> None:
    """Row 66: from the next request on."""
    first, second = house.token("anna"), house.token("anna", expires_at=NOW + timedelta(hours=1))
    nobody = house.token("mallory")
    with client(base, first) as one, client(base, second) as two, client(base, nobody) as three:
        assert one.get("/stacks").status_code == two.get("/stacks").status_code == 200
        assert three.get("/stacks").status_code == 401, "a user that the configuration does not know"
        house.store.revoke_token(1, by="ben", at=NOW)
        assert one.get("/stacks").status_code == 401
        house.now += timedelta(hours=1)
        assert two.get("/stacks").status_code == 401


@pytest.mark.row(66)
def test_who_guesses_is_told_to_wait_and_who_knows_is_not(house: House, base: str) -> None:
    """Row 66: the good token from the same address, behind a proxy perhaps, works all the same."""
    good = house.token("anna")
    with client(base, "guess") as caller:
        codes = [caller.get("/stacks").status_code for _ in range(FAILURES + 2)]
        assert codes == [401] * FAILURES + [429] * 2
        assert caller.get("/stacks").headers["Retry-After"] == "60"
    with client(base, good) as caller:
        assert caller.get("/stacks").status_code == 200
    house.now += timedelta(minutes=2)
    with client(base, "guess") as caller:
        assert caller.get("/stacks").status_code == 401


# ---- what is answered --------------------------------------------------------------------------------


def test_stacks_are_as_the_terminal_prints_them(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        listed = caller.get("/stacks").json()["stacks"]
        assert [each["id"] for each in listed] == ["billing/envs/prod", "platform/envs/prod"]
        assert caller.get("/stacks", params={"stack": "bill*"}).json()["stacks"] == listed[:1]
        shown = caller.get(f"/stacks/{MINE}").json()
    assert (shown["verdict"], shown["health"], shown["open_findings"]) == ("drifted", "fresh", 1)
    assert (shown["suspension"], shown["pin"]) == (None, None)


def test_a_check_is_asked_for_and_what_became_of_it_is_told(house: House, base: str) -> None:
    with client(base, house.token("ci")) as caller:
        answer = caller.post("/trigger", json={"stack": "*"})
        assert answer.status_code == 202
        (queued,) = answer.json()["queued"]
        assert (queued["stack"], queued["created"]) == (str(MINE), True)
        assert caller.post("/trigger", json={"stack": "*"}).json()["queued"][0]["created"] is False
        job = caller.get(f"/jobs/{queued['job']}").json()
        assert (job["state"], job["requested_by"], job["check"]) == ("queued", "ci", None)
        claimed = house.store.claim("here", at=NOW, lease=timedelta(minutes=1))
        assert claimed is not None
        later = CheckResult(
            stack=MINE,
            commit=COMMIT,
            trigger=Trigger.MANUAL,
            verdict=Verdict.IN_SYNC,
            method=Method.PLAN,
            method_reason="forced",
            started_at=NOW + timedelta(minutes=1),
            duration_seconds=1.0,
            findings=(),
            inputs=Inputs(commit=COMMIT, state_serial=8),
        )
        house.store.record_check(later, declaration=StackDeclaration(id=MINE), channels=[], job=claimed)
        done = caller.get(f"/jobs/{queued['job']}").json()
        assert (done["state"], done["check"]["verdict"], done["check"]["commit"]) == (
            "done",
            "in_sync",
            COMMIT,
        )
        assert caller.get(f"/checks/{done['check']['id']}").json() == done["check"]
        checks = caller.get("/checks", params={"stack": str(MINE)}).json()
    assert [each["verdict"] for each in checks["checks"]] == ["in_sync", "drifted"]
    assert house.audited() == [("ci", "api", "trigger", "queued 1 stacks")] * 2


def test_findings_are_read_and_acted_on(house: House, base: str) -> None:
    with client(base, house.token("carol")) as caller:
        (found,) = caller.get("/findings").json()["findings"]
        assert (found["address"], found["status"], found["severity"]) == ("x.y", "open", "high")
        number = found["id"]
        outdated = caller.post(f"/findings/{number}/acknowledge", json={"fingerprint": "another"})
        assert outdated.status_code == 409
        done = caller.post(f"/findings/{number}/acknowledge", json={"fingerprint": "f1", "reason": "mine"})
        assert (done.status_code, done.json()["status"]) == (200, "acknowledged")
        assert done.json()["events"][-1]["actor"] == "carol"
        until = (NOW + timedelta(days=2)).isoformat()
        assert caller.post(f"/findings/{number}/snooze", json={"until": until}).json()["status"] == "snoozed"
        assert caller.post(f"/findings/{number}/reopen", json={}).json()["status"] == "reopened"
        refused = caller.post(f"/findings/{number}/accept", json={"reason": "so"})
        assert said(refused) == (403, "no_right")
        assert caller.get("/findings", params={"status": "resolved"}).json()["findings"] == []
    actions = [(action, outcome) for _, _, action, outcome in house.audited()]
    assert actions[1:] == [
        ("acknowledge", "done"),
        ("snooze", "done"),
        ("reopen", "done"),
        ("accept", "refused: no_right"),
    ]


def test_a_proposal_is_approved_for_just_what_was_seen(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        listed = caller.get("/proposals", params={"stack": "platform/*"}).json()["proposals"]
        (number,) = [each["id"] for each in listed]
        shown = caller.get(f"/proposals/{number}").json()
        assert (shown["state"], shown["digest"], shown["approvals_needed"]) == ("proposed", DIGEST, 1)
        other = caller.post(f"/proposals/{number}/approve", json={"digest": "sha256:" + "00" * 32})
        assert said(other) == (409, "outdated")
        done = caller.post(f"/proposals/{number}/approve", json={"digest": DIGEST, "reason": "go"})
        assert (done.status_code, done.json()["outcome"]) == (200, "approved")
        assert done.json()["proposal"]["state"] == "approved"
        again = caller.post(f"/proposals/{number}/approve", json={"digest": DIGEST})
        assert said(again) == (409, "already")
        rejected = caller.post(f"/proposals/{number}/reject", json={"digest": DIGEST, "reason": "no"})
        assert rejected.json()["proposal"]["state"] == "rejected"
        assert said(caller.post(f"/proposals/{number}/approve", json={"digest": DIGEST}))[0] == 409
    decisions = [(each.by, each.via, each.approves) for each in _decisions(house, number)]
    assert decisions == [("anna", "api", False)], "a person's last word"
    assert [outcome for *_, outcome in house.audited()][:2] == ["refused: outdated", "approved"]


def _decisions(house: House, number: int) -> Any:
    found = house.store.proposal(number)
    assert found is not None
    return found.decisions


def test_two_people_have_to_approve_where_two_are_asked_for(house: House) -> None:
    with serving(house, needed=2) as base:
        for name, outcome, state in (("anna", "counted", "proposed"), ("dora", "approved", "approved")):
            with client(base, house.token(name)) as caller:
                answer = caller.post("/proposals/1/approve", json={"digest": DIGEST}).json()
            assert (answer["outcome"], answer["proposal"]["state"]) == (outcome, state)
            assert answer["proposal"]["approvals_needed"] == 2


def test_a_proposal_is_asked_for_and_what_came_of_it_is_told(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        asked = caller.post("/proposals", json={"stack": str(MINE), "kind": "deploy", "reason": "now"})
        assert (asked.status_code, asked.json()) == (202, {"wish": 1})
        waiting = caller.get("/wishes/1").json()
        assert (waiting["done"], waiting["by"], waiting["kind"]) == (False, "anna", "deploy")
        house.store.grant(1, proposal=None, error="it cannot be planned", at=NOW)
        told = caller.get("/wishes/1").json()
        assert (told["done"], told["proposal"], told["error"]) == (True, None, "it cannot be planned")
        body = {"stack": str(MINE), "kind": "rollback", "commit": COMMIT}
        assert caller.post("/proposals", json=body).json() == {"wish": 2}
        house.store.grant(2, proposal=1, error=None, at=NOW)
        assert caller.get("/wishes/2").json()["proposal"]["id"] == 1
    assert [each[2:] for each in house.audited()] == [
        ("propose", "asked for, wish 1"),
        ("rollback", "asked for, wish 2"),
    ]


def test_pages_follow_each_other(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        for what in ("checks", "findings", "proposals"):
            first = caller.get(f"/{what}", params={"limit": 1}).json()
            second = caller.get(f"/{what}", params={"limit": 1, "after": first["next"]}).json()
            ids = [each["id"] for page in (first, second) for each in page[what]]
            assert (ids, second["next"]) == ([2, 1], None)


# ---- what it bears -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "/trigger", {}, "Give a stack or a repository"),
        ("POST", "/trigger", {"stack": "a", "repository": "b"}, "Give a stack or a repository"),
        ("POST", "/trigger", {"repository": ["canary"]}, "body.repository"),
        ("POST", "/trigger", {"stack": "a", "canary-key": 1}, "Extra inputs"),
        ("POST", "/trigger", {"stack": "a\x1b[31mcanary"}, "control or invisible"),
        ("POST", "/trigger", {"stack": "x" * 1001}, "at most 1000"),
        ("POST", "/trigger", ["canary"], "body"),
        ("POST", "/proposals", {"stack": "a", "kind": "adopt"}, "body.kind"),
        ("POST", "/proposals", {"stack": str(MINE), "kind": "rollback"}, "commit: goes with a rollback"),
        ("POST", "/proposals", {"stack": str(MINE), "kind": "revert", "commit": COMMIT}, "commit: goes"),
        ("POST", "/proposals", {"stack": "a", "kind": "rollback", "commit": "--canary"}, "body.commit"),
        ("POST", "/proposals/1/approve", {"reason": "canary"}, "body.digest: Field required"),
        ("POST", "/findings/1/snooze", {"until": "2026-01-01T00:00:00"}, "timezone"),
        ("GET", "/findings?limit=501", None, "query.limit"),
        ("GET", "/findings?status=canary", None, "query.status"),
        ("GET", "/findings/canary", None, "path.finding"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_of_it_repeated(
    house: House, base: str, method: str, path: str, body: Any, says: str
) -> None:
    with client(base, house.token("anna")) as caller:
        answer = caller.request(method, path, json=body)
    assert said(answer) == (400, "invalid")
    assert says in answer.json()["message"]
    assert "canary" not in answer.json()["message"].replace("body.canary-key", "")
    assert house.audited() == []


def test_a_repository_is_fetched_for_whoever_may_have_its_stacks_checked(house: House, base: str) -> None:
    """A CI job has just pushed: what its commit touches is checked after the fetch."""
    with client(base, house.token("ci")) as caller:
        answer = caller.post("/trigger", json={"repository": "platform"})
    assert answer.status_code == 202
    assert (answer.json()["queued"], answer.json()["repository"]) == ([], "platform")
    assert house.hints == [(Hint(repository="platform"), "api")]
    assert house.audited() == [("ci", "api", "trigger", "asked to fetch")]


@pytest.mark.row(65)
def test_a_repository_is_fetched_for_nobody_else(house: House, base: str) -> None:
    """Row 65: what is not there and what one may not see are answered alike."""
    for user, repository, answers in (
        ("ci", "billing", (404, "not_found")),
        ("ci", "nobodys", (404, "not_found")),
        ("ci", "plat*", (404, "not_found")),
        ("ci", "empty", (404, "not_found")),
        ("carol", "platform", (403, "no_right")),
        ("carol", "billing", (404, "not_found")),
        ("anna", "nobodys", (404, "not_found")),
    ):
        with client(base, house.token(user)) as caller:
            answer = caller.post("/trigger", json={"repository": repository})
        assert said(answer) == answers, (user, repository)
    assert house.hints == []
    with client(base, house.token("anna")) as caller:
        assert caller.post("/trigger", json={"repository": "empty"}).status_code == 202
    assert house.hints == [(Hint(repository="empty"), "api")]


@pytest.mark.row(58)
def test_a_request_that_drips_is_not_waited_for(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 58: it has no token yet when its body is awaited, so it may be anybody's."""
    monkeypatch.setattr("driftwatch.web.api.BODY_SECONDS", 0.3)
    host, _, port = base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"POST /api/v1/trigger HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_request_that_is_packed_is_refused(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        answer = caller.post("/trigger", content=b"{}", headers={"Content-Encoding": "gzip"})
    assert said(answer) == (415, "packed")


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**70])
def test_a_number_that_cannot_be_is_of_nothing(house: House, base: str, number: int) -> None:
    with client(base, house.token("anna")) as caller:
        for what in ("jobs", "checks", "findings", "proposals", "wishes"):
            assert said(caller.get(f"/{what}/{number}")) == (404, "not_found"), what


@pytest.mark.parametrize("chunked", [True, False])
def test_what_is_too_large_is_not_read(house: House, base: str, chunked: bool) -> None:
    body = json.dumps({"stack": "x" * LARGEST_BODY}).encode()
    content: Any = (body[place : place + 1000] for place in range(0, len(body), 1000)) if chunked else body
    with client(base, house.token("anna")) as caller:
        answer = caller.post("/trigger", content=content, headers={"Content-Type": "application/json"})
    assert said(answer) == (413, "too_large")


def test_malformed_json_is_named(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        answer = caller.post("/trigger", content=b"{canary", headers={"Content-Type": "application/json"})
    assert said(answer) == (400, "invalid")
    assert "canary" not in answer.text


def test_a_store_that_is_away_is_told_to_be(house: House, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> Any:
        raise StoreUnavailableError("the database is away")

    with client(base, house.token("anna")) as caller:
        monkeypatch.setattr(house.store, "proposals", away)
        answer = caller.get("/proposals")
    assert (answer.status_code, answer.json()["message"]) == (503, "the database is away")
    assert answer.headers["Retry-After"] == "10"


def test_it_describes_itself_to_anybody(base: str) -> None:
    with client(base, None) as anybody:
        described = anybody.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    assert {"/api/v1/trigger", "/api/v1/proposals/{proposal}/approve"} <= set(described["paths"])
    assert described["security"] == [{"token": []}]


def test_answers_are_for_no_browser_and_no_cache(house: House, base: str) -> None:
    with client(base, house.token("anna")) as caller:
        headers = caller.get("/stacks").headers
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_no_token_is_in_an_answer_or_in_a_row(house: House, base: str, capfd: Any) -> None:
    with client(base, house.token("anna")) as caller:
        answers = "".join(caller.request(method, path, json=body).text for method, path, body in routes())
    with client(base, "driftwatch_canary-of-a-guess") as caller:
        answers += caller.get("/stacks").text
    assert "canary" not in answers + repr(house.audited()) + "".join(capfd.readouterr())
