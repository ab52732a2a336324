"""The daemon's main job on real input: it finds drift by itself, keeps it, tells it once, and sees it go."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from driftwatch.sandbox.cloud import Fault, Kind

if TYPE_CHECKING:
    from tests.acceptance.conftest import House

RECORD = "example.test/api/A"


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def commands(pid: int) -> list[str]:
    """The command lines of what a process has started, but for what is ending just now."""
    found = []
    for process in children(pid):
        with suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [item for item in processes if item.is_running() and item.status() != psutil.STATUS_ZOMBIE]


def test_drift_is_found_stored_told_once_and_told_again_when_it_is_gone(house: House) -> None:
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    assert house.slack.calls == []

    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.wait_for_verdicts(dns="drifted")
    (finding,) = house.json("findings", "list")["findings"]
    assert finding["address"] == 'sandbox_dns_record.host["api"]'
    assert (finding["kind"], finding["causes"], finding["status"]) == ("deleted", ["out_of_band"], "open")
    (message,) = house.wait_for("the alert", lambda: house.slack.posted)
    assert "platform/dns" in message

    checked = house.json("stacks", "list")["stacks"][0]["checked_at"]
    house.wait_for("another check", lambda: house.json("stacks", "list")["stacks"][0]["checked_at"] > checked)
    assert house.slack.posted == [message], "the same drift is not told twice"

    house.apply("dns")
    house.wait_for_verdicts(dns="in_sync")
    house.wait_for("the message that it is gone", lambda: len(house.slack.posted) == 2)
    assert "resolved" in house.slack.posted[1].lower()
    assert house.json("findings", "list")["findings"] == []
    (finding,) = house.json("findings", "list", "--status", "resolved")["findings"]
    assert finding["first_seen"] < finding["last_seen"] or finding["first_seen"] == finding["last_seen"]

    assert house.stop(daemon) == 0
    assert len(house.slack.posted) == 2


@pytest.mark.row(1)
def test_a_daemon_killed_in_the_middle_of_a_plan_leaves_no_orphan_and_checks_again(house: House) -> None:
    """Row 1: kill -9 mid-plan; nothing lives on, no row is lost or doubled, and the check runs again."""
    house.apply("dns")
    house.cloud.inject(Fault(kind="delay", operation="read", seconds=60))
    daemon = house.start()
    wanted = ("driftwatch.sandbox.provider", "plan -")
    house.wait_for(
        "a provider and a plan to be at work",
        lambda: all(any(word in line for line in commands(daemon.pid)) for word in wanted),
    )
    family = children(daemon.pid)
    daemon.kill()
    daemon.wait()

    house.cloud.inject()
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    assert alive(family) == []
    assert house.slack.calls == [], "an interrupted check is nobody's news"
    assert house.stop(daemon) == 0


def test_a_second_daemon_says_who_holds_the_state_directory(house: House) -> None:
    daemon = house.start()
    house.wait_for("the lock", lambda: (house.state / "daemon.lock").exists() and "ready" in house.log())
    second = house.driftwatch("run", "--config", str(house.config))
    assert second.returncode == 1
    assert str(daemon.pid) in second.stderr
    assert house.stop(daemon) == 0


def test_a_trigger_is_taken_at_once(house: House) -> None:
    """Somebody at a terminal does not wait for the schedule."""
    house.apply("dns")
    house.config.write_text(house.config.read_text().replace("every: 4s", "every: 1h"))
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    assert house.driftwatch("trigger", "platform/dns", "--config", str(house.config)).returncode == 0
    house.wait_for_verdicts(dns="drifted")
    assert house.stop(daemon) == 0


def test_sigterm_ends_a_running_plan_after_the_grace_and_the_exit_code_is_0(house: House) -> None:
    """No new work, the plan gets its grace, then one SIGINT; the next start takes the check up again."""
    house.apply("dns")
    house.config.write_text(house.config.read_text().replace("shutdown_grace: 20s", "shutdown_grace: 1s"))
    house.cloud.inject(Fault(kind="delay", operation="read", seconds=60))
    daemon = house.start()
    house.wait_for("a plan", lambda: any("terraform" in p.name() for p in children(daemon.pid)))
    family = children(daemon.pid)
    assert house.stop(daemon) == 0
    assert alive(family) == []
    house.cloud.inject()
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    assert house.stop(daemon) == 0


@pytest.mark.row(31)
def test_an_unreachable_remote_leaves_the_last_good_commit_in_use(house: House) -> None:
    """Row 31: the remote is gone; checks go on at the last good commit, and it is said."""
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    commit = house.json("stacks", "list")["stacks"][0]["commit"]
    house.repository.rename(house.repository.with_name("moved"))
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.wait_for_verdicts(dns="drifted")
    (stack,) = house.json("stacks", "list")["stacks"]
    assert stack["commit"] == commit
    house.wait_for("the log to say so", lambda: "the last good commit" in house.log())
    assert house.stop(daemon) == 0
    assert '"error": "remote_' in house.log()


@pytest.mark.row(21)
def test_an_empty_cloud_is_told_as_a_mass_deletion(house: House) -> None:
    """Row 21: with everything gone at once, the alert says that the account is the likelier reason."""
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    for record in house.cloud.objects(Kind.DNS_RECORD):
        house.cloud.delete(Kind.DNS_RECORD, record.key)
    house.wait_for_verdicts(dns="drifted")
    house.wait_for("the alert", lambda: house.slack.posted)
    assert "account" in str(house.slack.calls[0][1])
    assert house.stop(daemon) == 0
