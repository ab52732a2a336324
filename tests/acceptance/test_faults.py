"""The faults of the matrix, done to a daemon that runs: it lives on, loses nothing, calls nothing resolved.

Where only the number of plans or their timing matters, a played terraform makes them; the daemon, Git, the
databases, the file system and the kills are real.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections import Counter, defaultdict
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import psutil
import pytest

from driftwatch.sandbox.cloud import Fault, Kind
from driftwatch.store.store import PATIENCE
from tests.acceptance.conftest import IMPATIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.conftest import Fleet, House, PostgresServer, Ran


RECORD = "example.test/api/A"


def checks(house: House) -> list[tuple[str, str, str, str | None]]:
    """All checks: stack, trigger, verdict, class of the error."""
    return house.rows(
        "SELECT s.name, c.trigger, c.verdict, c.error_code FROM checks c"
        " JOIN stacks s ON s.id = c.stack_id ORDER BY c.id"
    )


def verdicts(house: House, stack: str) -> list[str]:
    """What the checks of a stack have said; an error by its class."""
    return [error or verdict for name, _, verdict, error in checks(house) if name == stack]


def told(house: House, stack: str) -> list[str]:
    """What people were to be told of a stack, in order."""
    rows = house.rows("SELECT stack, announcement FROM messages ORDER BY id")
    return [house.as_json(announcement)["kind"] for name, announcement in rows if name == stack]


def open_findings(house: House, stack: str) -> list[str]:
    """The addresses of a stack's findings that are open."""
    rows = house.rows(
        "SELECT s.name, f.address FROM findings f JOIN stacks s ON s.id = f.stack_id WHERE f.status = 'open'"
    )
    return [address for name, address in rows if name == stack]


def overlaps(plans: list[Ran]) -> list[tuple[Ran, Ran]]:
    """Pairs of plans of one stack that ran at the same time."""
    by_stack: Mapping[str, list[Ran]] = defaultdict(list)
    for plan in plans:
        by_stack[plan.stack].append(plan)
    return [
        (first, second)
        for of_one in by_stack.values()
        for first, second in pairwise(sorted(of_one, key=lambda plan: plan.began))
        if first.ended is not None and second.began < first.ended
    ]


def spooled(house: House) -> list[Path]:
    return sorted((house.state / "spool").glob("[0-9]*.json"))


def each_plan_is_one_check(house: House, fleet: Fleet) -> None:
    """Of a daemon that has stopped in order, every plan that came to its end is one row and no more."""
    plans = Counter(plan.stack for plan in fleet.terraform.plans() if plan.ended)
    rows = Counter(name for name, _, verdict, _ in checks(house) if verdict != "error")
    assert rows == plans


def fewest(rows: list[tuple[str, str, str, str | None]], names: list[str]) -> int:
    """How many checks the stack has that has the fewest."""
    counts = Counter(row[0] for row in rows)
    return min(counts[name] for name in names)


def gaps(house: House) -> dict[str, list[float]]:
    """Seconds between the beginnings of a stack's checks, one after the other."""
    rows = house.rows(
        "SELECT s.name, c.started_at FROM checks c JOIN stacks s ON s.id = c.stack_id ORDER BY c.started_at"
    )
    at = defaultdict(list)
    for name, started in rows:
        at[name].append(started)
    return {name: [(two - one).total_seconds() for one, two in pairwise(of)] for name, of in at.items()}


def two_daemons(fleet: Fleet, postgres: PostgresServer, *, every: int) -> tuple[House, House]:
    """Two that run, each with a state directory of its own, on one database."""
    one, two = (fleet.house(name, every=f"{every}s", database=postgres.url) for name in ("one", "two"))
    for house in (one, two):
        house.start(IMPATIENT)
    for house in (one, two):
        house.wait_for("readiness", house.is_ready)
    return one, two


