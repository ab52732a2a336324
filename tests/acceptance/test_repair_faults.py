"""What must not be applied is not, whatever was approved, and people hear why."""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import ProposalState, Suspension
from driftwatch.sandbox import estate
from driftwatch.sandbox.address import HOST, NAMESPACE, TYPE, VERSION
from driftwatch.sandbox.cloud import Fault, Kind
from driftwatch.sandbox.mirror import install
from tests.acceptance.repairs_seen import (
    AUTOMATIC,
    BY_PEOPLE,
    DNS,
    RECORD,
    applied,
    created,
    decide,
    proposals,
    record,
    repairing,
    told,
    wait_for_proposal,
    wait_for_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.model import Proposal
    from driftwatch.store import Store
    from tests.acceptance.conftest import House

WWW = "example.test/www/A"
OPEN = (ProposalState.PROPOSED, ProposalState.WAITING)


@pytest.fixture
def store(house: House) -> Iterator[Store]:
    opened = house.store()
    yield opened
    opened.close()


def suspend(store: Store, scope: str = "*") -> None:
    at = datetime.now(UTC)
    store.suspend(Suspension(scope=scope, by="anna", at=at, reason="the network is being moved"))


def resume(store: Store, scope: str = "*") -> None:
    assert store.resume(scope, by="anna", at=datetime.now(UTC))


def seldom(house: House) -> None:
    """Checks only where something asks for one, so that the plan right before an apply finds it."""
    house.config.write_text(house.config.read_text().replace("{every: 3s}", "{every: 1h}"))


def wait_for_hold(house: House, store: Store, reason: str, patience: float = 60) -> Proposal:
    def look() -> list[Proposal]:
        return [each for each in proposals(store) if each.held and each.held.reason == reason]

    found: Any = house.wait_for(f"a proposal to be held: {reason}", look, patience)
    proposal: Proposal = found[0]
    return proposal


def only_news(house: House) -> None:
    """Nothing about proposals is said twice."""
    assert [said for said, count in Counter(told(house)).items() if count > 1] == []


# ---- what has moved since it was approved --------------------------------------------------------------


def the_cloud_moves(house: House) -> None:
    house.cloud.update(Kind.DNS_RECORD, WWW, {"ttl": 60})


def the_state_moves(house: House) -> None:
    path = house.directory / "states/dns/terraform.tfstate"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"serial": state["serial"] + 1}))


def the_commit_moves(house: House) -> None:
    text = (house.repository / "dns/main.tf").read_text()
    commit = estate.commit(house.repository, {"dns/main.tf": f"{text}\n# Reviewed.\n"}, "Note the review")
    house.wait_for("the commit to be seen", lambda: (commit,) in house.rows("SELECT commit_sha FROM stacks"))


def the_provider_moves(house: House) -> None:
    """A newer version comes out, and what held the stack to the one before is not on this machine."""
    (package,) = (house.directory / "mirror" / HOST / NAMESPACE / TYPE / VERSION).iterdir()
    newer = package.parents[1] / f"{VERSION.rpartition('.')[0]}.9" / package.name
    newer.mkdir(parents=True)
    shutil.copy(next(package.iterdir()), newer / f"terraform-provider-{TYPE}_v{newer.parent.name}")
    for chosen in house.state.rglob("dns/**/.terraform.lock.hcl"):
        chosen.unlink()


