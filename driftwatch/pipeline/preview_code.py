"""What in a pull request's code makes it wait for a person before anything of it is run.

A plan runs what the code names: providers, programs that `external` asks, modules from elsewhere, whatever a
provider's own configuration starts, and in a unit of terragrunt hooks and `run_cmd`. It sends credentials to
where the code says, and prints what it reads. Whoever can open a pull request must not be able to have a
machine that holds credentials do something new of that kind. What was there before is not asked about again.

Reads checkouts and runs nothing. It says too much rather than too little: what cannot be read, or is too
large to be looked at, waits too. A text may be made to take for ever to read: every look at one takes time in
proportion to its length.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from driftwatch.config.globs import covers
from driftwatch.hcl import is_configuration, read_module, read_uses
from driftwatch.notify.render_preview import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

LOCK_FILE = ".terraform.lock.hcl"
LARGEST_FILE = 1 << 20
"""Bytes. A person wrote nothing longer; what is longer is not looked at, and waits."""

LARGEST_CODE = 16 << 20
"""The same of all that one stack reads."""

LONGEST_LINE = 4_000
"""Characters; a new line that is longer waits by itself."""

MOST_REASONS = 50
"""Of one stack; after these it waits as well as after all."""

_GAP = r"[ \t]{0,200}"
"""Between the words of a block's head, where comments were taken out."""

_NAME = r'"?[\w-]{1,200}"?'
_LOCKED = re.compile(r'^[ \t]*provider[ \t]+"([^"\n]{1,300})"', re.MULTILINE)
_RESOURCE = re.compile(
    r'^[ \t]*resource[ \t]+"?([\w-]{1,200})"?[ \t]+"?([\w-]{1,200})"?[ \t]*\{', re.MULTILINE
)
_SOURCE = re.compile(r'"?\bsource"?[ \t]{0,200}[=:][ \t]{0,200}"([^"\n]{0,2000})"')
_DYNAMIC_SOURCE = re.compile(r'^[ \t]*source[ \t]*=(?![ \t]*"[^"$%\n]*"[ \t]*(?:$|[#/}]))')
_MODULE = re.compile(rf"^[ \t]*module{_GAP}{_NAME}{_GAP}\{{", re.MULTILINE)
_REQUIRED = re.compile(rf'\brequired_providers"?{_GAP}[{{:=]')
_PROVIDER = re.compile(rf'^[ \t]*provider{_GAP}{_NAME}{_GAP}\{{|"provider"{_GAP}:', re.MULTILINE)
_BACKEND = re.compile(rf'\bbackend{_GAP}{_NAME}{_GAP}\{{|\bcloud{_GAP}\{{|"(?:backend|cloud)"{_GAP}:')
_RUNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("A provisioner, which runs a program, is new:", re.compile(rf'\bprovisioner"?{_GAP}["{{:\[\w]')),
    (
        "Something that has a program give credentials is new:",
        re.compile(r"credential_process|credential_source|\bsso_session\b|host_command|token_command"),
    ),
    ("Something that a provider would run is new:", re.compile(rf'\bexec"?{_GAP}[{{:=\[]')),
    (
        "A file with settings for a provider is named anew, which may have it run a program:",
        re.compile(r"\bshared_(?:config|credentials)_files?\b|\bconfig_paths?\b"),
    ),
    (
        "The state of another stack is read anew:",
        re.compile(rf'\bdata{_GAP}"?terraform_remote_state\b|"terraform_remote_state"{_GAP}:'),
    ),
    (
        "A function is new that may read a file outside of the repository:",
        re.compile(
            r"\b(?:file|filebase64|fileset|templatefile|filemd5|fileexists|filesha\d+|filebase64sha\d+)"
            r"[ \t]{0,20}\((?![ \t]{0,200}(?:"
            r'"(?:\$\{[ \t]{0,20}path\.(?:module|root)[ \t]{0,20}\}/)?[^"/~$%][^"]{0,2000}"'
            r"|path\.(?:module|root)\b))"
            r'|/proc/|"/etc/'
        ),
    ),
)
_ADDRESS = re.compile(
    r'\b\w{0,60}(?:host|address|addr|url|uri|endpoint|proxy|server)\w{0,60}"?[ \t]{0,200}[=:{]|://',
    re.IGNORECASE,
)
_UNITS_RUN = re.compile(r"\brun_cmd\b|_hook\b")
_UNITS_NAME = re.compile(
    r"^[ \t]*(?:source|include|generate|remote_state|iam_\w{1,60}|terraform_binary|extra_arguments|dependency"
    r"|path|config_path|env_vars|arguments)\b"
    r"|\b(?:get_env|read_terragrunt_config|sops_decrypt_file)[ \t]{0,20}\("
)
_EXTERNAL = re.compile(r"\bexternal\b")
_BUILT_IN = frozenset({"terraform"})
_HARMLESS = (".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", ".md", ".lock.hcl", ".txt")
_LOCAL = ("./", "../")
_UNIT = ".hcl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The configuration that one stack reads, by path from the repository's root.

    `unread` are files that are too large or cannot be read.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()


