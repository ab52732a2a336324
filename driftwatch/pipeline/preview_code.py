"""What in a pull request's code makes it wait for a person before anything of it is run.

A plan runs what the code names: providers, programs that `external` asks, modules from elsewhere, and
whatever a provider's own configuration starts. Whoever can open a pull request must not be able to have a
machine that holds credentials run something new. What was there before it is not asked about again.

Reads checkouts and runs nothing. It says too much rather than too little: a file that cannot be read or is
too large to be looked at waits too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from driftwatch.config.globs import matches
from driftwatch.hcl import is_configuration, read_module, read_uses
from driftwatch.notify.render_preview import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

LOCK_FILE = ".terraform.lock.hcl"
LARGEST_FILE = 1 << 20
"""Bytes. A person wrote nothing longer; what is longer is not looked at, and waits."""

_GAP = r"(?:\s|/\*.*?\*/)*"
_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)
_LOCKED = re.compile(r'^[ \t]*provider[ \t]+"([^"]+)"', re.MULTILINE)
_RESOURCE = re.compile(r'^[ \t]*resource[ \t]+"?([\w-]+)"?[ \t]+"?([\w-]+)"?[ \t]*\{', re.MULTILINE)
_SOURCE = re.compile(r'"?\bsource"?[ \t]*[=:][ \t]*"([^"\n]*)"')
_DYNAMIC_SOURCE = re.compile(r'^[ \t]*source[ \t]*=[ \t]*(?!"[^"$%\n]*"[ \t]*(?:$|[#/}]))\S')
_MODULE = re.compile(rf'^[ \t]*module{_GAP}"?[\w-]+"?{_GAP}\{{', re.MULTILINE)
_REQUIRED = re.compile(rf'"?\brequired_providers"?{_GAP}[{{:=]')
_RUNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("A provisioner, which runs a program, is new:", re.compile(rf'"?\bprovisioner"?{_GAP}["{{:\[\w]')),
    (
        "Something that has a program give credentials is new:",
        re.compile(r"credential_process|credential_source|\bsso_session\b|host_command|token_command"),
    ),
    ("Something that a provider would run is new:", re.compile(rf'"?\bexec"?{_GAP}[{{:=\[]')),
    (
        "A file with settings for a provider is named anew, which may have it run a program:",
        re.compile(r"\bshared_(config|credentials)_files?\b|\bconfig_paths?\b"),
    ),
    (
        "A function that reads a file outside of the repository is new:",
        re.compile(r'\b(?:file\w*|templatefile)\s*\(\s*"(?:/|~|\$\{\s*path\.cwd)|"/proc/|"/etc/'),
    ),
)
_BUILT_IN = frozenset({"terraform"})
_HARMLESS = (".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", ".md", ".hcl", ".txt")
_LOCAL = ("./", "../")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The configuration that one stack reads, by path from the repository's root.

    `unread` are files that are too large or cannot be read.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()


def code_of(checkout: Path, reads: Iterable[str]) -> Code:
    """What a stack's directories hold in a checkout. Nothing that lies outside of it is read."""
    files: dict[str, bytes] = {}
    unread: set[str] = set()
    root = checkout.resolve()
    for read in reads:
        for path in _configuration(checkout / read):
            name = path.relative_to(checkout).as_posix()
            try:
                real = path.resolve(strict=True)
                if not real.is_relative_to(root) or real.stat().st_size > LARGEST_FILE:
                    unread.add(name)
                else:
                    files[name] = real.read_bytes()
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
        parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]
        if any(matches(glob, each) for glob in globs for each in (path, *parents)):
            yield Wait(sentence="It changes a protected path:", path=path)