def unlocked(house: House) -> None:
    """Nobody has committed the lock file, and the mirror is this test's own."""
    install(house.directory / "mirror")
    known = next(line for line in house.config.read_text().splitlines() if "provider_mirrors" in line)
    own = f"  provider_mirrors: [{json.dumps(str(house.directory / 'mirror'))}]"
    house.config.write_text(house.config.read_text().replace(known, own))
    estate.commit(house.repository, {"dns/.terraform.lock.hcl": None}, "Take the lock file out")


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(the_provider_moves, marks=[pytest.mark.row(18), pytest.mark.slow]),
        pytest.param(the_cloud_moves, marks=pytest.mark.row(19)),
        pytest.param(the_state_moves, marks=[pytest.mark.row(18), pytest.mark.slow]),
        pytest.param(the_commit_moves, marks=[pytest.mark.row(18), pytest.mark.slow]),
    ],
)
def test_what_moved_after_it_was_approved_is_proposed_anew(
    house: House, store: Store, moves: Callable[[House], None]
) -> None:
    """The approved one is void and told to be, the new one waits to be approved, and that one is applied."""
    repairing(house, "propose", BY_PEOPLE)
    seldom(house)
    house.apply("dns")
    if moves is the_provider_moves:
        unlocked(house)
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    before = created(house)
    suspend(store)
    daemon = house.start()
    approved = wait_for_proposal(house, store, ProposalState.PROPOSED)
    decide(store, approved)
    wait_for_hold(house, store, "suspended")
    moves(house)
    resume(store)
    wait_for_proposal(house, store, ProposalState.SUPERSEDED)
    wait_for_words(house, f"Proposal {approved.id} is void")
    following = wait_for_proposal(house, store, ProposalState.PROPOSED, after=approved.id)
    assert following.draft.digest != approved.draft.digest
    assert following.approvers == ()
    assert created(house) == before
    assert not applied(store)
    decide(store, following)
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=approved.id)
    assert created(house) == before + 1
    only_news(house)
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(18)
def test_what_a_colleague_has_repaired_meanwhile_is_void_and_nothing_follows(
    house: House, store: Store
) -> None:
    repairing(house, "propose", BY_PEOPLE)
    seldom(house)
    house.apply("dns")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    suspend(store)
    daemon = house.start()
    approved = wait_for_proposal(house, store, ProposalState.PROPOSED)
    decide(store, approved)
    wait_for_hold(house, store, "suspended")
    house.apply("dns")
    resume(store)
    wait_for_proposal(house, store, ProposalState.SUPERSEDED)
    wait_for_words(house, f"Proposal {approved.id} is void: There is nothing to apply any more.")
    house.wait_for_verdicts(dns="in_sync")
    time.sleep(5)
    assert [each.id for each in proposals(store)] == [approved.id]
    assert not applied(store)
    assert house.stop(daemon) == 0


# ---- what must never be applied by itself --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.row(21)
def test_what_looks_deleted_as_a_whole_is_never_put_back_by_itself(house: House, store: Store) -> None:
    """With the wrong account or an empty endpoint, an apply would build a second estate."""
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    for each in house.cloud.objects(Kind.DNS_RECORD):
        house.cloud.delete(Kind.DNS_RECORD, each.key)
    before = created(house)
    held = wait_for_hold(house, store, "mass_deletion")
    assert held.held is not None
    wait_for_words(house, "Nothing is applied automatically.")
    time.sleep(8)
    assert created(house) == before
    assert not applied(store)
    only_news(house)
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(22)
def test_with_another_state_than_is_meant_nothing_is_built_a_second_time(house: House, store: Store) -> None:
    repairing(house, "apply", AUTOMATIC, on_commit="apply")
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    text = (house.repository / "dns/terraform.tf").read_text()
    moved = text.replace("/dns/terraform.tfstate", "/dns/other.tfstate")
    assert moved != text
    before = created(house)
    estate.commit(house.repository, {"dns/terraform.tf": moved}, "Move the state")
    house.wait_for("a finding of it", lambda: store.findings().items)
    time.sleep(25)
    assert created(house) == before
    assert not applied(store)
    assert all(not each.draft.automatic or each.held for each in proposals(store))
    assert proposals(store)
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(72)
def test_what_would_be_replaced_waits_for_a_person(house: House, store: Store) -> None:
    repairing(house, "apply", AUTOMATIC)
    zone_files = 'resource "sandbox_bucket" "zones" {\n  name   = "zones"\n  region = "local-1"\n}\n'
    estate.commit(house.repository, {"dns/zones.tf": zone_files}, "Keep the zone files")
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.update(Kind.BUCKET, "zones", {"region": "local-2"})
    before = house.cloud.get(Kind.BUCKET, "zones")
    held = wait_for_hold(house, store, "destroys")
    assert held.draft.summary.replaces == 1
    wait_for_words(house, "The plan destroys, replaces or forgets sandbox_bucket.zones.")
    time.sleep(8)
    assert house.cloud.get(Kind.BUCKET, "zones") == before
    assert not applied(store)
    only_news(house)
    decide(store, held)
    wait_for_proposal(house, store, ProposalState.VERIFIED)
    assert house.cloud.get(Kind.BUCKET, "zones").attributes["region"] == "local-1"
    assert house.stop(daemon) == 0


