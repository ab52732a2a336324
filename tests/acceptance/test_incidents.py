"""One cause over several stacks, with real terraform, real Git and the daemon: one alert, a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.sandbox import estate
from driftwatch.sandbox.cloud import Kind
from tests.acceptance.conftest import configure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Fleet, House

BOTH = ("envs/prod/data", "envs/staging/data")


def channel_posts(house: House) -> list[dict[str, Any]]:
    """What was posted to the channel itself, and not into a thread."""
    return [
        form
        for method, form in house.slack.calls
        if method == "chat.postMessage" and not form.get("thread_ts")
    ]


def shown(house: House) -> str:
    """The message that stands in the channel, as it was last written."""
    written = [form for method, form in house.slack.calls if not form.get("thread_ts")]
    return str(written[-1]["blocks"]) if written else ""


def test_a_commit_to_a_shared_module_is_one_alert_for_all_that_use_it(
    house: House, sandbox_mirror: Path
) -> None:
    """And what somebody changes by hand in one of them meanwhile is an alert of its own."""
    configure(house, sandbox_mirror, dict.fromkeys(BOTH, "{every: 5s}"))
    house.apply(*BOTH)
    daemon = house.start()
    house.wait_for_verdicts(**{path.replace("/", "_"): "in_sync" for path in BOTH})

    module = house.repository / "modules/service/main.tf"
    text = module.read_text().replace(
        "environment = var.environment", "environment = upper(var.environment)", 1
    )
    commit = estate.commit(house.repository, {"modules/service/main.tf": text}, "Shout the environment")
    house.wait_for("both to be in the alert", lambda: "2 stacks, 2 open" in shown(house))
    (post,) = channel_posts(house)
    assert f"commit {commit[:10]} is not applied" in shown(house)
    assert "Shout the environment" in shown(house)
    for path in BOTH:
        assert f"platform/{path}" in shown(house)

    bucket = house.cloud.objects(Kind.BUCKET)[0]
    house.cloud.delete(Kind.BUCKET, bucket.key)
    house.wait_for("the alert of its own", lambda: len(channel_posts(house)) == 2)
    alone = channel_posts(house)[1]
    assert "deleted" in str(alone["blocks"])
    assert "is not applied" not in str(alone["blocks"])

    house.apply(*BOTH)
    house.wait_for_verdicts(**{path.replace("/", "_"): "in_sync" for path in BOTH})
    house.wait_for(
        "both ends", lambda: house.rows("SELECT count(*) FROM incidents WHERE closed_at IS NULL") == [(0,)]
    )
    assert post["text"]
    assert house.stop(daemon) == 0
    assert len(channel_posts(house)) == 2


@pytest.mark.row(53)
def test_forty_stacks_and_a_slack_that_is_away(fleet: Fleet) -> None:
    """Row 53: one incident over 40 stacks found while Slack answers 503 is one message when it is back."""
    stacks = fleet.commit(40)
    house = fleet.house(every="1h", workers=4)
    fleet.terraform.takes(0)
    fleet.slack.status = 503
    for stack in stacks:
        fleet.terraform.drift(stack)
    daemon = house.start()
    house.wait_for("the daemon to be ready", house.is_ready)
    house.wait_for(
        "all forty to be found",
        lambda: house.rows("SELECT count(*) FROM stacks WHERE verdict = 'drifted'") == [(40,)],
    )
    assert fleet.slack.calls == []
    fleet.slack.status = 200
    house.wait_for(
        "the alert", lambda: house.rows("SELECT count(*) FROM messages WHERE state = 'waiting'") == [(0,)]
    )
    assert len(channel_posts(house)) == 1
    assert "40 stacks, 40 open" in shown(house)
    assert all(stack in shown(house) for stack in stacks)
    assert house.stop(daemon) == 0
