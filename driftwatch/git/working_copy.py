"""Says where a directory on a person's disk stands: its repository, commit, and whether it has been edited.

The directory may be anybody's: an unpacked archive with a `.git` of its own can name programs that git runs
when it looks at files. Each setting that could do so is overridden; what cannot be is not asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from driftwatch.errors import RepositoryError
from driftwatch.git.command import HARDENING, Git

_SECONDS = 20
_FIRST_DIFFERENCES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCopy:
    """A directory inside of a Git checkout. `path` is relative to `root`, and `.` where they are the same.

    `commit` is None before the first one. `dirty`: something differs from the commit or is new to git; also
    true where git could not tell.
    """

    root: Path
    path: str
    commit: str | None
    dirty: bool


def describe(directory: Path) -> WorkingCopy | None:
    """The working copy that `directory` lies in; None where it lies in none, or where git cannot be asked."""
    real = Path(os.path.realpath(directory))
    try:
        git = Git(home=real, settings=(*HARDENING, ("safe.directory", "*")))
        root = git.run("rev-parse", "--show-toplevel", seconds=_SECONDS)
        if not root.succeeded or not root.stdout.strip():
            return None
        top = Path(os.fsdecode(root.stdout.removesuffix(b"\n")))
        if not real.is_relative_to(top):
            return None
        head = git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", seconds=_SECONDS)
        return WorkingCopy(
            root=top,
            path=real.relative_to(top).as_posix(),
            commit=head.stdout.decode().strip() if head.succeeded else None,
            dirty=_is_dirty(git.having(settings=_without_filters(git))),
        )
    except RepositoryError:
        return None


def _is_dirty(git: Git) -> bool:
    status = git.run(
        *(
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=normal",
            "--ignore-submodules=all",
            "--no-renames",
        ),
        seconds=_SECONDS,
        limit=_FIRST_DIFFERENCES,
    )
    return not status.succeeded or bool(status.stdout)


def _without_filters(git: Git) -> list[tuple[str, str]]:
    """Settings that switch off the filters that the repository's configuration defines: they are commands."""
    printed = git.run("config", "--name-only", "-z", "--get-regexp", r"^filter\.", seconds=_SECONDS).stdout
    names = {
        key.split(".", 1)[1].rpartition(".")[0]
        for key in printed.decode(errors="surrogateescape").split("\0")
        if key
    }
    return [
        (f"filter.{name}.{key}", value)
        for name in sorted(names)
        for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    ]
