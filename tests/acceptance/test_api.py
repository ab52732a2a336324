"""A CI job pushes and waits for the result: over HTTP, with a token, against a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from driftwatch.sandbox.cloud import Kind
from tests.acceptance.repairs_seen import BY_PEOPLE, RECORD, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import House

STACK = "platform/dns"
USERS = """
users:
  ci: {rights: [view, check, apply]}
  anna: {rights: [view, approve], stacks: [platform/*]}
"""


def token(house: House, user: str) -> str:
    made = house.json("token", "create", user, "--note", "an acceptance test", "--for", "1h")
    return str(made["token"])


def caller(house: House, secret: str) -> httpx2.Client:
    return httpx2.Client(
        base_url=f"http://127.0.0.1:{house.port}/api/v1",
        headers={"Authorization": f"Bearer {secret}"},
        trust_env=False,
    )


def test_a_job_has_a_stack_checked_repaired_and_proved(house: House) -> None:
    house.config.write_text(
        house.config.read_text().replace("{every: 4s}", "{every: 1h}") + BY_PEOPLE + USERS
    )
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    with caller(house, token(house, "ci")) as ci, caller(house, token(house, "anna")) as anna:

        def until(what: str, path: str, good: Callable[[Any], bool]) -> Any:
            def look() -> Any:
                answer = ci.get(path)
                assert answer.status_code == 200, answer.text
                return answer.json() if good(answer.json()) else None

            return house.wait_for(what, look, 60)

        queued = ci.post("/trigger", json={"stack": STACK})
        assert queued.status_code == 202, queued.text
        job = until("the check", f"/jobs/{queued.json()['queued'][0]['job']}", lambda it: it["check"])
        assert (job["state"], job["check"]["verdict"], job["check"]["trigger"]) == (
            "done",
            "drifted",
            "manual",
        )
        (finding,) = ci.get("/findings", params={"stack": STACK}).json()["findings"]
        assert finding["kind"] == "deleted"

        asked = ci.post("/proposals", json={"stack": STACK, "kind": "revert", "reason": "undo it"})
        wish = until("the proposal", f"/wishes/{asked.json()['wish']}", lambda it: it["done"])
        number = wish["proposal"]["id"]
        digest = wish["proposal"]["digest"]
        refused = ci.post(f"/proposals/{number}/approve", json={"digest": digest})
        assert refused.status_code == 403, "who asks for it has not the right to say yes"
        agreed = anna.post(f"/proposals/{number}/approve", json={"digest": digest, "reason": "go"})
        assert agreed.json()["outcome"] == "approved", agreed.text
        done = until("the proof", f"/proposals/{number}", lambda it: it["ended_at"])
        assert (done["state"], done["run"]["exit_code"]) == ("verified", 0)
        assert record(house) is not None
        assert ci.get(f"/stacks/{STACK}").json()["verdict"] == "in_sync"

        house.json("token", "list")
        revoked = house.driftwatch("token", "revoke", "1", "--config", str(house.config))
        assert revoked.returncode == 0
        assert ci.get("/stacks").status_code == 401, "at once, and with the daemon running on"
    audited = {
        (each["actor"], each["via"], each["action"]) for each in house.json("audit", "list")["entries"]
    }
    assert {("ci", "api", "trigger"), ("ci", "api", "propose"), ("anna", "api", "approve")} <= audited
    assert "driftwatch_" not in house.log().replace("driftwatch_queue", "")
    assert house.stop(daemon) == 0
