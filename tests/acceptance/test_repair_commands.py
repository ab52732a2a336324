"""Repair from the terminal, end to end: asked for, decided on, applied, rolled back, and taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftwatch.errors import Exit
from driftwatch.sandbox import estate
from driftwatch.sandbox.cloud import Kind

if TYPE_CHECKING:
    from tests.acceptance.conftest import House

RECORD = "example.test/api/A"
STACK = "platform/dns"


def test_a_repair_and_a_rollback_from_the_terminal(house: House) -> None:
    """A real daemon answers: each command comes back with what became of what it asked for."""
    main = house.repository / "dns" / "main.tf"
    house.config.write_text(house.config.read_text().replace("web:", "  gather: 0s\nweb:"))
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    first = str(house.json("stacks", "show", STACK)["commit"])

    # Put back what somebody deleted by hand.
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.wait_for_verdicts(dns="drifted")
    asked = house.json("proposals", "create", STACK, "--as", "anna", "--reason", "it must be there")
    proposal = asked["proposal"]
    assert (proposal["kind"], proposal["state"], proposal["commit"]) == ("revert", "proposed", first)
    assert [each["actions"] for each in proposal["resources"]] == [["create"]]
    approved = house.json(
        "proposals", "approve", str(proposal["id"]), "--as", "ben", "--digest", proposal["digest"]
    )
    assert (approved["in_the_way"], approved["daemon"], approved["state"]) == (None, True, "approved")
    shown = wait_for_end(house, proposal["id"])
    assert (shown["state"], shown["run"]["exit_code"]) == ("verified", 0)
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is not None

    # Deploy a commit, which a suspension holds at first.
    text = main.read_text().replace("203.0.113.20", "203.0.113.21")
    estate.commit(house.repository, {"dns/main.tf": text}, "Move the API")
    house.wait_for_verdicts(dns="pending")
    number = str(house.json("proposals", "create", STACK, "--as", "anna")["proposal"]["id"])
    assert run(house, Exit.OK, "stacks", "suspend", "platform", "--reason", "a look first").startswith(
        "platform"
    )
    held = run(house, Exit.HELD, "proposals", "apply", number, "--as", "ben", "--wait", "60")
    assert "suspended by" in held
    assert "a look first" in held
    run(house, Exit.OK, "stacks", "resume", "platform")
    applied = run(house, Exit.OK, "proposals", "apply", number, "--as", "ben", "--wait", "60")
    assert f"Proposal {number} is applied" in applied
    assert values(house) == ["203.0.113.21"]
    house.wait_for_verdicts(dns="in_sync")

    # Roll it back: the stack stays at the earlier commit until the pin is taken out.
    back = house.json("rollback", STACK, "--to", first[:8], "--as", "anna", "--reason", "the API is down")
    number = str(back["proposal"]["id"])
    assert (back["proposal"]["kind"], back["proposal"]["commit"]) == ("rollback", first)
    run(house, Exit.OK, "proposals", "apply", number, "--as", "ben", "--wait", "60")
    assert values(house) == ["203.0.113.20"]
    assert house.json("stacks", "show", STACK)["pin"]["commit"] == first
    assert f"pinned to commit {first[:10]} by anna" in run(house, Exit.OK, "stacks", "list")
    run(house, Exit.OK, "stacks", "unpin", STACK)
    house.wait_for_verdicts(dns="pending")

    applies = house.json("stacks", "history", STACK)["applies"]
    assert [(each["kind"], each["actors"], each["exit_code"]) for each in applies] == [
        ("rollback", ["ben"], 0),
        ("deploy", ["ben"], 0),
        ("revert", ["ben"], 0),
    ]
    asked_for = [(each["actor"], each["action"]) for each in house.json("audit", "list")["entries"]]
    assert {("anna", "rollback"), ("anna", "propose"), ("ben", "approve"), ("ben", "apply")} <= set(asked_for)
    assert house.stop(daemon) == 0


def run(house: House, code: int, *words: str) -> str:
    """What a command prints that must end so."""
    done = house.driftwatch(*words, "--config", str(house.config))
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}\n{house.log()[-3000:]}"
    return done.stdout


def wait_for_end(house: House, number: int) -> dict[str, Any]:
    """A proposal, once nothing more comes of it."""

    def look() -> dict[str, Any] | None:
        shown = house.json("proposals", "show", str(number))
        return shown if shown["ended_at"] else None

    found: dict[str, Any] = house.wait_for(f"proposal {number} to end", look, 60)
    return found


def values(house: House) -> object:
    record = house.cloud.read(Kind.DNS_RECORD, RECORD)
    return record and record.attributes["values"]