# ---- what fights back, and what fails ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.row(70)
@pytest.mark.timeout(300)
def test_what_comes_back_again_and_again_is_named_and_left(house: House, store: Store) -> None:
    """Something deletes the record after each repair: after so many rounds nothing is done by itself."""
    repairing(house, "apply", AUTOMATIC.replace("grace: 0s", "grace: 0s, returns: 2"))
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    over = threading.Event()

    def fight() -> None:
        """Deletes it as soon as it was proved to be there."""
        proved = -1
        while not over.wait(0.2):
            verified = sum(each.state is ProposalState.VERIFIED for each in proposals(store))
            if verified > proved and record(house) is not None:
                house.cloud.delete(Kind.DNS_RECORD, RECORD)
                proved = verified

    foe = threading.Thread(target=fight)
    foe.start()
    try:
        held = wait_for_hold(house, store, "fights_back", patience=200)
        wait_for_words(house, "Something fights back", "It was repaired by proposal ")
        begun = len(applied(store))
        assert begun == 2
        time.sleep(12)
        assert len(applied(store)) == begun
        assert store.proposal(held.id) == held
        only_news(house)
    finally:
        over.set()
        foe.join()
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(71)
@pytest.mark.parametrize(
    ("fault", "said"), [("access_denied", "AccessDenied"), ("expired_credentials", "ExpiredToken")]
)
def test_an_apply_that_fails_in_its_middle_is_told_and_not_begun_again(
    house: House, store: Store, fault: str, said: str
) -> None:
    """What it did is kept, what it did not is proposed to people, and nothing is tried blindly."""
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    before = created(house)
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.cloud.update(Kind.DNS_RECORD, "example.test/status/A", {"ttl": 5})
    house.cloud.inject(Fault(kind=fault, operation="create", key=RECORD))
    daemon = house.start()
    failed = wait_for_proposal(house, store, ProposalState.FAILED)
    assert failed.run is not None
    assert failed.run.exit_code == 1
    assert said in (failed.run.output or "")
    assert house.cloud.get(Kind.DNS_RECORD, "example.test/status/A").attributes["ttl"] == 300
    wait_for_words(house, f"Proposal {failed.id} failed: ")
    following = wait_for_proposal(house, store, *OPEN, after=failed.id)
    assert not following.draft.automatic
    assert following.draft.summary.total == 1
    time.sleep(6)
    assert [each.id for each in applied(store)] == [failed.id]
    assert created(house) == before
    only_news(house)
    house.cloud.inject()
    decide(store, wait_for_proposal(house, store, *OPEN, after=failed.id))
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=failed.id)
    assert record(house) is not None
    assert house.stop(daemon) == 0


@pytest.mark.row(3)
def test_a_provider_that_dies_in_the_middle_leaves_a_stack_that_a_person_looks_at(
    house: House, store: Store
) -> None:
    """It may have made what no state knows; terraform itself ends as if it had only failed."""
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.cloud.inject(Fault(kind="crash_after", operation="create", key=RECORD, times=1))
    daemon = house.start()
    left = wait_for_proposal(house, store, ProposalState.INTERRUPTED)
    assert left.outcome == "terraform, or a provider of it, was killed in its middle"
    assert record(house) is not None
    suspension = store.suspension_of(left.draft.stack, datetime.now(UTC))
    assert suspension is not None
    assert "look at the state" in suspension.reason
    assert (house.state / "applies" / (left.run.id if left.run else "") / "log").exists()
    wait_for_words(house, "until somebody has looked at its state")
    assert house.stop(daemon) == 0


# ---- a state that is not saved -------------------------------------------------------------------------


