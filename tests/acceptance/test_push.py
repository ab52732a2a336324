"""A push is seen at once: a signed webhook, real Git, and a daemon that would look in an hour."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx2

from driftwatch.sandbox import estate
from tests.web.hooks_at_hand import encoded, github

if TYPE_CHECKING:
    from tests.acceptance.conftest import House

SECRET = "canary-hook-secret-77c1"
WITHIN = 5.0
"""Seconds from the delivery to the recorded check."""

TRIES = 3
"""Of which one has to make it: other tests run on the same machine."""


def quietly(house: House) -> None:
    """Polls and checks so seldom that whatever is seen, a hook has said."""
    text = house.config.read_text().replace("{every: 4s}", "{every: 1h}").replace("poll: 2s", "poll: 1h")
    house.environment["HOOK_SECRET"] = SECRET
    house.config.write_text(text + 'hooks: {github: {secret: "${env:HOOK_SECRET}"}}\n')


def delivered(house: House, commit: str, *, secret: str = SECRET, url: str | None = None) -> httpx2.Response:
    """What GitHub sends of a push (https://docs.github.com/webhooks/webhook-events-and-payloads#push)."""
    body = encoded(
        {
            "ref": "refs/heads/main",
            "after": commit,
            "repository": {"full_name": "acme/platform", "clone_url": url or str(house.repository)},
        }
    )
    return httpx2.post(
        f"http://127.0.0.1:{house.port}/hooks/github",
        content=body,
        headers=github(body, "push", secret=secret, delivery=f"{time.time_ns()}"),
        trust_env=False,
    )


def checked_at(house: House, commit: str) -> list[Any]:
    return house.rows(f"SELECT verdict FROM checks WHERE commit_sha = '{commit}'")  # noqa: S608


def seconds_to_check(house: House, number: int) -> float:
    main = (house.repository / "dns" / "main.tf").read_text()
    commit = estate.commit(house.repository, {"dns/main.tf": f"{main}\n# {number}\n"}, f"Push {number}")
    began = time.monotonic()
    answer = delivered(house, commit)
    assert answer.status_code in (200, 202), answer.text
    house.wait_for("the check of what was pushed", lambda: checked_at(house, commit))
    return time.monotonic() - began


def test_a_push_is_checked_within_seconds(house: House) -> None:
    quietly(house)
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    taken: list[float] = []
    while not taken or (min(taken) > WITHIN and len(taken) < TRIES):
        taken.append(seconds_to_check(house, len(taken)))
    assert min(taken) < WITHIN
    ((trigger,),) = house.rows("SELECT DISTINCT trigger FROM checks WHERE trigger != 'schedule'")
    assert trigger == "commit"

    pushed = estate.commit(house.repository, {"dns/notes.txt": "x"}, "Push what nobody vouches for")
    assert delivered(house, pushed, secret="guessed").status_code == 401
    assert delivered(house, pushed, url="https://example.com/other.git").status_code in (200, 202)
    time.sleep(3)
    assert not checked_at(house, pushed), "neither a forged hook nor one of elsewhere makes it look"
    assert SECRET not in house.log()
    assert house.stop(daemon) == 0
