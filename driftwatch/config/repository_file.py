"""A repository's own `.driftwatch.yaml`: what those who merge may say about their stacks.

It is as untrusted as the rest of the repository. It names no secrets, runs nothing, reaches only the keys of
`repository_may_set`, and cannot make driftwatch work harder than once a minute, or than the limits under
`continuous` let any stack.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError, field_validator

from driftwatch.config.document import Document, Limits, read_document
from driftwatch.config.globs import matches
from driftwatch.config.loading import texts_of
from driftwatch.config.problems import KeyPath, Problem, dotted, in_order, refusal
from driftwatch.config.references import has_mark
from driftwatch.config.section import Section, Text
from driftwatch.config.settings import Schedule, StackPath, StackSettings
from driftwatch.config.wording import translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE_NAME = ".driftwatch.yaml"

LIMITS = Limits(size=64 * 1024, values=5_000)
"""Smaller than the configuration's own: it is read on every new commit, from whoever can push."""

OFTENEST = timedelta(minutes=1)
"""A repository must not be able to keep the workers busy with itself alone."""

MOST_WORDS = 50
"""Labels or owners of one entry: they go into every row and alert of a stack."""


class RepositoryStack(Section):
    """What a repository says about the root modules that one glob matches; None where it says nothing."""

    path: StackPath = Field(description="Glob of directories, as in the configuration.")
    labels: dict[Text, Text] | None = Field(
        default=None, max_length=MOST_WORDS, description="Added to those of the configuration."
    )
    owners: tuple[Text, ...] | None = Field(
        default=None, max_length=MOST_WORDS, description="In place of the configuration's."
    )
    schedule: Schedule | None = Field(
        default=None, description="In place of the configuration's; at least 1m, or `continuous`."
    )

    @field_validator("schedule")
    @classmethod
    def _not_too_often(cls, value: Schedule | None) -> Schedule | None:
        if value and value.every and value.every < OFTENEST:
            raise ValueError("must not be more often than every 1m")
        return value


class RepositoryFile(Section):
    """The whole file. An empty one says nothing."""

    stacks: tuple[RepositoryStack, ...] = Field(default=(), description="What is said, glob by glob.")


def read_repository_file(content: bytes, may_set: Sequence[str]) -> RepositoryFile:
    """Reads a `.driftwatch.yaml`; raises ConfigError with every problem of it."""
    document = read_document(content, LIMITS)
    if document.value is None and not document.problems:
        return RepositoryFile()
    problems = [*document.problems, *_references(document), *_forbidden(document, may_set)]
    told = {problem.key for problem in problems}
    try:
        file = RepositoryFile.model_validate(document.value)
    except ValidationError as exc:
        problems += translated(exc, document, RepositoryFile, told=told)
    if problems:
        raise refusal(FILE_NAME, in_order(problems))
    return file


def apply_repository_file(options: StackSettings, path: str, file: RepositoryFile) -> StackSettings:
    """The options of the root module at `path`, with what the repository's own file says about it.

    Of several entries that match, the last counts. Labels are added, and a label that the configuration sets
    keeps its value: windows and rules select stacks by them. Owners and schedule replace the configuration's.
    """
    labels, update = dict[str, str](), dict[str, object]()
    for entry in file.stacks:
        if matches(entry.path, path):
            labels |= entry.labels or {}
            update |= {
                key: value for key in ("owners", "schedule") if (value := getattr(entry, key)) is not None
            }
    if labels:
        update["labels"] = {**labels, **options.labels}
    return options.model_copy(update=update)


def _references(document: Document) -> Iterator[Problem]:
    for path, text in texts_of(document.value):
        if has_mark(text):
            yield Problem(
                line=document.line(path),
                key=path,
                sentence="holds a reference to a secret, which only the configuration may do",
            )


def _forbidden(document: Document, may_set: Sequence[str]) -> Iterator[Problem]:
    stacks = document.value.get("stacks") if isinstance(document.value, dict) else None
    for place, entry in enumerate(stacks if isinstance(stacks, list) else ()):
        for key in entry if isinstance(entry, dict) else ():
            if key in StackSettings.model_fields and key not in ("path", *may_set):
                path: KeyPath = ("stacks", place, key)
                yield Problem(line=document.line(path), key=path, sentence=_not_yours(key, may_set))


def _not_yours(key: str, may_set: Sequence[str]) -> str:
    allowed = ", ".join(may_set) or "nothing"
    return f"`{dotted((key,))}` is not for a repository to set; `repository_may_set` allows {allowed}"
