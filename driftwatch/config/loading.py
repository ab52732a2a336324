"""From a file to settings: read, replace references, validate, and tell every problem at once.

The order matters for secrets: values are registered when their reference is resolved, before a validator can
put one into a sentence; and what is wrong with a value that came through a reference is told without the
validator's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from driftwatch.config.document import Document, Limits, read_document
from driftwatch.config.places import Place
from driftwatch.config.problems import KeyPath, Problem, in_order, refusal
from driftwatch.config.references import is_reference, password_in_clear, register_password, resolve
from driftwatch.config.remarks import remarks
from driftwatch.config.section import BY_REFERENCE
from driftwatch.config.settings import Settings
from driftwatch.config.wording import field_at, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo

    from driftwatch.model import JsonValue

LIMITS = Limits(size=1024 * 1024, values=100_000)
"""Thousands of stacks fit; a file that says more was not written by a person."""

_DATABASE: KeyPath = ("database",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, and what a person should know about them, one line each with file, line and key."""

    settings: Settings
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What an examination of a file gave: settings, or problems."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """The validated settings of one file; raises ConfigError with every problem of it."""
    return load_with_warnings(path, environment).settings


def load_with_warnings(path: Path, environment: Mapping[str, str]) -> Loaded:
    """As `load`, with what is accepted but should be known, such as settings that have no effect yet."""
    examined = examine(path, environment)
    if examined.settings is None:
        raise refusal(str(path), examined.problems)
    return Loaded(
        settings=examined.settings, warnings=tuple(warning.render(str(path)) for warning in examined.warnings)
    )


def examine(path: Path, environment: Mapping[str, str]) -> Examined:
    """Reads and validates one file without raising for what is wrong with it or in it."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.size + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "this is no path"
        return _refused([Problem(line=1, sentence=f"cannot be read: {reason}")])
    document = read_document(content, LIMITS)
    if not isinstance(document.value, dict):
        return _refused([*document.problems, *_no_mapping(document)])
    return _validated(document, environment, _place(path, environment))


def _refused(problems: list[Problem], warnings: list[Problem] | None = None) -> Examined:
    return Examined(settings=None, problems=in_order(problems), warnings=in_order(warnings or []))


def _no_mapping(document: Document) -> Iterator[Problem]:
    if document.problems:
        return
    empty = document.value is None
    yield Problem(
        line=1,
        sentence="is empty; `driftwatch config init` writes one to start from"
        if empty
        else "must be a mapping (key: value lines) at its top",
    )


def _place(path: Path, environment: Mapping[str, str]) -> Place:
    home = environment.get("HOME")
    return Place(directory=path.absolute().parent, home=Path(home) if home else None)


def _validated(document: Document, environment: Mapping[str, str], place: Place) -> Examined:
    resolved = resolve(document, environment, place)
    problems = [*document.problems, *resolved.problems, *_secrets_in_clear(document)]
    try:
        settings = Settings.model_validate(resolved.value, context=place)
    except ValidationError as exc:
        told = {problem.key for problem in resolved.problems}
        problems += translated(exc, document, Settings, secret_paths=resolved.secret_paths, told=told)
        return _refused(problems, resolved.warnings)
    if problems:
        return _refused(problems, resolved.warnings)
    if settings.database:
        register_password(settings.database.get_secret_value())
    return Examined(
        settings=settings,
        problems=(),
        warnings=in_order([*resolved.warnings, *remarks(settings, document)]),
    )


def _secrets_in_clear(document: Document) -> Iterator[Problem]:
    for path, text in texts_of(document.value):
        line = document.line(path)
        field = field_at(Settings, path)
        if field and _only_by_reference(field) and not is_reference(text):
            yield Problem(
                line=line,
                key=path,
                sentence="must be ${env:NAME} or ${file:PATH}: secrets stand only as references",
            )
        if path == _DATABASE and password_in_clear(text):
            yield Problem(
                line=line, key=path, sentence="holds a password: write it as ${env:NAME} or ${file:PATH}"
            )


def texts_of(value: JsonValue, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every text of a document that is no key, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_of(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from texts_of(item, (*path, place))


def _only_by_reference(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(BY_REFERENCE))