@pytest.mark.postgres
@pytest.mark.row(42)
def test_two_daemons_on_one_database_share_the_work_and_one_takes_over(
    fleet: Fleet, postgres: PostgresServer
) -> None:
    """Row 42: both work, never on one stack at once; what a killed one had goes to the other."""
    names = fleet.commit(16)
    fleet.terraform.takes(1)  # more than one daemon can do in a period
    one, two = two_daemons(fleet, postgres, every=6)
    one.wait_for("two checks of each stack", lambda: fewest(checks(one), names) >= 2)
    nodes = "SELECT DISTINCT node FROM jobs WHERE node IS NOT NULL"
    one.wait_for("both to have worked", lambda: len(one.rows(nodes)) == 2)

    fleet.terraform.takes(2)

    def running() -> list[str]:
        """The stacks that the first has in hand, by its own account."""
        rows = two.rows(
            "SELECT s.name, j.node FROM jobs j JOIN stacks s ON s.id = j.stack_id WHERE j.state = 'running'"
        )
        return [name for name, node in rows if node.endswith(str(one.state.resolve()))]

    two.wait_for("a plan of the first", running)
    one.daemons[0].kill()
    one.daemons[0].wait()
    orphaned = running()
    assert orphaned
    fleet.terraform.takes(0)
    before = Counter(row[0] for row in checks(two))
    fleet.terraform.drift(orphaned[0])
    two.wait_for("the other to take over", lambda: not running())
    two.wait_for(
        "a check of each that was orphaned",
        lambda: all(Counter(row[0] for row in checks(two))[name] > before[name] for name in orphaned),
    )
    two.wait_for("the drift", lambda: open_findings(two, orphaned[0]))
    two.wait_for("the alert", lambda: fleet.slack.posted)
    assert two.stop(two.daemons[0]) == 0
    assert overlaps(fleet.terraform.plans()) == []
    assert len(fleet.slack.posted) == 1
    assert {verdict for _, _, verdict, _ in checks(two)} == {"in_sync", "drifted"}


@pytest.mark.postgres
@pytest.mark.row(42)
def test_two_daemons_on_one_database_check_each_due_slot_once(fleet: Fleet, postgres: PostgresServer) -> None:
    """Row 42: a slot is one check, whoever of them is first."""
    names, every = fleet.commit(12), 6
    one, two = two_daemons(fleet, postgres, every=every)
    one.wait_for("four checks of each stack", lambda: fewest(checks(one), names) >= 4)
    for house in (one, two):
        assert house.stop(house.daemons[0]) == 0
    # A new stack is checked at once, and then at its slots: the first gap may have any length.
    twice = {name: [gap for gap in found[1:] if gap < every / 2] for name, found in gaps(one).items()}
    assert {name: found for name, found in twice.items() if found} == {}


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.row(42)
def test_two_daemons_on_one_database_tell_people_once(fleet: Fleet, postgres: PostgresServer) -> None:
    """Row 42, for alerts: one message per stack and transition, however many daemons there are."""
    names = fleet.commit(6)
    one, two = two_daemons(fleet, postgres, every=3)
    fleet.slack.seconds = 2
    for name in names:
        fleet.terraform.drift(name)
    sent = "SELECT id FROM messages WHERE state = 'sent'"
    one.wait_for("all to be told", lambda: len(one.rows(sent)) == len(names))
    for house in (one, two):
        assert house.stop(house.daemons[0]) == 0
    assert len(fleet.slack.posted) == len(names)


def breaks(how: str, file: Path) -> Callable[[], None]:
    """Takes the database file away in one of three ways; what is returned brings it back."""
    aside = file.with_name("aside")
    if how == "unreadable":
        file.chmod(0)
        return lambda: file.chmod(0o600)
    file.rename(aside)
    if how == "a directory":
        file.mkdir()

    def mend() -> None:
        if how == "a directory":
            file.rmdir()
        aside.rename(file)

    return mend


