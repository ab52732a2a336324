"""The code of a checkout, as far as an edit has to know it: files by directory, and who else uses them."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch.hcl import is_configuration, read_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.pipeline.inventory import Subject

_LARGEST_FILE = 1 << 20
_MOST_FILES = 50_000


class CheckedOut:
    """The files of a checkout, directory by directory. No link is followed: it may lead out of it."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._real = Path(os.path.realpath(checkout))
        self._known: dict[str, dict[str, bytes]] = {}

    def directory(self, path: str) -> Mapping[str, bytes]:
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def other_caller(self, subject: Subject, file: str) -> str | None:
        """A directory outside of what the stack reads that uses the module which a file is of."""
        wanted = posixpath.dirname(file)
        if wanted == posixpath.normpath(subject.stack.path) or not is_configuration(posixpath.basename(file)):
            return None
        own = {posixpath.normpath(each) for each in subject.reads}
        seen = 0
        for place, below, names in os.walk(self._checkout):
            below[:] = [each for each in below if each not in (".git", ".terraform")]
            here = Path(place).relative_to(self._checkout).as_posix()
            modules = [each for each in names if is_configuration(each)]
            seen += len(modules)
            if seen > _MOST_FILES:
                return "nobody knows what: the repository is too large to look"
            if modules and here not in own and wanted in self._sources(here):
                return here
        return None

    def _sources(self, directory: str) -> set[str]:
        files = self._read("" if directory == "." else directory)
        named = {posixpath.basename(path): text for path, text in files.items()}
        return {
            posixpath.normpath(posixpath.join(directory, source))
            for source in read_module(named).module_sources
            if source.startswith(("./", "../"))
        }

    def _read(self, path: str) -> dict[str, bytes]:
        place = self._checkout / path
        if Path(os.path.realpath(place)) != self._real / path or not place.is_dir():
            return {}
        found = {}
        with os.scandir(place) as entries:
            for entry in entries:
                wanted = is_configuration(entry.name) or entry.name.endswith((".tfvars", ".tfvars.json"))
                plain_file = entry.is_file(follow_symlinks=False)
                if wanted and plain_file and entry.stat(follow_symlinks=False).st_size <= _LARGEST_FILE:
                    found[posixpath.join(path, entry.name)] = Path(entry.path).read_bytes()
        return found
