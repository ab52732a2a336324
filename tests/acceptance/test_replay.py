"""Replay as users live it: commits in a monorepo, the command line, what `doctor` and the metrics tell."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.request import urlopen

from driftwatch.sandbox import colleague, estate

if TYPE_CHECKING:
    from tests.acceptance.conftest import House

STACK = "platform/envs/prod/data"


def how(house: House, *options: str) -> tuple[str, str, str]:
    """By which method, why, and what came of it: one `check --config`."""
    (check,) = house.json("check", STACK, *options)["checks"]
    return check["method"], check["method_reason"], check["verdict"]


def watch_everything(house: House) -> None:
    text = house.config.read_text().replace(
        'path: "dns", schedule: {every: 4s}', 'path: "**", schedule: {every: 2s}'
    )
    house.config.write_text(text + "warm: {shadow_every: 0}\n")
    house.apply("dns", "envs/prod/network", "envs/prod/data")


def test_only_a_commit_to_what_a_stack_reads_costs_a_plan(house: House) -> None:
    """Elsewhere in the monorepo none does; in a local module, or a version pinned above it, one does."""
    watch_everything(house)
    module = (house.repository / "modules/service/main.tf").read_text()
    version = json.loads(subprocess.check_output([house.binary, "version", "-json"], text=True))[
        "terraform_version"
    ]
    assert how(house) == ("plan", "no_recording", "in_sync")
    assert how(house) == ("replay", "reads_same", "in_sync")
    estate.commit(house.repository, {"dns/notes.md": "Nobody reads this.\n"}, "Note something elsewhere")
    assert how(house) == ("replay", "reads_same", "in_sync")
    estate.commit(house.repository, {"modules/service/main.tf": module + "# a line\n"}, "Change the module")
    assert how(house) == ("plan", "files_changed", "in_sync")
    assert how(house) == ("replay", "reads_same", "in_sync")
    estate.commit(house.repository, {".terraform-version": f"{version}\n"}, "Pin the version")
    assert how(house) == ("plan", "files_changed", "in_sync")


def test_each_method_can_be_asked_for(house: House) -> None:
    """For diagnosis; what only a replay could say is an error where there can be none, and nobody is told."""
    watch_everything(house)
    done = house.driftwatch("check", STACK, "--config", str(house.config), "--method", "replay")
    assert done.returncode == 1
    assert "no_recording" in done.stdout + done.stderr
    assert how(house, "--method", "plain") == ("plan", "forced", "in_sync")
    assert how(house) == ("plan", "no_recording", "in_sync")
    assert how(house, "--method", "plan") == ("plan", "forced", "in_sync")
    assert how(house, "--method", "replay") == ("replay", "reads_same", "in_sync")
    colleague.meddle(house.cloud)
    assert how(house, "--method", "replay") == ("replay", "reads_differ", "error")
    assert house.slack.calls == []
    assert how(house) == ("plan", "reads_differ", "drifted")
    assert len(house.slack.posted) == 1


def test_a_directory_can_be_replayed_after_its_own_plan(house: House) -> None:
    house.apply("dns", "envs/prod/network", "envs/prod/data")
    house.environment["TF_CLI_CONFIG_FILE"] = str(house.cli_config)
    for method, said in (
        ("auto", ("plan", "no_recording")),
        ("plain", ("plan", "forced")),
        ("plan", ("plan", "forced")),
        ("replay", ("replay", "reads_same")),
    ):
        done = house.driftwatch(
            "check", str(house.repository / "envs/prod/data"), "--method", method, "--format", "json"
        )
        (check,) = json.loads(done.stdout)["checks"]
        assert (check["method"], check["method_reason"]) == said
        assert check["verdict"] == "in_sync"


def test_the_daemon_replays_and_says_how_often(house: House) -> None:
    """`stacks list`, the metrics and `doctor` tell of it; a change is found by the plan that follows."""
    watch_everything(house)
    daemon = house.start()
    house.wait_for("the daemon to be ready", house.is_ready)
    house.wait_for(
        "replays",
        lambda: (
            house.rows("SELECT count(*) FROM checks WHERE method = 'replay' AND verdict = 'in_sync'")[0][0]
            >= 4
        ),
    )
    methods = {item["id"]: item["method"] for item in house.json("stacks", "list")["stacks"]}
    assert methods[STACK] == "replay"
    with urlopen(f"http://127.0.0.1:{house.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for line in (
        r'driftwatch_replays_total\{answer="same"\} [1-9]',
        r'driftwatch_replay_refusals_total\{reason="no_recording"\} [1-9]',
        r'driftwatch_warm_processes\{state="idle"\} \d',
        r"driftwatch_warm_memory_bytes [1-9]",
        r"driftwatch_replay_seconds_saved_total [0-9.]+",
        r'driftwatch_warm_answers_total\{from_memory="yes"\} [1-9]',
        r"driftwatch_warm_quarantined 0",
    ):
        assert re.search(line, text), line
    said = house.driftwatch("doctor", "--config", str(house.config)).stdout
    for sentence in ("provider processes", "replays: ", "s saved", "plans in place of replays", "disagreed"):
        assert sentence in said, said
    colleague.meddle(house.cloud)
    house.wait_for_verdicts(envs_prod_data="drifted")
    reasons = house.rows("SELECT method_reason FROM checks WHERE verdict = 'drifted' ORDER BY id")
    assert reasons[0] == ("reads_differ",)
    assert house.stop(daemon) == 0
    said = house.driftwatch("doctor", "--config", str(house.config)).stdout
    assert "no daemon answers" in said


def test_a_rule_that_is_written_or_runs_out_acts_on_what_was_recorded(house: House) -> None:
    """No plan is needed for it: rules are applied to every reading, also to one that a replay repeats."""
    watch_everything(house)
    how(house)
    colleague.meddle(house.cloud)
    assert how(house) == ("plan", "reads_differ", "drifted")
    assert how(house) == ("replay", "reads_same", "drifted")
    text = house.config.read_text()
    rule = "{id: billing, type: sandbox_bucket, attribute: /tags, reason: known, owner: ada, expires: %s}"
    house.config.write_text(f"{text}rules: {{ignore: [{rule % '2999-01-01'}]}}\n")
    assert how(house) == ("replay", "reads_same", "in_sync")
    house.config.write_text(f"{text}rules: {{ignore: [{rule % '2020-01-01'}]}}\n")
    assert how(house) == ("replay", "reads_same", "drifted")