def an_outage_loses_nothing(house: House, fleet: Fleet, *, begin: Callable[[], Callable[[], None]]) -> None:
    """One outage of a running daemon's database, from before a plan ends until after it is back."""
    fleet.terraform.takes(2)
    plans = len(fleet.terraform.plans())
    house.wait_for("a plan", lambda: len(fleet.terraform.plans()) > plans)
    mend = begin()
    house.wait_for("the daemon to say so", lambda: house.asked("/readyz") == 503)
    house.wait_for("a result laid aside", lambda: spooled(house))
    assert house.asked("/healthz") == 200
    assert house.asked("/metrics") == 200
    assert {path.stat().st_mode & 0o777 for path in spooled(house)} == {0o600}
    assert (house.state / "spool").stat().st_mode & 0o777 == 0o700
    mend()
    house.wait_for("what was laid aside to be written", lambda: not spooled(house))
    fleet.terraform.takes(0)
    house.wait_for("readiness", house.is_ready)
    count = len(checks(house))
    house.wait_for("checks to go on", lambda: len(checks(house)) > count + 1)


NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root without the right to read what nobody may read is like everybody."""


@pytest.mark.row(46)
@pytest.mark.parametrize(
    "how",
    [
        "renamed",
        pytest.param("a directory", marks=pytest.mark.slow),
        pytest.param("unreadable", marks=pytest.mark.slow),
    ],
)
def test_a_database_file_that_goes_away_loses_nothing(fleet: Fleet, how: str) -> None:
    """Row 46: SQLite; the daemon lives, results are laid aside and written once, nothing is "resolved"."""
    (name,) = fleet.commit(1)
    fleet.terraform.drift(name)
    house = fleet.house(every="2s")
    daemon = house.start(IMPATIENT, guard=NO_OVERRIDE if os.geteuid() == 0 else ())
    house.wait_for("the drift", lambda: house.is_ready() and open_findings(house, name))
    file = house.state / "driftwatch.db"
    if how == "unreadable":
        # What is open stays open: nothing may be lost, and nothing need be noticed.
        mend = breaks(how, file)
        plans = len(fleet.terraform.plans())
        house.wait_for("more plans", lambda: len(fleet.terraform.plans()) > plans + 2)
        mend()
    else:
        an_outage_loses_nothing(house, fleet, begin=lambda: breaks(how, file))
    assert house.stop(daemon) == 0
    each_plan_is_one_check(house, fleet)
    assert told(house, name) == ["drift_found"]
    assert set(verdicts(house, name)) == {"drifted"}
    assert "Traceback" not in house.log()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.row(46)
def test_a_postgresql_that_is_stopped_and_started_again_loses_nothing(
    fleet: Fleet, postgres: PostgresServer
) -> None:
    """Row 46: PostgreSQL."""
    (name,) = fleet.commit(1)
    fleet.terraform.drift(name)
    house = fleet.house(every="2s", database=postgres.url)
    daemon = house.start(IMPATIENT)
    house.wait_for("readiness", house.is_ready)
    house.wait_for("the drift", lambda: open_findings(house, name))

    def stop() -> Callable[[], None]:
        postgres.stop()
        return postgres.start

    an_outage_loses_nothing(house, fleet, begin=stop)
    assert house.stop(daemon) == 0
    each_plan_is_one_check(house, fleet)
    assert told(house, name) == ["drift_found"]
    assert set(verdicts(house, name)) == {"drifted"}
    assert "Traceback" not in house.log()


@pytest.mark.row(46)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a directory", "cannot be used"),
        ("unreadable", "cannot be used"),
        ("not a database, " * 100, "damaged"),
    ],
)
def test_a_file_that_cannot_be_used_at_the_start_is_a_clear_end(
    fleet: Fleet, content: str, says: str
) -> None:
    """Row 46: SQLite, at the start."""
    house = fleet.house(every="2s")
    file = house.state / "driftwatch.db"
    house.state.mkdir()
    if content == "a directory":
        file.mkdir()
    else:
        file.write_text(content)
    if content == "unreadable":
        file.chmod(0)
    daemon = house.start(guard=NO_OVERRIDE if os.geteuid() == 0 else ())
    assert daemon.wait(timeout=60) == 1
    assert str(file) in house.log().replace("\n", "")
    assert says in " ".join(house.log().split())
    assert "Traceback" not in house.log()


@pytest.mark.postgres
@pytest.mark.row(46)
def test_a_postgresql_that_is_away_at_the_start_is_a_clear_end(
    fleet: Fleet, postgres: PostgresServer
) -> None:
    """Row 46: PostgreSQL, at the start."""
    postgres.stop()
    house = fleet.house(every="2s", database=postgres.url)
    daemon = house.start()
    code = daemon.wait(timeout=60)
    postgres.start()
    assert code == 1
    assert "PostgreSQL at" in house.log()
    assert "Traceback" not in house.log()


@pytest.mark.slow
@pytest.mark.row(47)
def test_somebody_who_holds_the_database_for_a_while_costs_nothing(fleet: Fleet) -> None:
    """Row 47: a shell sits in BEGIN IMMEDIATE for longer than we wait at a time; nothing is lost."""
    names = fleet.commit(2)
    fleet.terraform.drift(names[0])
    house = fleet.house(every="2s")
    daemon = house.start(IMPATIENT)
    house.wait_for("readiness", house.is_ready)
    house.wait_for("the drift", lambda: open_findings(house, names[0]))
    fleet.terraform.takes(1)
    plans = len(fleet.terraform.plans())
    house.wait_for("a plan", lambda: len(fleet.terraform.plans()) > plans)
    with closing(sqlite3.connect(house.state / "driftwatch.db", isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        time.sleep(PATIENCE + 2)
        assert house.asked("/healthz") == 200
        shell.execute("ROLLBACK")
    fleet.terraform.takes(0)
    count = fewest(checks(house), names)
    house.wait_for("checks to go on", lambda: fewest(checks(house), names) > count + 1)
    assert house.stop(daemon) == 0
    each_plan_is_one_check(house, fleet)
    assert [told(house, name) for name in names] == [["drift_found"], []]
    assert overlaps(fleet.terraform.plans()) == []
    assert "Traceback" not in house.log()


@pytest.fixture
def small_state(fleet: Fleet) -> Iterator[House]:
    """A house whose state directory is a disk of 64 MB."""
    house = fleet.house(every="2s")
    house.config.write_text(house.config.read_text().replace("terraform:", "terraform:\n  min_free_mb: 16"))
    house.state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(house.state)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("MAY NOT MOUNT A SMALL DISK: a full one is not tested on the daemon")
    yield house
    for daemon in house.daemons:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
    subprocess.run(["umount", "-l", str(house.state)], check=True)


def fill(directory: Path, *, leave: int) -> Path:
    """A file that leaves so many bytes free."""
    path = directory / "somebody-elses-file"
    with path.open("ab") as file:
        while (free := shutil.disk_usage(directory).free - leave) > 0:
            file.write(bytes(min(free, 1 << 20)))
            file.flush()
    return path


@pytest.mark.row(17)
def test_a_full_disk_is_told_keeps_what_was_found_and_passes(small_state: House, fleet: Fleet) -> None:
    """Row 17: little space is `disk_full`; with none at all the daemon lives; with some again it goes on."""
    (name,), house = fleet.commit(1), small_state
    fleet.terraform.drift(name)
    daemon = house.start(IMPATIENT)
    house.wait_for("readiness", house.is_ready)
    house.wait_for("the drift", lambda: open_findings(house, name))

    filler = fill(house.state, leave=8 << 20)
    house.wait_for("the error, twice", lambda: verdicts(house, name)[-2:] == ["disk_full", "disk_full"])
    assert len(open_findings(house, name)) == 1
    assert house.asked("/healthz") == 200

    fill(house.state, leave=0)
    house.wait_for("the daemon to say so", lambda: house.asked("/readyz") == 503)
    time.sleep(3)
    assert house.asked("/healthz") == 200
    assert daemon.poll() is None

    filler.unlink()
    house.wait_for("checks to go on", lambda: verdicts(house, name)[-1] == "drifted")
    house.wait_for("readiness", house.is_ready)
    assert house.stop(daemon) == 0
    assert told(house, name) == ["drift_found", "check_failing", "recovered"]
    assert len(open_findings(house, name)) == 1
    assert "Traceback" not in house.log()


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(
        [
            "git",
            "-C",
            str(repository),
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.test",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.row(32)
@pytest.mark.row(33)
def test_a_branch_that_is_deleted_or_rewritten_resolves_nothing(fleet: Fleet) -> None:
    """Rows 33 and 32: checks go on at the last good commit, then at the new history; findings stay."""
    names = fleet.commit(2)
    fleet.terraform.drift(names[0])
    house = fleet.house(every="2s")
    daemon = house.start()
    house.wait_for("the drift", lambda: house.is_ready() and open_findings(house, names[0]))
    before = git(fleet.repository, "rev-parse", "main")

    git(fleet.repository, "checkout", "--quiet", "-b", "elsewhere")
    git(fleet.repository, "branch", "--delete", "--force", "main")
    house.wait_for("the log to say so", lambda: '"error": "branch_missing"' in house.log())
    count = fewest(checks(house), names)
    house.wait_for("checks to go on", lambda: fewest(checks(house), names) > count + 1)
    assert house.rows("SELECT DISTINCT commit_sha FROM checks") == [(before,)]
    assert '"branch_missing"' in str(house.rows("SELECT error FROM repositories"))
    assert len(open_findings(house, names[0])) == 1

    git(fleet.repository, "commit", "--quiet", "--amend", "--message", "Write history anew")
    git(fleet.repository, "branch", "main")
    after = git(fleet.repository, "rev-parse", "main")
    house.wait_for(
        "the new history",
        lambda: (after,) in house.rows("SELECT commit_sha FROM stacks WHERE removed_at IS NULL"),
    )
    assert "The branch was rewritten" in house.log()
    house.wait_for(
        "a check of it", lambda: (after, "drifted") in house.rows("SELECT commit_sha, verdict FROM checks")
    )
    assert house.stop(daemon) == 0
    assert len(open_findings(house, names[0])) == 1
    assert [told(house, name) for name in names] == [["drift_found"], []]
    assert "Traceback" not in house.log()


def two_stacks(house: House, *, plan_timeout: str = "10m") -> None:
    """`dns` and `shared/logs`, applied, each checked every few seconds."""
    house.apply("dns", "shared/logs")
    text = house.config.read_text()
    line = next(line for line in text.splitlines() if '"dns"' in line)
    other = line.replace('"dns"', '"shared/logs"')
    text = text.replace(line, f"{line}\n{other}").replace(
        "terraform:", f"terraform:\n  plan_timeout: {plan_timeout}"
    )
    house.config.write_text(text)


@pytest.mark.row(23)
def test_expired_credentials_of_one_stack_mute_no_other(house: House) -> None:
    """Row 23: an error of its class, told once; what was found stays, and another stack's drift is found."""
    two_stacks(house)
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    daemon = house.start()
    house.wait_for_verdicts(dns="drifted", shared_logs="in_sync")
    house.cloud.inject(Fault(kind="expired_credentials", operation="read", type="sandbox_dns_record"))
    house.wait_for_verdicts(dns="error")
    (bucket, *_) = house.cloud.objects(Kind.BUCKET)
    house.cloud.update(Kind.BUCKET, bucket.key, {"versioning": not bucket.attributes["versioning"]})
    house.wait_for_verdicts(shared_logs="drifted")
    failed = len(verdicts(house, "platform/dns"))
    house.wait_for("another failure", lambda: len(verdicts(house, "platform/dns")) > failed)
    assert verdicts(house, "platform/dns")[-1] == "credentials_expired"
    assert len(open_findings(house, "platform/dns")) == 1
    house.cloud.inject()
    house.wait_for_verdicts(dns="drifted")
    assert house.stop(daemon) == 0
    assert told(house, "platform/dns") == ["drift_found", "check_failing", "recovered"]
    assert told(house, "platform/shared/logs") == ["drift_found"]