def reasons(before: Code, after: Code, *, known: frozenset[str], changed: Sequence[str]) -> Iterator[Wait]:
    """What is new in one stack's code and would be run, or have something run, by a plan.

    `known` are the providers that some stack of the branch has already, `changed` the paths that the pull
    request changes.
    """
    for name in sorted(after.unread):
        yield Wait(sentence="A file cannot be looked at, or is too large to be:", path=name)
    yield from _external(before, after, changed)
    yield from _providers(before, after, known)
    yield from _modules(before, after, known)
    yield from _running(before, after)
    yield from _backend(before, after)


def _configuration(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(
            each for each in path.iterdir() if is_configuration(each.name) or each.name == LOCK_FILE
        )
    is_one = is_configuration(path.name) or path.name == LOCK_FILE
    return [path] if is_one and (path.is_file() or path.is_symlink()) else []


def _external(before: Code, after: Code, changed: Sequence[str]) -> Iterator[Wait]:
    asking = [name for name, text in after.files.items() if "external" in _uses(name, text)]
    for name in asking:
        if before.files.get(name) != after.files[name]:
            where, line = _line(after.files[name], re.compile(r"\bexternal\b"))
            yield Wait(
                sentence="A file with an `external` data source, which runs a program, is new or changed:",
                path=f"{name}{where}",
                line=line,
            )
    if asking:
        for path in changed:
            if not path.endswith(_HARMLESS):
                yield Wait(sentence="The stack runs programs in its plan, and this may be one:", path=path)


def _providers(before: Code, after: Code, known: frozenset[str]) -> Iterator[Wait]:
    had = known | _locked(before)
    names = {address.rpartition("/")[2] for address in had} | _prefixes(before) | _BUILT_IN
    told: set[str] = set()
    for name, text in after.files.items():
        if not name.endswith(LOCK_FILE):
            continue
        for address in sorted(set(_LOCKED.findall(text.decode(errors="replace"))) - had):
            told.add(address.rpartition("/")[2])
            where, _ = _line(text, re.compile(re.escape(address)))
            yield Wait(sentence="A provider is new to the lock file:", path=f"{name}{where}", line=address)
    for prefix in sorted(_prefixes(after) - names - told):
        place, line = _first(after, re.compile(rf'"{re.escape(prefix)}(?:_[\w-]*)?"|\b{re.escape(prefix)}_'))
        yield Wait(sentence="A resource of a provider that is new here:", path=place, line=line)


def _modules(before: Code, after: Code, known: frozenset[str]) -> Iterator[Wait]:
    had = frozenset(source for text in before.files.values() for source in _modules_in(text))
    for name, text in after.files.items():
        for source in sorted(_modules_in(text) - had):
            where, said = _line(text, re.compile(re.escape(source)))
            yield Wait(sentence="A module from elsewhere is new:", path=f"{name}{where}", line=said or source)
        for block in _blocks(text, _MODULE):
            for each in block.splitlines():
                if _DYNAMIC_SOURCE.match(each) and not _is_in(each, before):
                    sentence = "A module's source is new that only a plan would know:"
                    yield Wait(sentence=sentence, path=name, line=each.strip())
    yield from _required(before, after, known)


def _modules_in(text: bytes) -> frozenset[str]:
    sources = read_module({"main.tf": text}).module_sources
    sources += read_module({"main.tf.json": text}).module_sources if text.lstrip()[:1] in b"{[" else ()
    return frozenset(each for each in sources if not each.startswith(_LOCAL) and each not in (".", ".."))


def _required(before: Code, after: Code, known: frozenset[str]) -> Iterator[Wait]:
    had = {source for text in before.files.values() for source in _required_in(text)}
    locked = known | _locked(before)
    for name, text in after.files.items():
        for source in sorted(_required_in(text) - had):
            if not any(each == source or each.endswith(f"/{source}") for each in locked):
                where, line = _line(text, re.compile(re.escape(source)))
                yield Wait(
                    sentence="A provider is required anew:", path=f"{name}{where}", line=line or source
                )


def _required_in(text: bytes) -> frozenset[str]:
    return frozenset(source for block in _blocks(text, _REQUIRED) for source in _SOURCE.findall(block))


def _blocks(text: bytes, opening: re.Pattern[str]) -> Iterator[str]:
    """The text of blocks, from where they open to their last brace; to the end where that is not found."""
    whole = text.decode(errors="replace")
    for found in opening.finditer(whole):
        start = whole.find("{", found.start())
        depth, end = 0, start
        for brace in re.finditer(r"[{}]", whole[max(start, 0) :]):
            depth += 1 if brace[0] == "{" else -1
            end = start + brace.end()
            if depth == 0:
                break
        yield whole[found.start() : end] if depth == 0 and start >= 0 else whole[found.start() :]


def _running(before: Code, after: Code) -> Iterator[Wait]:
    for sentence, pattern in _RUNS:
        for name, text in after.files.items():
            yield from _new_lines(name, before, text, pattern, sentence)


def _backend(before: Code, after: Code) -> Iterator[Wait]:
    had = _named(before)
    if not had:
        return
    was, now = read_module(had), read_module(_named(after))
    if (was.backend, was.cloud) != (now.backend, now.cloud):
        where, line = _first(after, re.compile(r"\bbackend\b|\bcloud\b"))
        yield Wait(sentence="The state would be kept elsewhere:", path=where, line=line)


def _new_lines(
    name: str, before: Code, text: bytes, pattern: re.Pattern[str], sentence: str
) -> Iterator[Wait]:
    """The lines that match and were in no file of the stack before; the same line elsewhere is none."""
    had = {line.strip() for each in before.files.values() for line in _lines(each) if pattern.search(line)}
    for number, line in enumerate(_lines(text), 1):
        if line.strip() not in had and pattern.search(line):
            yield Wait(sentence=sentence, path=f"{name}:{number}", line=line.strip())


def _named(code: Code) -> dict[str, bytes]:
    """All files, by names that tell them apart and are no hidden file's, whatever directory they lie in."""
    return {f"_{name}": text for name, text in code.files.items()}


def _locked(code: Code) -> frozenset[str]:
    return frozenset(
        address
        for name, text in code.files.items()
        if name.endswith(LOCK_FILE)
        for address in _LOCKED.findall(text.decode(errors="replace"))
    )


def _prefixes(code: Code) -> set[str]:
    """The providers that the types of resources imply."""
    types = {kind for name, text in code.files.items() for kind in _types(name, text)}
    return {kind.partition("_")[0] for kind in types if kind != "external"}


def _types(name: str, text: bytes) -> frozenset[str]:
    """Of JSON, whose every key would be taken for a type, only what resources and data sources are."""
    if not name.endswith(".json"):
        return _uses(name, text)
    found = re.findall(rb'"(?:resource|data)"\s*:\s*\[?\s*\{\s*"([\w-]+)"', text)
    return frozenset(each.decode() for each in found)


def _uses(name: str, text: bytes) -> frozenset[str]:
    """The types that a file declares; of its name only the last part matters.

    A comment may stand between a block's labels, and the same signs in a string: it is read both ways.
    """
    name = PurePosixPath(name).name
    bare = _COMMENT.sub(b" ", text)
    types = read_uses({name: text}).types
    return types if bare == text else types | read_uses({name: bare}).types


def _is_in(line: str, code: Code) -> bool:
    return any(line.strip() == each.strip() for text in code.files.values() for each in _lines(text))


def _first(code: Code, pattern: re.Pattern[str]) -> tuple[str | None, str | None]:
    for name, text in code.files.items():
        where, line = _line(text, pattern)
        if line is not None:
            return f"{name}{where}", line
    return None, None


def _line(text: bytes, pattern: re.Pattern[str]) -> tuple[str, str | None]:
    """Where a file says something: `:12` and the line; nothing where it says it in another way."""
    for number, line in enumerate(_lines(text), 1):
        if pattern.search(line):
            return f":{number}", line.strip()
    return "", None


def _lines(text: bytes) -> list[str]:
    return text.decode(errors="replace").splitlines()
