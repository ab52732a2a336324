"""Plays a scenario with real terraform and returns the documents, scrubbed of the machine it ran on."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from driftwatch.sandbox.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.drift.scenarios import Scenario


_REGISTRY = re.compile(r"registry\.(?:terraform\.io|opentofu\.org)/")
_LOOPBACK = re.compile(r"127\.0\.0\.1:\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """A terminal in a directory of its own; nothing of this process's environment is handed on."""

    binary: Path
    cli_config: Path
    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def play(self, scenario: Scenario) -> dict[str, dict[str, Any]]:
        """The documents by suffix: "" is the scenario's own, ".before" that before anybody did anything."""
        cloud = Cloud(self.root / "cloud")
        scenario.prepare(cloud)
        self.write(scenario.code)
        self.run("init", "-input=false")
        self.run("apply", "-auto-approve", "-input=false")
        before = {".before": self.plan()} if scenario.before else {}
        scenario.meddle(cloud)
        self.write(scenario.commit)
        if scenario.break_apply is not None:
            scenario.break_apply(cloud)
            self.run("apply", "-auto-approve", "-input=false", expect=1)
            cloud.inject()
        return before | {"": self.plan(*scenario.plan, expect=1 if scenario.fails else 0)}

    def plan(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Makes a plan and returns its document. No path and no registry of this world is left in it."""
        self.run("plan", "-input=false", "-lock=false", "-out=it.tfplan", *arguments, expect=expect)
        shown = self.run("show", "-json", "it.tfplan").replace(str(self.root), "/somewhere")
        shown = _REGISTRY.sub("registry.example.test/", _LOOPBACK.sub("127.0.0.1:5000", shown))
        document: dict[str, Any] = json.loads(shown)
        return document

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self.root / "module" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def run(self, *arguments: str, expect: int = 0) -> str:
        done = subprocess.run(
            [str(self.binary), *arguments, *([] if arguments[0] == "show" else ["-no-color"])],
            cwd=self.root / "module",
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.root),
                "TMPDIR": str(self.root),
                "TF_CLI_CONFIG_FILE": str(self.cli_config),
                "TF_DATA_DIR": str(self.root / "data"),
                "SANDBOX_CLOUD": str(self.root / "cloud"),
                **self.environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != expect:
            raise AssertionError(f"terraform {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout
