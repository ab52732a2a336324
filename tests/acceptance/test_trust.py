"""Signed and unsigned heads as a team lives them: what nobody vouches for is said, and is not run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox import estate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Fleet, House

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen on PATH")

STACK = "platform/fleet/s000"


def signed(repository: Path, key: Path) -> str:
    """The newest commit, signed by Ada after the fact."""
    subprocess.run(
        [
            *("git", "-C", repository, "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"),
            *("-c", "user.name=Ada", "-c", "user.email=ada@example.com"),
            *("commit", "--quiet", "--amend", "--no-edit", "-S"),
        ],
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        check=True,
    )
    shown = ["git", "-C", repository, "rev-parse", "HEAD"]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()


def checks(house: House, commit: str) -> int:
    ((number,),) = house.rows(f"SELECT count(*) FROM checks WHERE commit_sha = '{commit}'")  # noqa: S608
    return int(number)


def test_an_unsigned_head_is_told_and_the_last_signed_one_stays_in_use(fleet: Fleet, tmp_path: Path) -> None:
    """From a first start with an unsigned head, through a signed and an unsigned one, to a signed one."""
    key = tmp_path / "ada"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    fleet.commit(1)
    house = fleet.house(every="1s")
    signer = json.dumps(f"ada@example.com {key.with_suffix('.pub').read_text().strip()}")
    asked = f"poll: 1s\n    signatures: head\n    signers: {{ssh: [{signer}]}}"
    house.config.write_text(house.config.read_text().replace("poll: 2s", asked))

    daemon = house.start()
    house.wait_for("the refusal", lambda: any("is not used" in text for text in house.slack.posted))
    assert house.rows("SELECT count(*) FROM stacks") == [(0,)]
    listed = house.driftwatch("stacks", "list", "--config", str(house.config))
    assert "is not used: it is not signed" in listed.stderr

    good = signed(fleet.repository, key)
    house.wait_for("a check at the signed head", lambda: checks(house, good))
    estate.commit(fleet.repository, {"fleet/s000/more.tf": "# unsigned\n"}, "Push what nobody vouches for")
    unsigned = estate.commit(fleet.repository, {"fleet/s001/main.tf": "# x\n"}, "And more of it")
    said = f"{unsigned[:10]} by Ada Example, is not used"
    house.wait_for("the next refusal", lambda: any(said in text for text in house.slack.posted))
    before = checks(house, good)
    house.wait_for("a check at the last good head", lambda: checks(house, good) > before)
    time.sleep(2)
    assert sum(said in text for text in house.slack.posted) == 1
    assert checks(house, unsigned) == 0

    again = signed(fleet.repository, key)
    house.wait_for("a check at the head that is signed now", lambda: checks(house, again))
    house.wait_for("the end", lambda: any(again[:10] in text for text in house.slack.posted))
    assert house.stop(daemon) == 0
    assert house.log().count("it is not signed") < 10, "said on transitions, not at every poll"
