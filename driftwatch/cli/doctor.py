"""`driftwatch doctor`: looks at the machine and the configuration, and says what would go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch import __version__
from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import Rooms, opened_store, read_settings
from driftwatch.cli.formats import Listing, visible
from driftwatch.cli.stacks import print_json
from driftwatch.cli.warmth import ask
from driftwatch.config.settings import TerraformSettings
from driftwatch.errors import DriftwatchError, Exit
from driftwatch.git import Mirror
from driftwatch.log import redact
from driftwatch.store.sqlite import DATABASE_FILE
from driftwatch.terraform import Planner
from driftwatch.terraform.installed import installed, tools_in
from driftwatch.warm.quarantine import Quarantine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.config.settings import RepositorySettings, Settings

LOW_DISK_MB = 1024
"""A checkout, a provider cache and a plan of a large stack fit into this."""


class State(StrEnum):
    """How an examined thing is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing looked at, and what to do about it."""

    subject: str
    state: State
    says: str
    advice: str | None = None


def doctor(config: Path | None, form: Listing) -> int:
    """Prints all diagnoses; exit code 1 where any of them means that checks would fail."""
    diagnoses = [*_machine(), *_engines(config), *(_configuration(config) if config else ())]
    if form is Listing.JSON:
        print_json({"diagnoses": [asdict(item) for item in diagnoses]})
    else:
        for item in diagnoses:
            _show(item)
    return Exit.ERROR if any(item.state is State.FAILED for item in diagnoses) else Exit.OK


def _show(item: Diagnosis) -> None:
    first, _, rest = visible(item.says).partition("\n")
    terminal.stdout.print(
        Text.assemble((f"{item.state:<8}", STYLES[item.state]), (f"{item.subject}: ", "bold"), first)
    )
    if rest:
        terminal.stdout.print(terminal.indented(Text(rest.rstrip(), "dim"), 10))
    if item.advice:
        terminal.stdout.print(f"        → {visible(item.advice)}")


def _machine() -> Iterator[Diagnosis]:
    yield Diagnosis(
        subject="driftwatch", state=State.OK, says=f"{__version__} on Python {sys.version.split()[0]}"
    )
    git = shutil.which("git")
    if git is None:
        yield Diagnosis(
            subject="git", state=State.FAILED, says="not on PATH", advice="Install git 2.30 or newer."
        )
    else:
        said = subprocess.run([git, "--version"], capture_output=True, text=True, check=False, timeout=10)
        yield Diagnosis(subject="git", state=State.OK, says=said.stdout.strip())
    if shutil.which("setpriv"):
        yield Diagnosis(subject="setpriv", state=State.OK, says="plans end with the daemon, however it ends")
    else:
        yield Diagnosis(
            subject="setpriv",
            state=State.WARNING,
            says="not on PATH: after a kill -9 of the daemon a plan runs on until the next start ends it",
            advice="Install util-linux.",
        )


def _engines(config: Path | None) -> Iterator[Diagnosis]:
    whole: Settings | None = None
    if config:
        with suppress(DriftwatchError):  # the configuration has a diagnosis of its own
            whole = read_settings(config, os.environ)
    settings = whole.terraform if whole else TerraformSettings()
    scratch, tools = Path(os.devnull), tools_in(whole.state_dir) if whole else None
    planner = Planner(settings, cache=scratch, runs=scratch, environment=dict(os.environ), tools=tools)
    try:
        binaries = planner.binaries()
    except DriftwatchError as problem:
        yield _of(problem, "terraform")
        binaries = ()
    for binary in binaries:
        yield Diagnosis(subject=binary.name, state=State.OK, says=f"{binary.version} ({binary.path})")
    for each in installed(tools) if tools else ():
        if not each.is_intact():
            yield Diagnosis(
                subject=each.receipt.engine,
                state=State.WARNING,
                says=f"{each.program} is no longer what was verified: it is not used",
                advice=f"Find out who changed it; install {each.receipt.version} again.",
            )
    if whole and (units := list(_units(whole))):
        yield _terragrunt(planner, units)


def _units(settings: Settings) -> Iterator[str]:
    """The globs of stacks that are units of terragrunt."""
    for name, repository in settings.repositories.items():
        yield from (f"{name}/{stack.path}" for stack in repository.stacks if stack.engine == "terragrunt")


def _terragrunt(planner: Planner, globs: list[str]) -> Diagnosis:
    try:
        found = planner.unit_runner()
    except DriftwatchError as problem:
        said = _of(problem, "terragrunt")
        return replace(said, says=f"{said.says} ({', '.join(globs)})")
    return Diagnosis(subject="terragrunt", state=State.OK, says=f"{found.version} ({found.path})")


def _configuration(config: Path) -> Iterator[Diagnosis]:
    try:
        settings = read_settings(config, os.environ)
    except DriftwatchError as problem:
        yield _of(problem, "configuration")
        return
    yield Diagnosis(subject="configuration", state=State.OK, says=f"{config} is accepted, {_count(settings)}")
    yield from _state_directory(settings)
    if _is_ours(settings.state_dir):
        yield from _database(settings)
    yield from _repositories(settings)
    yield from _warm(settings)
    for mirror in settings.terraform.provider_mirrors:
        if "://" not in mirror and not Path(mirror).is_dir():
            yield Diagnosis(
                subject="terraform.provider_mirrors",
                state=State.FAILED,
                says=f"no such directory: {mirror}",
                advice="Mend the path, or fill it with `terraform providers mirror`.",
            )
    if not settings.notify.channel_names:
        yield Diagnosis(
            subject="notify",
            state=State.WARNING,
            says="nobody is told of drift",
            advice="Set notify.slack or another channel under notify.",
        )


def _state_directory(settings: Settings) -> Iterator[Diagnosis]:
    directory = settings.state_dir
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Diagnosis(
            subject="state_dir",
            state=State.FAILED,
            says=f"{directory} cannot be written",
            advice="Give the user that runs driftwatch the right to, or name another directory.",
        )
        return
    if directory.exists() and not _is_ours(directory):
        yield Diagnosis(
            subject="state_dir",
            state=State.WARNING,
            says=f"{directory} belongs to user {directory.stat().st_uid}: the database in it was not opened",
            advice="Run this as that user: files that another one makes there may stop the daemon.",
        )
        return
    free = shutil.disk_usage(existing).free // 2**20
    yield Diagnosis(
        subject="state_dir",
        state=State.OK if free >= LOW_DISK_MB else State.WARNING,
        says=f"{directory}, {free} MB free",
        advice=None
        if free >= LOW_DISK_MB
        else "Free some space: checkouts, plans and the database live there.",
    )


def _is_ours(directory: Path) -> bool:
    return not directory.exists() or directory.stat().st_uid == os.geteuid()


def _database(settings: Settings) -> Iterator[Diagnosis]:
    if settings.database is None and not (settings.state_dir / DATABASE_FILE).exists():
        yield Diagnosis(subject="database", state=State.OK, says="none yet: the first run makes it")
        return
    try:
        with opened_store(settings) as store:
            count = len(store.stacks(now=now()))
    except DriftwatchError as problem:
        yield _of(problem, "database")
        return
    kind = "PostgreSQL" if settings.database else "SQLite"
    yield Diagnosis(subject="database", state=State.OK, says=f"{kind}, {count} stacks known")


def _warm(settings: Settings) -> Iterator[Diagnosis]:
    """Warm providers and replay: of the daemon that runs, and of what it keeps."""
    if not settings.warm.enabled:
        yield Diagnosis(
            subject="warm providers",
            state=State.OK,
            says="off by `warm.enabled`: every check is a plain plan",
        )
        return
    rooms = Rooms(state=settings.state_dir)
    for entry in Quarantine(rooms.quarantine).entries() if _is_ours(settings.state_dir) else ():
        yield Diagnosis(
            subject="warm providers",
            state=State.WARNING,
            says=f"{entry.address} {entry.version} is out of warm service: {entry.reason}",
            advice="It comes back with its next release, or ours; its stacks are planned as terraform does.",
        )
    warmth = ask(settings.web.listen)
    if warmth is None:
        yield Diagnosis(
            subject="warm providers",
            state=State.OK,
            says=f"no daemon answers on {settings.web.listen}; recordings on disk: {_count_files(rooms)}",
        )
        return
    for sentence in warmth.sentences():
        yield Diagnosis(
            subject="warm providers",
            state=State.WARNING if "disagreed" in sentence and warmth.disagreements else State.OK,
            says=sentence,
        )


def _count_files(rooms: Rooms) -> int:
    return sum(1 for _ in rooms.recordings.glob("*.recording")) if rooms.recordings.is_dir() else 0


def _repositories(settings: Settings) -> Iterator[Diagnosis]:
    with _mirrors(settings) as directory:
        for name, repository in settings.repositories.items():
            yield _repository(Mirror(name, repository, directory / name, clock=now), name, repository)


@contextmanager
def _mirrors(settings: Settings) -> Iterator[Path]:
    """Those of the daemon, where there are any that are ours; else some of our own: a look leaves nothing."""
    mirrors = Rooms(state=settings.state_dir).mirrors
    if mirrors.exists() and _is_ours(mirrors):
        yield mirrors
        return
    with tempfile.TemporaryDirectory(prefix="driftwatch-") as directory:
        yield Path(directory)


def _repository(mirror: Mirror, name: str, repository: RepositorySettings) -> Diagnosis:
    try:
        fetched = mirror.fetch()
        modules = mirror.discover(fetched.commit, [stack.path for stack in repository.stacks])
    except DriftwatchError as problem:
        return _of(problem, f"repository {name}")
    finally:
        mirror.close()
    return Diagnosis(
        subject=f"repository {name}",
        state=State.OK if modules else State.WARNING,
        says=f"{repository.branch} is at {fetched.commit[:8]}, root modules: {len(modules)}",
        advice=None if modules else "No root module matches the globs under `stacks:`.",
    )


def _count(settings: Settings) -> str:
    count = len(settings.repositories)
    return "1 repository" if count == 1 else f"{count} repositories"


def _of(problem: DriftwatchError, subject: str) -> Diagnosis:
    detail = terminal.unsaid(problem.detail, problem.message)
    says = f"{problem.message}\n{detail}" if detail else problem.message
    return Diagnosis(subject=subject, state=State.FAILED, says=redact(says), advice=problem.advice)
