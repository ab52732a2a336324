"""The code of a commit, as far as an edit has to know it: files by directory, and who else uses them.

It is read from what was committed, never from a checkout: there, the repository's attributes may have changed
line ends and more, and an edit of one line would be one of every line.
"""

from __future__ import annotations

import posixpath
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from driftwatch.hcl import VALUES, is_configuration, is_local, read_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from driftwatch.git.listing import Listing
    from driftwatch.pipeline.inventory import Subject

_LARGEST_FILE = 1 << 20
_MOST_FILES = 50_000
_AT_ONCE = 200


class Texts(Protocol):
    """A repository whose files can be read as they were committed."""

    def listing(self, commit: str) -> Listing:
        """All paths of a commit."""

    def contents(self, commit: str, paths: Sequence[str]) -> Mapping[str, bytes]:
        """The contents of these files, by path."""


class Committed:
    """The files of a commit, directory by directory. No link is followed: it is another's file."""

    def __init__(self, texts: Texts, commit: str) -> None:
        self._texts = texts
        self._commit = commit
        self._known: dict[str, dict[str, bytes]] = {}
        self._paths: dict[str, list[str]] = {}

    def directory(self, path: str) -> Mapping[str, bytes]:
        """The configuration and the variable files of a directory; that of the root is empty."""
        if path not in self._known:
            self._known[path] = dict(self._texts.contents(self._commit, self._below().get(path, ())))
        return self._known[path]

    def other_caller(self, subject: Subject, file: str) -> str | None:
        """A directory outside of what the stack reads that uses the module which a file is of."""
        wanted = posixpath.dirname(file) or "."
        if wanted == posixpath.normpath(subject.stack.path) or not is_configuration(posixpath.basename(file)):
            return None
        own = {posixpath.normpath(each) for each in subject.reads}
        modules = {
            path or ".": [each for each in files if is_configuration(each)]
            for path, files in self._below().items()
            if (path or ".") not in own
        }
        if sum(map(len, modules.values())) > _MOST_FILES:
            return "nobody knows what: the repository is too large to look"
        for some in _chunks(each for each in sorted(modules) if modules[each]):
            found = self._texts.contents(self._commit, [path for each in some for path in modules[each]])
            for each in some:
                named = {posixpath.basename(path): found[path] for path in modules[each]}
                if wanted in _sources(each, named):
                    return each
        return None

    def _below(self) -> Mapping[str, list[str]]:
        """The files that matter, by directory."""
        if not self._paths:
            for path, entry in self._texts.listing(self._commit).entries.items():
                name = posixpath.basename(path)
                matters = is_configuration(name) or name.endswith(VALUES)
                if matters and entry.is_file and entry.size <= _LARGEST_FILE:
                    self._paths.setdefault(posixpath.dirname(path), []).append(path)
        return self._paths


def _sources(directory: str, files: Mapping[str, bytes]) -> set[str]:
    return {
        posixpath.normpath(posixpath.join(directory, source))
        for source in read_module(files).module_sources
        if is_local(source)
    }


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    ahead = iter(names)
    while some := list(islice(ahead, _AT_ONCE)):
        yield some
