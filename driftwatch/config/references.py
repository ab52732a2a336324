"""Secrets by reference: `${env:NAME}` and `${file:PATH}` in any text; `$${` stands for a plain `${`.

Whatever a reference gives is registered as a secret before anything else sees it, and no problem ever repeats
it.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from driftwatch.config.problems import KeyPath, Problem, shortened
from driftwatch.log import register_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from driftwatch.config.document import Document
    from driftwatch.config.places import Place
    from driftwatch.model import JsonValue

LARGEST_SECRET = 64 * 1024
"""Bytes. A key or a token is a few thousand at most; a larger file is the wrong one."""

_SHORTEST_SECRET_LINE = 16
"""A multi-line secret (a private key) reaches logs line by line; shorter lines are ordinary words."""

_MARK = re.compile(r"\$\$\{|\$\{(?:(?P<kind>env|file):(?P<name>[^{}]*)\})?")
_WHOLE = re.compile(r"\$\{(env|file):[^{}]*\}")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True, kw_only=True)
class Resolved:
    """A document's value with its references replaced. `secret_paths` are the keys that held one."""

    value: JsonValue = None
    secret_paths: set[KeyPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


class _RefusedError(Exception):
    """A reference that gives nothing; its text is the sentence."""


def resolve(document: Document, environment: Mapping[str, str], place: Place) -> Resolved:
    """Replaces every reference; those that give nothing stay as they are and have a problem."""
    return _Resolver(document, environment, place).run()


def is_reference(text: str) -> bool:
    """True for text that is one reference and nothing else."""
    return bool(_WHOLE.fullmatch(text))


def has_mark(text: str) -> bool:
    """True for text that holds anything that looks like a reference."""
    return "${" in text


def password_in_clear(url: str) -> bool:
    """True where a URL's password is written out rather than referred to."""
    # Up to the last `@`, wherever it is: a password with a slash in it must not slip through as a host.
    login = _WHOLE.sub("", url).partition("://")[2].partition("?")[0].rpartition("@")[0]
    return bool(login.partition(":")[2]) or bool(
        re.search(r"[?&](password|passfile|sslpassword)=(?!\$\{)[^&]", url)
    )


class _Resolver:
    def __init__(self, document: Document, environment: Mapping[str, str], place: Place) -> None:
        self._document = document
        self._environment = environment
        self._place = place
        self._resolved = Resolved()

    def run(self) -> Resolved:
        self._resolved.value = self._any(self._document.value, ())
        return self._resolved

    def _any(self, value: JsonValue, path: KeyPath) -> JsonValue:
        if isinstance(value, dict):
            return {key: self._any(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._any(item, (*path, place)) for place, item in enumerate(value)]
        if isinstance(value, str) and has_mark(value):
            return self._text(value, path)
        return value

    def _text(self, text: str, path: KeyPath) -> str:
        try:
            return "".join(self._pieces(text, path))
        except _RefusedError as exc:
            self._resolved.problems.append(self._problem(path, str(exc)))
            return text

    def _pieces(self, text: str, path: KeyPath) -> Iterator[str]:
        end = 0
        for mark in _MARK.finditer(text):
            yield text[end : mark.start()]
            yield "${" if mark[0] == "$${" else self._secret(mark, path)
            end = mark.end()
        yield text[end:]

    def _secret(self, mark: re.Match[str], path: KeyPath) -> str:
        if mark["kind"] is None:
            raise _RefusedError(
                "holds `${` that is no ${env:NAME} or ${file:PATH}; write `$${` for a plain `${`"
            )
        self._resolved.secret_paths.add(path)
        secret = (
            self._from_environment(mark["name"]) if mark["kind"] == "env" else self._from_file(mark, path)
        )
        _register(secret)
        return secret

    def _from_environment(self, name: str) -> str:
        if not _ENVIRONMENT_NAME.fullmatch(name):
            raise _RefusedError("refers to ${env:…} with something that is no variable's name")
        secret = self._environment.get(name)
        if not secret:
            raise _RefusedError(
                f"refers to ${{env:{name}}}, which is {'not set' if secret is None else 'empty'}"
            )
        return secret

    def _from_file(self, mark: re.Match[str], path: KeyPath) -> str:
        name = shortened(mark[0])
        try:
            file = self._place.resolve(mark["name"])
            content = _read(file)
            mode = file.stat().st_mode
            secret = content.decode().removesuffix("\n").removesuffix("\r")
        except OSError as exc:
            raise _RefusedError(f"refers to {name}, which cannot be read: {exc.strerror}") from None
        except UnicodeDecodeError:
            raise _RefusedError(f"refers to {name}, which is not UTF-8 text") from None
        except ValueError as exc:
            raise _RefusedError(f"refers to {name}, whose path {exc}") from None
        if len(content) > LARGEST_SECRET:
            raise _RefusedError(f"refers to {name}, which is larger than {LARGEST_SECRET // 1024} KiB")
        if not secret.strip() or "\0" in secret:
            raise _RefusedError(f"refers to {name}, which is empty or holds a NUL")
        if mode & stat.S_IROTH:
            self._resolved.warnings.append(
                self._problem(
                    path, f"refers to {name}, which every user of this machine can read: chmod 0600"
                )
            )
        return secret

    def _problem(self, path: KeyPath, sentence: str) -> Problem:
        return Problem(line=self._document.line(path), key=path, sentence=sentence)


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(LARGEST_SECRET + 1)


def _register(secret: str) -> None:
    register_secret(secret)
    for line in secret.splitlines():
        if len(line) >= _SHORTEST_SECRET_LINE:
            register_secret(line)


def register_password(url: str) -> None:
    """A database's password reaches error texts on its own, and decoded."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return  # no URL, no password: the validation of the key has said so
    if password:
        register_secret(password)
        register_secret(unquote(password))