class States:
    """An HTTP backend: one state, that it takes unless it `refuses`."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.refuses = False
        states = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if states.content else 404)
                self.end_headers()
                self.wfile.write(states.content or b"")

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not states.refuses:
                    states.content = content
                self.send_response(500 if states.refuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests look at `content`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/state"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.row(15)
def test_a_state_that_was_not_saved_stops_its_stack_until_it_is_pushed(house: House, store: Store) -> None:
    """Row 15: told with where it is; a resumed stack is held all the same; after the push it goes on."""
    states = States()
    main = (house.repository / "dns/terraform.tf").read_text()
    begin, end = main.index('backend "local" {'), main.index("\n  }\n", main.index('backend "local" {'))
    backend = f'backend "http" {{\n    address   = "{states.url}"\n    retry_max = 0'
    estate.commit(
        house.repository, {"dns/terraform.tf": main[:begin] + backend + main[end:]}, "Move the state"
    )
    repairing(house, "apply", AUTOMATIC, on_commit="apply")
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    states.refuses = True
    text = (house.repository / "dns/main.tf").read_text()
    moved = text.replace("203.0.113.20", "203.0.113.21")
    estate.commit(house.repository, {"dns/main.tf": moved}, "Move the API")
    left = wait_for_proposal(house, store, ProposalState.INTERRUPTED)
    made = record(house)
    assert made is not None
    assert made.attributes["values"] == ["203.0.113.21"], "it is done, and no state knows of it"
    assert left.outcome is not None
    path = left.outcome.rpartition(" ")[2]
    assert path.endswith(f"{left.run.id if left.run else ''}/errored.tfstate")
    wait_for_words(house, "waits to be pushed from", "until somebody has looked at its state")

    states.refuses = False
    resume(store, DNS)
    house.cloud.delete(Kind.DNS_RECORD, WWW)
    following = wait_for_proposal(house, store, *OPEN, after=left.id)
    decide(store, following)
    held = wait_for_hold(house, store, "in_review")
    assert held.held is not None
    assert path in held.held.sentence
    assert house.cloud.read(Kind.DNS_RECORD, WWW) is None

    states.content = Path(path).read_bytes()  # as `terraform state push` does
    decide(store, following)  # said again, it is looked at at once
    wait_for_proposal(house, store, ProposalState.SUPERSEDED, after=left.id)
    decide(store, wait_for_proposal(house, store, *OPEN, after=following.id))
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=following.id)
    assert house.cloud.read(Kind.DNS_RECORD, WWW) is not None
    assert not Path(path).exists()
    assert house.stop(daemon) == 0
    states.close()


# ---- what is stopped by people -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.row(73)
def test_a_suspension_lets_what_runs_end_and_nothing_begin(house: House, store: Store) -> None:
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.cloud.inject(Fault(kind="delay", operation="create", seconds=6, times=1))
    daemon = house.start()
    running: Any = house.wait_for("an apply", store.running_applies)
    suspend(store)
    first = wait_for_proposal(house, store, ProposalState.VERIFIED)
    assert first.id == running[0].id
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    held = wait_for_hold(house, store, "suspended")
    wait_for_words(house, "Everything is suspended by anna: the network is being moved")
    time.sleep(6)
    assert [each.id for each in applied(store)] == [first.id]
    assert record(house) is None
    resume(store)
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=first.id)
    assert store.proposal(held.id) is not None
    only_news(house)
    assert house.stop(daemon) == 0


def test_an_apply_that_somebody_stops_ends_in_peace_and_its_stack_waits(house: House, store: Store) -> None:
    """Terraform is interrupted once: its provider may break off what it is at, and its state is written."""
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    for address in (RECORD, WWW):
        house.cloud.delete(Kind.DNS_RECORD, address)
    house.cloud.inject(Fault(kind="delay", operation="create", seconds=8, times=2))
    daemon = house.start()
    running: Any = house.wait_for("an apply", store.running_applies)
    number = str(running[0].id)
    house.wait_for(
        "what terraform says",
        lambda: "Creating..." in str(house.json("proposals", "show", number)["run"]["output"]),
    )
    done = house.driftwatch(
        *("proposals", "cancel", number, "--as", "ben", "--reason", "it is the wrong region"),
        *("--config", str(house.config)),
    )
    assert done.returncode == 0, done.stderr
    ended = wait_for_proposal(house, store, ProposalState.INTERRUPTED)
    assert ended.outcome == "ben had it stopped: it is the wrong region"
    assert ended.run is not None
    assert ended.run.exit_code == 1
    assert "Interrupt received" in (ended.run.output or "")
    assert store.suspension_of(ended.draft.stack, datetime.now(UTC)) is not None
    wait_for_words(house, "ben has the apply of proposal", "until somebody has looked at its state")
    state = json.loads((house.directory / "states/dns/terraform.tfstate").read_text())
    known = {
        instance["attributes"]["name"]
        for resource in state["resources"]
        for instance in resource["instances"]
    }
    made = {each.attributes["name"] for each in house.cloud.objects(Kind.DNS_RECORD)}
    assert known == made == {"@", "status"}, "the state knows what there is"
    only_news(house)
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(12)
def test_a_state_that_somebody_has_locked_is_told_and_never_unlocked(house: House, store: Store) -> None:
    repairing(house, "propose", BY_PEOPLE)
    house.apply("dns")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    daemon = house.start()
    proposal = wait_for_proposal(house, store, ProposalState.PROPOSED)
    with (house.directory / "states/dns/terraform.tfstate").open("rb+") as state:
        fcntl.lockf(state, fcntl.LOCK_EX)
        decide(store, proposal)
        wait_for_hold(house, store, "state_locked")
        wait_for_words(house, f"Proposal {proposal.id} waits.")
        time.sleep(6)
        assert not applied(store)
        only_news(house)
    decide(store, proposal)
    wait_for_proposal(house, store, ProposalState.VERIFIED)
    assert house.stop(daemon) == 0
