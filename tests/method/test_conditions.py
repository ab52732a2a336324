"""A replay stands in for a plan only while nothing but the cloud can have moved; else a plan says why.

Each test breaks one condition of a recording that is good, and sees the plan run with that reason; and where
the next recording is good again, the check after it is a replay.
"""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import Approach
from driftwatch.sandbox.cloud import Kind
from driftwatch.sandbox.mirror import install
from driftwatch.warm import shelf as shelves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.method.conftest import Stand

REPLAY = ("replay", "reads_same")


def test_what_nothing_moved_in_is_replayed_with_the_same_findings(stand: Stand) -> None:
    """In sync and drifted alike: the recorded verdict and findings stand."""
    planned = stand.check()
    replayed = stand.check()
    assert (planned.how, replayed.how) == (("plan", "no_recording"), REPLAY)
    assert replayed.seen == planned.seen
    stand.open_port()
    drifted = stand.check()
    assert drifted.how == ("plan", "reads_differ")
    assert (drifted.verdict, drifted.differing) == ("drifted", {"sandbox_firewall.web"})
    again = stand.check()
    assert again.how == REPLAY
    assert again.seen == drifted.seen
    plain = stand.check(Approach.PLAIN)
    assert plain.how == ("plan", "forced")
    assert plain.seen == drifted.seen


def test_a_restart_finds_its_recordings(recorded: Stand) -> None:
    """A daemon that starts again must not plan the whole fleet."""
    before = recorded.check()
    recorded.close()
    after = recorded.check()
    assert after.how == REPLAY
    assert after.seen == before.seen


def test_a_commit_elsewhere_keeps_the_recording(recorded: Stand) -> None:
    """The commit is the new one, and the verdict the recorded one."""
    recorded.commit = "2" * 40
    seen = recorded.check()
    assert seen.how == REPLAY
    assert seen.seen.reading.inputs.commit == "2" * 40


def change_module(stand: Stand) -> None:
    module = stand.repository / "modules/logs/main.tf"
    module.write_text(module.read_text() + "# another line\n")


def copy_engine(stand: Stand) -> None:
    directory = stand.root / "other"
    directory.mkdir()
    found = shutil.which("terraform", path=stand.path) or shutil.which("tofu", path=stand.path)
    assert found
    (directory / Path(found).name).symlink_to(shutil.copy2(found, directory / "copy"))
    stand.path = f"{directory}:{stand.path}"
    vars(stand).pop("_examiner")


