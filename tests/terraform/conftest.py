"""Fixtures for tests that run terraform, real or played."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from driftwatch.config.settings import TerraformSettings
from driftwatch.terraform import Applier, Ladder, Planned, Planner, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

QUICK = Ladder(first=0.4, second=0.3, reap=5.0)


@dataclass(kw_only=True)
class Bench:
    """A checkout to write into, a planner, and the plans of it."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    said: list[str] = field(default_factory=list)

    @property
    def checkout(self) -> Path:
        return self.root / "checkout"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def write(self, name: str, text: str) -> Path:
        path = self.checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def planner(self, **settings: Any) -> Planner:
        return Planner(
            TerraformSettings(**{"min_free_mb": 1, **self.settings, **settings}),
            cache=self.cache,
            runs=self.runs,
            environment={"PATH": os.environ["PATH"], **self.own},
            ladder=QUICK,
            hurry=self.hurry,
        )

    @property
    def applies(self) -> Path:
        return self.root / "applies"

    def applier(self, **settings: Any) -> Applier:
        return Applier(
            TerraformSettings(**{"min_free_mb": 1, **self.settings, **settings}),
            cache=self.cache,
            runs=self.runs,
            applies=self.applies,
            environment={"PATH": os.environ["PATH"], **self.own},
            ladder=QUICK,
            hurry=self.hurry,
        )

    def state_backend(self, stack: str = "") -> str:
        """HCL for a state that lies outside of the checkout."""
        return (
            f'terraform {{\n  backend "local" {{\n    path = "{self.state(stack)}"\n'
            f'    workspace_dir = "{self.state(stack).parent}/workspaces"\n  }}\n}}\n'
        )

    def state(self, stack: str = "") -> Path:
        return self.root / "states" / stack / "terraform.tfstate"

    def request(self, stack: str = ".", **options: Any) -> PlanRequest:
        return PlanRequest(
            **{
                "module": self.checkout / stack,
                "checkout": self.checkout,
                "workdir": self.root / "work" / stack,
                **options,
            }
        )

    def plan(self, stack: str = ".", *, settings: Mapping[str, Any] | None = None, **options: Any) -> Planned:
        return self.planner(**(settings or {})).plan(
            self.request(stack, **options), self.stop, self.said.append
        )

    @staticmethod
    def requiring(source: str, configuration: str = "") -> str:
        """HCL that requires and configures a provider, by the last part of its address."""
        name = source.rpartition("/")[2]
        return (
            f'terraform {{\n  required_providers {{\n    {name} = {{\n      source = "{source}"\n'
            f'    }}\n  }}\n}}\nprovider "{name}" {{\n  {configuration}\n}}\n'
        )

    def play(self, script: str) -> Path:
        """A program that stands in for terraform: a shell script, with `version` answered already."""
        program = self.root / "bin" / "terraform"
        program.parent.mkdir(parents=True, exist_ok=True)
        answer = '{"terraform_version": "1.11.4"}'
        program.write_text(
            f"#!/bin/sh\nif [ \"$1\" = version ]; then echo '{answer}'; exit 0; fi\n{script}\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
        self.settings["binary"] = str(program)
        return program

    def play_plan(self, show: str) -> None:
        """A program whose plan works, and whose `show` is this."""
        write = 'for a in "$@"; do case $a in -out=*) : > "${a#-out=}";; esac; done'
        self.play(f"case $1 in plan) {write};; show) {show};; esac")

    def terraform(self, *arguments: str, **environment: str) -> None:
        """What somebody else does with terraform in the checkout, with a data directory of their own."""
        subprocess.run(
            [self.settings["binary"], *arguments],
            cwd=self.checkout,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), **self.own, **environment},
            check=True,
            capture_output=True,
        )

    def leftovers(self) -> list[Path]:
        """What must not stay behind: run records, and directories with plans and secrets."""
        return [*self.runs.glob("*"), *self.root.glob("work/**/.terraform/dw-*")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(root=tmp_path)
    found.checkout.mkdir()
    return found


@pytest.fixture
def real(bench: Bench, terraform_binary: Path) -> Bench:
    """A bench with the real terraform."""
    bench.settings["binary"] = str(terraform_binary)
    return bench


@pytest.fixture
def sandboxed(real: Bench, sandbox_mirror: Path) -> Bench:
    """A bench with the real terraform and the sandbox's provider."""
    real.settings["provider_mirrors"] = (str(sandbox_mirror),)
    return real


@pytest.fixture
def descendants() -> Iterator[Callable[[], list[psutil.Process]]]:
    """What runs below this process now and did not before; killed at the end, if it must be."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}

    def running() -> list[psutil.Process]:
        return [
            process
            for process in psutil.Process().children(recursive=True)
            if process.pid not in before and process.status() != psutil.STATUS_ZOMBIE
        ]

    yield running
    for process in running():
        process.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 512 KB. Needs the right to mount."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small disk")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)