def code_of(checkout: Path, reads: Iterable[str], *, units: bool = False) -> Code:
    """What a stack's directories hold in a checkout, and in `units` of terragrunt their own files too.

    Nothing that lies outside of the checkout is read.
    """
    files: dict[str, bytes] = {}
    unread: set[str] = set()
    root, room = checkout.resolve(), LARGEST_CODE
    for read in reads:
        for path in _configuration(checkout / read, units=units):
            name = path.relative_to(checkout).as_posix()
            try:
                real = path.resolve(strict=True)
                size = real.stat().st_size
                if not real.is_relative_to(root) or size > min(LARGEST_FILE, room):
                    unread.add(name)
                else:
                    files[name] = real.read_bytes()
                    room -= size
            except OSError:
                unread.add(name)
    return Code(files=files, unread=frozenset(unread))


def known_providers(checkout: Path, directories: Iterable[str]) -> frozenset[str]:
    """The providers, by source address, that the lock files of these directories name."""
    found: set[str] = set()
    for directory in directories:
        lock = checkout / directory / LOCK_FILE
        if lock.is_file() and lock.stat().st_size <= LARGEST_FILE:
            found.update(_LOCKED.findall(lock.read_text(encoding="utf-8", errors="replace")))
    return frozenset(found)


def declared(code: Code) -> tuple[str, ...]:
    """The resources that the code names, by their addresses in it; those of modules are not among them."""
    found = {
        f"{kind}.{name}"
        for text in code.files.values()
        for kind, name in _RESOURCE.findall(text.decode(errors="replace"))
    }
    return tuple(sorted(found))


def protected(changed: Iterable[str], globs: Sequence[str]) -> Iterator[Wait]:
    """One for each protected path that is changed; a glob names a directory's content too."""
    for path in changed:
        if covers(globs, path):
            yield Wait(sentence="It changes a protected path:", path=path)


def reasons(before: Code, after: Code, *, known: frozenset[str], changed: Sequence[str]) -> list[Wait]:
    """What is new in one stack's code and would be run, or have something run, by a plan.

    `known` are the providers that some stack of the branch has already, `changed` the paths that the pull
    request changes.
    """
    comparison = _Comparison(before=before, after=after, known=known, changed=changed)
    return list(islice(comparison.reasons(), MOST_REASONS))


def _configuration(path: Path, *, units: bool) -> list[Path]:
    def is_one(name: str) -> bool:
        return is_configuration(name) or name == LOCK_FILE or (units and name.endswith(_UNIT))

    if path.is_dir():
        return sorted(each for each in path.iterdir() if is_one(each.name))
    return [path] if is_one(path.name) and (path.is_file() or path.is_symlink()) else []