@pytest.mark.slow
@pytest.mark.row(10)
def test_a_hung_provider_ends_at_the_deadline_and_holds_up_no_other_stack(house: House) -> None:
    """Row 10: the error is `timeout`, its processes are gone, others go on, and the next check works."""
    two_stacks(house, plan_timeout="5s")
    daemon = house.start(IMPATIENT)
    house.wait_for_verdicts(dns="in_sync", shared_logs="in_sync")
    house.cloud.inject(Fault(kind="hang", operation="read", type="sandbox_dns_record"))
    house.wait_for("hung providers", lambda: longest_lived(daemon.pid, 3))
    hung = longest_lived(daemon.pid, 3)
    others = verdicts(house, "platform/shared/logs").count("in_sync")
    house.wait_for("the deadline", lambda: verdicts(house, "platform/dns")[-1] == "timeout")
    house.cloud.inject()
    house.wait_for("the group to be gone", lambda: not alive(hung), 10)
    house.wait_for_verdicts(dns="in_sync")
    assert house.stop(daemon) == 0
    assert set(verdicts(house, "platform/shared/logs")) == {"in_sync"}
    assert verdicts(house, "platform/shared/logs").count("in_sync") > others
    assert told(house, "platform/dns") == ["check_failing", "recovered"]


def family(pid: int) -> list[psutil.Process]:
    """Everything below a process that is ours."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def longest_lived(pid: int, seconds: float) -> list[psutil.Process]:
    return [process for process in alive(family(pid)) if time.time() - process.create_time() > seconds]


def leftovers(house: House) -> list[str]:
    """What must not gather in a state directory: of plans, of checkouts, files that are half written."""
    found = [
        *house.state.glob("runs/*"),
        *house.state.glob("work/**/.terraform/dw-*"),
        *house.state.glob("spool/*"),
        *house.state.rglob("*.part"),
        *house.state.rglob("*.draft"),
        *list(house.state.glob("repositories/*/worktrees/*/"))[1:],
    ]
    return [str(path.relative_to(house.state)) for path in found]


@pytest.mark.row(1)
@pytest.mark.row(76)
@pytest.mark.parametrize("rounds", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_loses_doubles_and_leaves_nothing(house: House, rounds: int) -> None:
    """Rows 1 and 76: again and again; then no orphan, no lost finding, no doubled row, nothing left lying."""
    two_stacks(house)
    house.config.write_text(house.config.read_text().replace("every: 4s", "every: 1s"))
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    moments = random.Random(rounds)  # noqa: S311  (repeatable, and no secret)
    families: list[psutil.Process] = []
    for _ in range(rounds):
        daemon = house.start()
        house.wait_for("readiness", house.is_ready)
        time.sleep(moments.uniform(0.2, 4))
        families += family(daemon.pid)
        daemon.kill()
        daemon.wait()
    daemon = house.start()
    house.wait_for("readiness", house.is_ready)
    house.wait_for("orphans to be gone", lambda: not alive(families), 10)
    house.wait_for_verdicts(dns="drifted", shared_logs="in_sync")
    counts = Counter(row[0] for row in checks(house))
    house.wait_for(
        "more checks", lambda: all(n > counts[s] for s, n in Counter(row[0] for row in checks(house)).items())
    )
    assert house.stop(daemon) == 0
    assert leftovers(house) == []
    assert house.rows("SELECT s.name, f.status FROM findings f JOIN stacks s ON s.id = f.stack_id") == [
        ("platform/dns", "open")
    ]
    assert told(house, "platform/dns") == ["drift_found"]
    assert told(house, "platform/shared/logs") == []
    assert house.rows("SELECT state, count(*) FROM jobs WHERE state = 'running' GROUP BY state") == []
    assert house.rows("PRAGMA integrity_check") == [("ok",)]
