"""The sample estate: the Git repository that the demo watches and tests check.

Its files lie in `repository/` beside this module, with two places to fill in: the cloud's directory, and the
one for the states, which is outside of the repository because driftwatch only reads checkouts.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch.errors import GitMissingError, RepositoryError
from driftwatch.log import redact
from driftwatch.sandbox.mirror import hcl_string, lock_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.sandbox.cloud import Cloud

STACKS = (
    "dns",
    "envs/prod/data",
    "envs/prod/network",
    "envs/staging/data",
    "envs/staging/network",
    "shared/logs",
)
"""The root modules, as paths in the repository."""

BRANCH = "main"
AUTHOR = "Ada Example <ada@example.test>"

_TEMPLATES = Path(__file__).parent / "repository"
_IGNORED = ".terraform/\n*.tfstate\n*.tfstate.*\n*.tfplan\n"


def create_repository(directory: Path, cloud: Cloud, states: Path) -> Path:
    """Makes a Git repository of the estate with one commit on `main` and returns `directory`.

    Each stack's state goes to `states/<stack>/terraform.tfstate`, and each has a committed lock file. Raises
    `RepositoryError` where git refuses.
    """
    places = {"@CLOUD@": cloud.directory.absolute(), "@STATES@": states.absolute()}
    files = {
        str(template.relative_to(_TEMPLATES)): _fill(template.read_text(encoding="utf-8"), places)
        for template in sorted(_TEMPLATES.rglob("*"))
        if template.is_file()
    }
    locks = {f"{stack}/.terraform.lock.hcl": lock_file() for stack in STACKS}
    directory.mkdir(parents=True, exist_ok=True)
    # No template: hooks that a person has for their own repositories are none of the sandbox's.
    _git(directory, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")
    commit(directory, {".gitignore": _IGNORED, **files, **locks}, "Lay out the platform's stacks")
    return directory


def commit(repository: Path, files: Mapping[str, str | None], message: str, *, author: str = AUTHOR) -> str:
    """Writes `files` (None deletes one), commits them and returns the commit's id."""
    for name, text in files.items():
        path = repository / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    _git(repository, "add", "--", *files)
    _git(repository, "commit", "--quiet", f"--message={message}", f"--author={author}")
    return _git(repository, "rev-parse", "HEAD").strip()


def _fill(text: str, places: Mapping[str, Path]) -> str:
    for place, path in places.items():
        text = text.replace(place, hcl_string(str(path))[1:-1])
    return text


def _git(repository: Path, *arguments: str) -> str:
    """Runs git as nobody in particular: no configuration of the machine or of the person applies."""
    program = shutil.which("git")
    if program is None:
        raise GitMissingError("The sandbox needs git, and there is none on PATH.")
    name, _, mail = AUTHOR.rstrip(">").partition(" <")
    done = subprocess.run(
        [program, "-C", str(repository), "-c", "commit.gpgSign=false", *arguments],
        env={
            "PATH": str(Path(program).parent),
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": mail,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": mail,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RepositoryError(
            f"git {arguments[0]} failed in {repository} (exit {done.returncode}).",
            detail=redact(done.stderr + done.stdout),
        )
    return done.stdout