class _File:
    """One file that is new or another than it was."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self.text = content.decode(errors="replace")
        self.bare = _without_comments(self.text)
        """A comment may stand between the words of a block's head."""
        self.lines = [line.strip() for line in self.text.splitlines()]

    def every_line(self) -> Iterator[tuple[str, str]]:
        """Its lines with their place, and those that come of it where comments are taken out."""
        for number, line in enumerate(self.lines, 1):
            yield f"{self.name}:{number}", line
        if self.bare != self.text:
            known = set(self.lines)
            for line in self.bare.splitlines():
                if (bare := line.strip()) not in known:
                    yield self.name, bare

    def wait(self, sentence: str, said: str | re.Pattern[str], otherwise: str | None = None) -> Wait:
        """With the first line that says it, where one does in just these words."""
        for number, line in enumerate(self.lines, 1):
            if said in line if isinstance(said, str) else said.search(line):
                return Wait(sentence=sentence, path=f"{self.name}:{number}", line=otherwise or line)
        return Wait(
            sentence=sentence, path=self.name, line=otherwise or (said if isinstance(said, str) else None)
        )


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """One stack's code before and after."""

    before: Code
    after: Code
    known: frozenset[str]
    changed: Sequence[str]

    @cached_property
    def news(self) -> list[_File]:
        """What is new, or another than it was: the rest was there before."""
        return [
            _File(name, text)
            for name, text in self.after.files.items()
            if self.before.files.get(name) != text
        ]

    @cached_property
    def had(self) -> frozenset[str]:
        """All lines that were there before, in whatever file."""
        return frozenset(
            line.strip()
            for text in self.before.files.values()
            for line in text.decode(errors="replace").splitlines()
        )

    def reasons(self) -> Iterator[Wait]:
        for name in sorted(self.after.unread):
            yield Wait(sentence="A file cannot be looked at, or is too large to be:", path=name)
        yield from self._programs()
        fit: list[_File] = []
        for each in self.news:
            if any(len(line) > LONGEST_LINE for line in each.lines if line not in self.had):
                yield Wait(sentence="A line is too long to be looked at:", path=each.name)
            elif each.name.endswith(".json") and _parsed(each.content) is None:
                yield Wait(sentence="A file cannot be read as what its name says:", path=each.name)
            else:
                fit.append(each)
        for each in fit:
            yield from self._providers(each)
            yield from self._modules(each)
            yield from self._lines(each)
            yield from self._addresses(each)
            yield from self._backend(each)

    def _programs(self) -> Iterator[Wait]:
        """What runs a program in a plan, wherever in its file that is said."""
        runs = {
            name: found
            for name, text in self.after.files.items()
            if (found := _runs_programs(name, text)) is not None
        }
        for each in self.news:
            if each.name in runs:
                what, pattern = runs[each.name]
                yield each.wait(f"A file with {what}, which run programs, is new or changed:", pattern)
        if runs:
            for path in self.changed:
                if not path.endswith(_HARMLESS):
                    yield Wait(
                        sentence="The stack runs programs in its plan, and this may be one:", path=path
                    )

    @cached_property
    def _locked(self) -> frozenset[str]:
        """The providers that are known here or anywhere on the branch."""
        return self.known | frozenset(
            address
            for name, text in self.before.files.items()
            if name.endswith(LOCK_FILE)
            for address in _LOCKED.findall(text.decode(errors="replace"))
        )

    @cached_property
    def _named(self) -> frozenset[str]:
        """How the types of these providers, and of those that were there, begin."""
        there = {
            kind.partition("_")[0] for name, text in self.before.files.items() for kind in _types(name, text)
        }
        newly = {
            address.rpartition("/")[2]
            for each in self.news
            if each.name.endswith(LOCK_FILE)
            for address in _LOCKED.findall(each.text)
        }
        return frozenset(there | newly | {each.rpartition("/")[2] for each in self._locked} | _BUILT_IN)

    def _providers(self, file: _File) -> Iterator[Wait]:
        if file.name.endswith(LOCK_FILE):
            for address in sorted(set(_LOCKED.findall(file.text)) - self._locked):
                yield file.wait("A provider is new to the lock file:", f'"{address}"', address)
            return
        types = _types(file.name, file.content) - {"external"}
        for prefix in sorted({kind.partition("_")[0] for kind in types} - self._named):
            pattern = re.compile(rf'"{re.escape(prefix)}(?:_[\w-]{{0,200}})?"|\b{re.escape(prefix)}_')
            yield file.wait("A resource of a provider that is new here:", pattern)

    @cached_property
    def _had_sources(self) -> frozenset[str]:
        return frozenset(
            source
            for name, text in self.before.files.items()
            for source in (*_modules_in(name, text), *_required_in(_without_comments(_decoded(text))))
        )

    def _modules(self, file: _File) -> Iterator[Wait]:
        """Modules from elsewhere, and providers that are required: both have a source."""
        for source in sorted(_modules_in(file.name, file.content) - self._had_sources):
            yield file.wait("A module from elsewhere is new:", source)
        for block in _blocks(file.bare, _MODULE):
            for line in block.splitlines():
                if _DYNAMIC_SOURCE.match(line) and line.strip() not in self.had:
                    yield file.wait("A module's source is new that only a plan would know:", line.strip())
        for source in sorted(_required_in(file.bare) - self._had_sources):
            if not any(each == source or each.endswith(f"/{source}") for each in self._locked):
                yield file.wait("A provider is required anew:", source)

    def _lines(self, file: _File) -> Iterator[Wait]:
        """New lines that say something of which the line alone tells enough."""
        patterns = list(_RUNS)
        if file.name.endswith(_UNIT) and not file.name.endswith(LOCK_FILE):
            patterns.append(("Terragrunt is told anew where code, states or settings are:", _UNITS_NAME))
        for place, line in file.every_line():
            if line not in self.had:
                for sentence, pattern in patterns:
                    if pattern.search(line):
                        yield Wait(sentence=sentence, path=place, line=line)

    def _addresses(self, file: _File) -> Iterator[Wait]:
        """Where a provider sends what it signs in with, and for a new stack where its state is."""
        for block in (*_blocks(file.bare, _PROVIDER), *_blocks(file.bare, _BACKEND)):
            for line in block.splitlines()[1:] or [block]:
                if line.strip() not in self.had and _ADDRESS.search(line):
                    yield file.wait(
                        "Credentials, or a state, would go to an address that is new:", line.strip()
                    )

    @cached_property
    def _had_backends(self) -> list[list[str]]:
        texts = [_without_comments(_decoded(text)) for text in self.before.files.values()]
        return [block.split() for text in texts for block in _blocks(text, _BACKEND)]

    def _backend(self, file: _File) -> Iterator[Wait]:
        """Of a stack that is there already, any change of where its state is kept."""
        for block in _blocks(file.bare, _BACKEND) if self.before.files else ():
            if block.split() not in self._had_backends:
                yield file.wait("The state would be kept elsewhere:", block.splitlines()[0].strip())


