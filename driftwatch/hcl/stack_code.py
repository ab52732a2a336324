"""The code of one stack, edited in memory: from a resource's address to the bytes that decide its values.

    an address → the module that has it → its block → a literal, or a variable → where that is given → an edit

A value is changed only where that changes nothing else: a module that is called twice, a variable that is
used twice, a file that another stack reads too are each a refusal. What is edited here is known nowhere else.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.hcl.editing import (
    Refusal,
    Target,
    Through,
    forget,
    module_sources,
    repeated,
    set_value,
    sets,
    shown,
    steps,
    text_at,
    uses_of,
)
from driftwatch.hcl.reading import is_configuration, is_local, is_read_by_itself

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from driftwatch.hcl.editing import Answer
    from driftwatch.model import JsonValue

_STEP = re.compile(r'module\.([\w-]+)((?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?)\.')
_RESOURCE = re.compile(r'([\w-]+)\.([\w-]+)((?:\[(?:\d+|"(?:[^"\\]|\\.)*")\])?)')
_DEEPEST = 20
"""Modules below modules, and variables handed on. Nobody's code goes deeper; a circle would."""

Files: TypeAlias = "Mapping[str, bytes]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One edit: where, and in words what."""

    file: str
    line: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A module of the stack: its directory, and the block that calls it; None for the root module."""

    directory: str
    name: str | None = None
    caller: Call | None = None


@dataclass(slots=True, kw_only=True)
class StackCode:
    """What a stack's code says, and what it is to say.

    `read` gives the files of a directory, by their paths from the repository's root; `var_files` are the
    stack's own, by such paths, the last one counting. `given` are variables that are set elsewhere: by the
    configuration, or the environment. `shared` says who else reads a file, None where nobody does. `edited`
    are the files that have changed so far.
    """

    root: str
    read: Callable[[str], Files]
    shared: Callable[[str], str | None]
    var_files: Sequence[str] = ()
    given: frozenset[str] = frozenset()
    edited: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> StackCode:
        """The same, to try something with."""
        return replace(self, edited=dict(self.edited))

    def set(self, address: str, path: str, *, now: JsonValue, wanted: JsonValue) -> Done | Refusal:
        """Has an attribute of a resource become `wanted`; `path` is a pointer into the resource."""
        answer = self._set(address, steps(path), now, wanted)
        if isinstance(answer, Refusal):
            return replace(answer, path=path, wanted=wanted)
        return answer

    def forget(self, address: str) -> Done | Refusal:
        """Has a resource that is gone from the cloud leave the code and the state, and nothing destroyed."""
        found = self._resource(address)
        if isinstance(found, Refusal):
            return found
        call, kind, name = found
        edited = forget(self.files(call.directory), kind, name)
        return self._keep(edited, f"{kind}.{name} is removed from the code, and from the state by `removed`")

    def append(self, file: str, text: bytes) -> None:
        """Writes something at the end of a file of the root module, which may be new."""
        before = self.files(self.root).get(file, b"")
        gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
        self.edited[file] = before + gap + text

    def add(self, file: str, text: bytes, sentence: str) -> Done | Refusal:
        """As `append`, unless another stack would read it too."""
        line = self.files(self.root).get(file, b"").count(b"\n") + 1
        if other := self.shared(file):
            said = f"{file} would be read by {other} too"
            return Refusal(reason="shared_file", sentence=said, file=file, line=line)
        self.append(file, text)
        return Done(file=file, line=line, sentence=sentence)

    def files(self, directory: str) -> dict[str, bytes]:
        """The configuration files of a directory as they are now."""
        known = {
            **self.read(directory),
            **{path: text for path, text in self.edited.items() if posixpath.dirname(path) == directory},
        }
        return {path: text for path, text in known.items() if is_configuration(posixpath.basename(path))}

    # ---- the way to a resource -------------------------------------------------------------------------

    def _resource(self, address: str) -> tuple[Call, str, str] | Refusal:
        """The module that an address is in, and the resource's type and name."""
        call, at = Call(directory=self.root), 0
        while step := _STEP.match(address, at):
            if step[2]:
                return _repeated(f"module.{step[1]}{step[2]}")
            below = self._called(call, step[1])
            if isinstance(below, Refusal):
                return below
            call, at = below, step.end()
        found = _RESOURCE.fullmatch(address, at)
        if found is None or found[1] == "data":
            return Refusal(reason="not_adoptable", sentence=f"{address} is no resource that code sets")
        if found[3]:
            return _repeated(address)
        refusal = repeated(self.files(call.directory), ("resource", found[1], found[2]))
        return refusal or (call, found[1], found[2])

    def _called(self, caller: Call, name: str) -> Call | Refusal:
        """The module that a `module` block calls, where it is one of this repository and called once."""
        files, labels = self.files(caller.directory), ("module", name)
        if refusal := repeated(files, labels):
            return refusal
        source = text_at(files, labels, "source")
        if source is None or not is_local(source):
            shown_source = source or "what is not plain"
            return Refusal(
                reason="remote_module",
                sentence=f"module.{name} comes from {shown_source}, which this repository does not hold",
                file=self._file_of(files, name),
            )
        directory = _directory(caller.directory, source)
        if directory == ".." or directory.startswith("../"):
            return Refusal(reason="remote_module", sentence=f"module.{name} lies outside of the repository")
        if self._calls(directory, Call(directory=self.root), 0) > 1:
            return Refusal(
                reason="shared_module",
                sentence=f"the module in {directory} is called more than once, and each call would change",
                file=directory,
            )
        return Call(directory=directory, name=name, caller=caller)

    def _calls(self, directory: str, call: Call, depth: int) -> int:
        """How often a module is called in the stack, on whatever way."""
        if depth > _DEEPEST:
            return 0
        found = 0
        for source in module_sources(self.files(call.directory)):
            if is_local(source):
                below = _directory(call.directory, source)
                found += below == directory
                found += self._calls(directory, Call(directory=below), depth + 1)
        return found

    @staticmethod
    def _file_of(files: Files, name: str) -> str:
        return next((path for path, text in sorted(files.items()) if f'"{name}"'.encode() in text), "")

    # ---- values ----------------------------------------------------------------------------------------

    def _set(self, address: str, path: tuple[str, ...], now: JsonValue, wanted: JsonValue) -> Done | Refusal:
        found = self._resource(address)
        if isinstance(found, Refusal):
            return found
        call, kind, name = found
        target = Target(labels=("resource", kind, name), path=path)
        answer = set_value(self.files(call.directory), target, now=now, wanted=wanted)
        return self._follow(answer, call, _sentence(".".join(path), now, wanted), 0)

    def _follow(self, answer: Answer, call: Call, sentence: str, depth: int) -> Done | Refusal:
        """An edit, or from a variable to where it is given."""
        if not isinstance(answer, Through):
            return self._keep(answer, sentence)
        refusal = self._why_not(answer, call, depth)
        if refusal is not None:
            return replace(refusal, file=answer.file, line=answer.line)
        if call.caller is None:
            given = self._given(answer)
            answer = given if not isinstance(given, Through) else _circle(answer)
            return self._keep(answer, f"{sentence}, as the variable that it is taken from")
        labels = ("module", call.name or "")
        files, target = self.files(call.caller.directory), (answer.variable, *answer.path)
        if sets(files, labels, answer.variable):
            argument = set_value(
                files, Target(labels=labels, path=target), now=answer.now, wanted=answer.wanted
            )
            return self._follow(
                argument, call.caller, f"{sentence}, as the argument of the module", depth + 1
            )
        return self._keep(self._default(answer, call.directory), f"{sentence}, as the variable's default")

    def _why_not(self, through: Through, call: Call, depth: int) -> Refusal | None:
        name = through.variable
        if through.wanted is None and not through.path:
            return Refusal(
                reason="variable", sentence=f"it is taken from var.{name}, which cannot be left out"
            )
        if depth > _DEEPEST:
            return Refusal(reason="variable", sentence=f"var.{name} is handed on too often to follow")
        if uses_of(self.files(call.directory), "var", name) != 1:
            return Refusal(
                reason="variable_shared",
                sentence=f"it is taken from var.{name}, which other things use too, and they would change",
            )
        return None

    def _given(self, through: Through) -> Answer:
        """Where a variable of the root module gets its value."""
        name = through.variable
        if name in self.given:
            return Refusal(
                reason="variable_given",
                sentence=f"it is taken from var.{name}, which is set outside of the repository",
                file=through.file,
                line=through.line,
            )
        places = [path for path, text in self._variable_files().items() if _may_set(text, name)]
        certain = [path for path in places if sets({path: self._content(path)}, (), name)]
        unsure = [path for path in places if path not in certain]
        if len(certain) + len(unsure) > 1:
            return Refusal(
                reason="variable_set_twice",
                sentence=f"var.{name} is set in more than one file: {', '.join(places)}",
                file=places[-1],
                line=1,
            )
        if unsure:
            return Refusal(
                reason="json",
                sentence=f"var.{name} is set in {unsure[0]}, which is not edited",
                file=unsure[0],
                line=1,
            )
        if not certain:
            return self._default(through, self.root)
        target = Target(labels=(), path=(name, *through.path))
        files = {certain[0]: self._content(certain[0])}
        return set_value(files, target, now=through.now, wanted=through.wanted)

    def _default(self, through: Through, directory: str) -> Answer:
        labels = ("variable", through.variable)
        files = self.files(directory)
        if not sets(files, labels, "default"):
            return Refusal(
                reason="variable_given",
                sentence=f"it is taken from var.{through.variable}, and nothing in the repository sets that",
                file=through.file,
                line=through.line,
            )
        target = Target(labels=labels, path=("default", *through.path))
        return set_value(files, target, now=through.now, wanted=through.wanted)

    def _variable_files(self) -> dict[str, bytes]:
        """What terraform reads variables from in this stack, by path."""
        here = self.read(self.root)
        usual = [path for path in here if is_read_by_itself(posixpath.basename(path))]
        named = [*usual, *(path for path in self.var_files if path not in usual)]
        return {path: self._content(path) for path in named}

    def _content(self, path: str) -> bytes:
        if path in self.edited:
            return self.edited[path]
        return self.read(posixpath.dirname(path)).get(path, b"")

    # ---- the end of the way ----------------------------------------------------------------------------

    def _keep(self, answer: Answer, sentence: str) -> Done | Refusal:
        """Takes an edit in, unless somebody else reads that file."""
        if isinstance(answer, Through):
            answer = _circle(answer)
        if isinstance(answer, Refusal):
            return answer
        if other := self.shared(answer.file):
            return Refusal(
                reason="shared_file",
                sentence=f"{answer.file} is read by {other} too, and that would change",
                file=answer.file,
                line=answer.line,
            )
        self.edited[answer.file] = answer.content
        return Done(file=answer.file, line=answer.line, sentence=sentence)


def _directory(beside: str, source: str) -> str:
    """Where a module lies, from the repository's root, which is empty itself."""
    path = posixpath.normpath(posixpath.join(beside, source))
    return "" if path == "." else path


def _may_set(text: bytes, name: str) -> bool:
    return re.search(rb'(?m)(^|[{,"\s])' + re.escape(name.encode()) + rb'"?\s*[=:]', text) is not None


def _repeated(address: str) -> Refusal:
    return Refusal(
        reason="repeated", sentence=f"{address} is one of several that one block makes, and all would change"
    )


def _circle(through: Through) -> Refusal:
    return Refusal(
        reason="reference",
        sentence=f"var.{through.variable} is no value where a value must stand",
        file=through.file,
        line=through.line,
    )


def _sentence(path: str, now: JsonValue, wanted: JsonValue) -> str:
    return f"{path}: {shown(now)} becomes {shown(wanted)}"