BROKEN: dict[str, tuple[Callable[[Stand], object], str]] = {
    "a file of the stack": (lambda stand: stand.write(more__tf="# nothing\n"), "files_changed"),
    "a file of a local module": (change_module, "files_changed"),
    "a variable": (lambda stand: stand.variables.update(team="other"), "variables_changed"),
    "an environment variable": (lambda stand: stand.environment.update(A="b"), "environment_changed"),
    "the engine": (copy_engine, "engine_changed"),
    "the serial of the state": (lambda stand: stand.edit_state(serial=99), "state_changed"),
    "the lineage of the state": (
        lambda stand: stand.edit_state(lineage="6f0f6c1e-0000-4000-8000-000000000000"),
        "state_changed",
    ),
    "the age of the last plan": (
        lambda stand: setattr(stand, "now", stand.now + timedelta(hours=24)),
        "full_plan_due",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_condition_makes_a_plan_run_with_its_reason(recorded: Stand, name: str) -> None:
    break_it, reason = BROKEN[name]
    assert recorded.check().how == REPLAY
    break_it(recorded)
    assert recorded.check().how == ("plan", reason)
    assert recorded.check().how == REPLAY


def test_another_provider_binary_is_another_provider(stand: Stand) -> None:
    """By what its files hash to, not by its version; the processes of the old one are gone."""
    stand.mirror = install(stand.root / "mirror")
    stand.check()
    assert stand.check().how == REPLAY
    (binary,) = stand.mirror.rglob("terraform-provider-sandbox*")
    binary.write_bytes(binary.read_bytes() + b"# changed\n")
    assert stand.check().how == ("plan", "providers_changed")
    assert stand.check().how == REPLAY
    assert stand.house.pool.stats().retired == {"binary_changed": 1}


def test_a_var_file_counts_with_its_content(stand: Stand) -> None:
    stand.write(prod__tfvars='team = "platform"\n')
    stand.var_files = ("prod.tfvars",)
    assert stand.check().how == ("plan", "no_recording")
    assert stand.check().how == REPLAY
    stand.write(prod__tfvars='team = "other"\n')
    changed = stand.check()
    assert changed.how == ("plan", "files_changed")
    assert changed.verdict == "pending"
    stand.var_files = ()
    assert stand.check().how == ("plan", "variables_changed")


def test_a_state_that_cannot_be_read_is_never_in_sync(recorded: Stand) -> None:
    content = recorded.state.read_text()
    recorded.state.write_text("{")
    question = recorded.question()
    with pytest.raises(Exception, match="state"):
        recorded.examiner.examine(question)
    assert question.trail.reason == "state_unknown"
    recorded.state.write_text(content)
    assert recorded.check().how == REPLAY


def test_a_state_that_is_gone_is_not_the_one_that_was(recorded: Stand) -> None:
    recorded.state.unlink()
    gone = recorded.check()
    assert gone.how == ("plan", "state_unknown")
    assert gone.verdict != "in_sync"


def test_what_changes_between_plan_and_proof_is_not_proved(stand: Stand) -> None:
    """The plan saw it in sync and the proof does not: the next check is a plan, which says what it is."""
    stand.house.before_replay = stand.open_port
    assert stand.check().how == ("plan", "no_recording")
    second = stand.check()
    assert second.how == ("plan", "not_proved")
    assert second.verdict == "drifted"
    assert stand.check().how == REPLAY


BLIND = {
    "timestamp": ('output "x" { value = timestamp() }', "timestamp_function"),
    "plantimestamp": ('output "x" { value = plantimestamp() }', "timestamp_function"),
    "uuid": ('output "x" { value = uuid() }', "random_function"),
    "bcrypt": ('output "x" { value = bcrypt("x") }', "random_function"),
    "a path of the machine": ('output "x" { value = fileexists("/etc/hostname") }', "outside_files"),
    "a pending import": (
        """import {
          to = sandbox_bucket.found
          id = "by-hand"
        }
        resource "sandbox_bucket" "found" { name = "by-hand" }""",
        "pending_import",
    ),
    "a pending move": (
        "moved {\n  from = sandbox_firewall.web\n  to = sandbox_firewall.edge\n}",
        "pending_move",
    ),
    "a pending removal": (
        "removed {\n  from = sandbox_firewall.web\n  lifecycle { destroy = false }\n}",
        "pending_move",
    ),
}


@pytest.mark.parametrize("name", BLIND)
def test_what_a_replay_cannot_see_is_planned_each_time(stand: Stand, name: str) -> None:
    code, reason = BLIND[name]
    main = stand.repository / "stack/main.tf"
    if "from = sandbox_firewall.web" in code:
        firewall = 'resource "sandbox_firewall" "web"'
        kept = main.read_text().replace(firewall, 'resource "sandbox_firewall" "edge"')
        if "removed" in code:
            start = kept.index('resource "sandbox_firewall"')
            kept = kept[:start] + kept[kept.index('resource "sandbox_database"') :]
        main.write_text(kept)
    stand.write(more__tf=code + "\n")
    assert stand.check().how == ("plan", "no_recording")
    assert stand.check().how == ("plan", reason)


@pytest.mark.parametrize(
    "code",
    [
        'import {\n  to = sandbox_firewall.web\n  id = "web"\n}',
        "moved {\n  from = sandbox_firewall.old\n  to = sandbox_firewall.web\n}",
        "removed {\n  from = sandbox_firewall.old\n  lifecycle { destroy = false }\n}",
    ],
)
def test_a_block_that_was_applied_already_is_no_hindrance(stand: Stand, code: str) -> None:
    """Such blocks stay in many repositories for years."""
    stand.write(more__tf=code + "\n")
    assert stand.check().how == ("plan", "no_recording")
    assert stand.check().how == REPLAY


def test_a_template_is_looked_into(stand: Stand) -> None:
    stand.write(
        motd__tftpl="built at ${timestamp()}",
        more__tf='output "x" { value = templatefile("${path.module}/motd.tftpl", {}) }\n',
    )
    stand.check()
    assert stand.check().how == ("plan", "timestamp_function")


def test_what_reads_files_of_others_is_planned_at_every_commit(stand: Stand) -> None:
    """As far as its own commit goes it can be replayed."""
    (stand.repository / "shared.txt").write_text("shared")
    stand.write(more__tf='output "x" { value = file("${path.module}/../shared.txt") }\n')
    stand.check()
    assert stand.check().how == REPLAY
    stand.commit = "2" * 40
    assert stand.check().how == ("plan", "files_changed")
    assert stand.check().how == REPLAY


def upstream(stand: Stand, serial: int, value: str = "a") -> None:
    outputs = {"name": {"value": value, "type": "string"}}
    (stand.root / "upstream.tfstate").write_text(
        json.dumps(
            {
                "version": 4,
                "terraform_version": "1.11.4",
                "serial": serial,
                "lineage": "11111111-0000-4000-8000-000000000000",
                "outputs": outputs,
                "resources": [],
            }
        )
    )


def test_an_upstream_state_is_followed_by_its_serial(stand: Stand) -> None:
    upstream(stand, 1)
    path = stand.root / "upstream.tfstate"
    stand.write(
        more__tf=f"""
        data "terraform_remote_state" "net" {{
          backend = "local"
          config  = {{ path = "{path}" }}
        }}
        output "name" {{ value = data.terraform_remote_state.net.outputs.name }}
        """
    )
    stand.check()
    assert stand.check().how == REPLAY
    upstream(stand, 2, "b")
    moved = stand.check()
    assert moved.how == ("plan", "remote_state")
    assert stand.check().how == REPLAY
    recordings = (stand.root / "state/recordings").iterdir()
    assert all(str(path).encode() not in file.read_bytes() for file in recordings)


class StateServer:
    """Terraform's `http` backend, whose states only terraform reads."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.gets = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.gets += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                self.wfile.write(server.content)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/state"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def elsewhere(stand: Stand) -> Iterator[StateServer]:
    server = StateServer(stand.state.read_bytes())
    main = stand.repository / "stack/main.tf"
    main.write_text(main.read_text().replace('backend "local"', 'backend "http"'))
    stand.backend = {"address": server.url}
    yield server
    server.close()


def test_a_state_that_only_terraform_reads_is_pulled(stand: Stand, elsewhere: StateServer) -> None:
    assert stand.check().how == ("plan", "no_recording")
    before = elsewhere.gets
    assert stand.check().how == REPLAY
    assert elsewhere.gets == before + 1
    elsewhere.content = json.dumps({**json.loads(elsewhere.content), "serial": 99}).encode()
    assert stand.check().how == ("plan", "state_changed")
    elsewhere.content = b"nonsense"
    question = stand.question()
    with pytest.raises(Exception, match=r"state|nonsense"):
        stand.examiner.examine(question)
    assert question.trail.reason == "state_unknown"


def test_a_recording_of_another_version_is_refused(recorded: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.close()
    monkeypatch.setattr(shelves, "_VERSIONS", [1, "9.9.9"])
    assert recorded.check().how == ("plan", "recording_version")
    assert recorded.check().how == REPLAY


def test_a_provider_in_quarantine_is_terraforms_alone(recorded: Stand, stand: Stand) -> None:
    """Over a restart, too; and its plans are as they always were."""
    place = recorded.examiner._planner.standing(recorded.request(recorded.repository))
    assert place
    selection = recorded.house.selected(place.data, place.lock_file)
    recorded.house.isolate(selection.packages.values(), "a test says so")
    assert recorded.house.pool.stats().processes == 0
    for _ in range(2):
        recorded.close()
        assert recorded.check().how == ("plan", "quarantined")
        assert recorded.house.pool.stats().launched == 0
    recorded.open_port()
    assert recorded.check().differing == {"sandbox_firewall.web"}


def test_credentials_that_changed_in_their_file_are_other_credentials(stand: Stand) -> None:
    file = stand.root / "credentials"
    file.write_text("[default]\n")
    stand.environment["SANDBOX_CREDENTIALS"] = str(file)
    stand.check()
    assert stand.check().how == REPLAY
    file.write_text("[default]\nother = 1\n")
    assert stand.check().how == ("plan", "environment_changed")


@pytest.mark.parametrize("kind", [Kind.BUCKET, Kind.DATABASE, Kind.FIREWALL])
def test_what_is_deleted_or_made_anew_is_seen(recorded: Stand, kind: Kind) -> None:
    """Also where the new one has the old one's name."""
    name = {Kind.BUCKET: "logs", Kind.DATABASE: "orders", Kind.FIREWALL: "web"}[kind]
    recorded.cloud.delete(kind, f"local-1/{name}" if kind is Kind.FIREWALL else name)
    gone = recorded.check()
    assert gone.how == ("plan", "reads_differ")
    assert {each.kind for each in gone.seen.reading.findings if each.counted} == {"deleted"}
    recorded.cloud.create(kind, {"name": name, **_needed(kind)})
    assert recorded.check().how == ("plan", "reads_differ")


def _needed(kind: Kind) -> dict[str, Any]:
    return {"engine": "mysql", "version": "8", "password": "canary-other"} if kind is Kind.DATABASE else {}


def test_what_only_a_data_source_reads_is_seen(recorded: Stand) -> None:
    recorded.cloud.update(Kind.BUCKET, "by-hand", {"tags": {"owner": "somebody"}})
    seen = recorded.check()
    assert seen.how == ("plan", "reads_differ")
    assert recorded.check(Approach.PLAIN).seen.reading.verdict == seen.seen.reading.verdict


def test_two_accounts_never_share_a_process(stand: Stand) -> None:
    """Shown by what the provider processes themselves have in their environment."""
    stand.environment["SANDBOX_TOKEN"] = "canary-one"
    stand.check()
    stand.environment["SANDBOX_TOKEN"] = "canary-two"
    stand.check()
    tokens = []
    for member in stand.house.pool._members:
        content = (Path("/proc") / str(member.process.pid) / "environ").read_bytes()
        variables = dict(part.split(b"=", 1) for part in content.split(b"\0") if b"=" in part)
        tokens.append(variables[b"SANDBOX_TOKEN"])
    assert sorted(tokens) == [b"canary-one", b"canary-two"]
