"""`driftwatch tools install | list` at a terminal, and what `doctor` says of what is installed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.releases import ReleasesSettings
from driftwatch.errors import Exit
from driftwatch.terraform.releases import release
from tests.terraform.mirror import MirrorServer, serving, zipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Estate, Ran


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A configuration that pins the terraform of this machine, and a mirror that has it."""

    run: Callable[..., Ran]
    config: Path
    state: Path
    version: str
    mirror: MirrorServer
    sha256: str

    @property
    def program(self) -> Path:
        return self.state / "tools" / "terraform" / self.version / "terraform"

    def __call__(self, *words: str) -> Ran:
        return self.run("tools", *words, "-c", self.config)

    def add(self, text: str) -> None:
        self.config.write_text(self.config.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture
def shop(
    cli: Callable[..., Ran], estate: Estate, terraform_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said = subprocess.run([terraform_binary, "version", "-json"], capture_output=True, check=True).stdout
    version = str(json.loads(said)["terraform_version"])
    archive = zipped({"terraform": terraform_binary.read_bytes()})
    sha256 = hashlib.sha256(archive).hexdigest()
    with serving() as mirror:
        wanted = release(ReleasesSettings(terraform_url=mirror.url), "terraform", version)
        mirror.put(wanted, archive, b"")
        pinned = f"{{{wanted.archive}: {sha256}}}"
        shop = Shop(
            run=cli,
            config=estate.config,
            state=estate.state,
            version=version,
            mirror=mirror,
            sha256=sha256,
        )
        shop.add(f"terraform:\n  releases: {{terraform_url: '{mirror.url}', pinned: {pinned}}}\n")
        yield shop


def test_what_was_installed_is_listed_with_who_vouches_for_it(shop: Shop) -> None:
    """The command prints what it fetches from where, what verifies it, its SHA-256, and where it lies."""
    ran = shop("install", shop.version)
    assert ran.code == Exit.OK, ran.err
    for word in (shop.mirror.url, shop.sha256, "a SHA-256 in the settings", f"installed {shop.program}"):
        assert word in ran.out
    assert shop.program.is_file()
    listed = shop("list")
    assert f"{shop.program} · verified by a SHA-256 in the settings" in listed.out
    (tool,) = (
        each for each in json.loads(shop("list", "-f", "json").out)["tools"] if each["source"] == "tools"
    )
    assert (tool["version"], tool["path"], tool["sha256"]) == (shop.version, str(shop.program), shop.sha256)


def test_what_cannot_be_verified_is_refused(shop: Shop) -> None:
    ran = shop("install", "1.0.0")
    assert ran.code == Exit.ERROR
    assert "there is nothing to verify terraform_1.0.0" in ran.err
    assert "terraform.releases.keys" in ran.err
    assert shop.mirror.asked == []


@pytest.mark.parametrize(
    "words", [("install", "newest"), ("install", "1.0.0", "--engine", "pulumi"), ("install",)]
)
def test_what_makes_no_sense_is_a_wrong_command_line(shop: Shop, words: tuple[str, ...]) -> None:
    assert shop(*words).code == Exit.USAGE


def test_a_setting_that_names_a_program_is_told_to_win(shop: Shop, terraform_binary: Path) -> None:
    text = shop.config.read_text(encoding="utf-8")
    shop.config.write_text(
        text.replace("terraform:\n", f"terraform:\n  binary: {terraform_binary}\n"), encoding="utf-8"
    )
    ran = shop("install", shop.version)
    assert ran.code == Exit.OK
    assert "nothing else is used until it is auto" in ran.err
    assert f"not used: {shop.program} (terraform.binary is {terraform_binary})" in shop("list").out


def test_a_program_that_was_changed_is_told_and_not_used(shop: Shop, cli: Callable[..., Ran]) -> None:
    shop("install", shop.version)
    shop.program.write_bytes(b"\x7fELF another")
    assert "no longer what was verified" in shop("list").out
    document = json.loads(cli("doctor", "-c", shop.config, "-f", "json").out)
    (diagnosis,) = (each for each in document["diagnoses"] if "no longer what was verified" in each["says"])
    assert (diagnosis["subject"], diagnosis["state"]) == ("terraform", "warning")


def diagnoses(cli: Callable[..., Ran], config: Path) -> list[dict[str, Any]]:
    found = json.loads(cli("doctor", "-c", config, "-f", "json").out)["diagnoses"]
    return [each for each in found if each["subject"] == "terragrunt"]


def test_doctor_says_whether_units_can_be_planned(
    cli: Callable[..., Ran], estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where a stack's entry says that there are any."""
    assert diagnoses(cli, estate.config) == []
    text = estate.config.read_text(encoding="utf-8")
    estate.config.write_text(text.replace("'**'", "'live/**', engine: terragrunt"), encoding="utf-8")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (missing,) = diagnoses(cli, estate.config)
    assert missing["state"] == "failed"
    assert "terragrunt is not on PATH: its units cannot be checked (platform/live/**)" in missing["says"]
    program = tmp_path / "bin" / "terragrunt"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho terragrunt version v1.1.3\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (there,) = diagnoses(cli, estate.config)
    assert (there["state"], there["says"]) == ("ok", f"1.1.3 ({program})")