# ---- what a text says ------------------------------------------------------------------------------------


def _decoded(text: bytes) -> str:
    return text.decode(errors="replace")


def _without_comments(text: str) -> str:
    """With a blank for each comment that may stand within a line; what begins in a string goes too."""
    kept, place = [], 0
    while (begins := text.find("/*", place)) >= 0 and (ends := text.find("*/", begins + 2)) >= 0:
        kept.append(text[place:begins])
        place = ends + 2
    return " ".join([*kept, text[place:]])


def _blocks(text: str, opening: re.Pattern[str]) -> Iterator[str]:
    """The text of blocks up to their last brace, or to the end; one within another is the other's."""
    closing: dict[int, int] | None = None
    over = 0
    for found in opening.finditer(text):
        start = text.find("{", found.start()) if found.start() >= over else -1
        if start < 0:
            continue
        closing = _closing(text) if closing is None else closing
        over = closing.get(start, len(text))
        yield text[found.start() : over]


def _closing(text: str) -> dict[int, int]:
    """Where each opening brace is closed: behind which character."""
    found: dict[int, int] = {}
    ahead: list[int] = []
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            ahead.append(brace.start())
        elif ahead:
            found[ahead.pop()] = brace.end()
    return found


def _required_in(text: str) -> frozenset[str]:
    return frozenset(source for block in _blocks(text, _REQUIRED) for source in _SOURCE.findall(block))


def _runs_programs(name: str, text: bytes) -> tuple[str, re.Pattern[str]] | None:
    """What in a file runs programs, and how it is found there; None for most files."""
    if name.endswith(_UNIT):
        units = not name.endswith(LOCK_FILE) and _UNITS_RUN.search(_decoded(text))
        return ("terragrunt hooks or `run_cmd`", _UNITS_RUN) if units else None
    # An escape may stand for any letter of it.
    if (b"external" in text or b"\\" in text) and "external" in _types(name, text):
        return "an `external` data source", _EXTERNAL
    return None


@lru_cache(maxsize=256)
def _types(name: str, text: bytes) -> frozenset[str]:
    """The types of resources and data sources that a file declares."""
    name = PurePosixPath(name).name
    if name.endswith(".json"):
        return frozenset(_types_in(_parsed(text)))
    bare = _without_comments(_decoded(text)).encode()
    return read_uses({name: text}).types | read_uses({name: bare}).types


def _types_in(document: Any) -> Iterator[str]:
    """Of JSON, whose every key would be taken for a type, only what resources and data sources are."""
    for blocks in _objects(document):
        for word in ("resource", "data", "ephemeral"):
            for types in _objects(blocks.get(word)):
                yield from map(str, types)


def _objects(value: Any) -> list[dict[str, Any]]:
    """A block may be an object, a list of them, and there several times."""
    if isinstance(value, list):
        return [each for item in value for each in _objects(item)]
    return [value] if isinstance(value, dict) else []


def _parsed(text: bytes) -> Any:
    """JSON, with a list of its values where a key comes several times; None where it is none."""
    try:
        return json.loads(text, object_pairs_hook=_all_values)
    except (ValueError, RecursionError):
        return None


def _all_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


@lru_cache(maxsize=256)
def _modules_in(name: str, text: bytes) -> frozenset[str]:
    """The sources of modules that are not beside them."""
    sources = read_module({PurePosixPath(name).name: text}).module_sources
    return frozenset(each for each in sources if not each.startswith(_LOCAL) and each not in (".", ".."))
