"""What in a pull request's code makes it wait for a person before anything of it is run.

A plan runs what the code names: providers, programs that `external` asks, modules from elsewhere, whatever a
provider's own configuration starts, and in a unit of terragrunt hooks and `run_cmd`. It sends credentials to
where the code says, and prints what it reads. Whoever can open a pull request must not be able to have a
machine that holds credentials do something new of that kind. What was there before is not asked about again.

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
        "The state of another stack is read anew:",
        re.compile(rf'\bdata{_GAP}"?terraform_remote_state\b|"terraform_remote_state"{_GAP}:'),
    ),
    (
        "A function is new that may read a file outside of the repository:",
        re.compile(
            r"\b(?:file|filebase64|fileset|templatefile|filemd5|fileexists|filesha\w+|filebase64sha\w+)\s*"
            r'\(\s*(?!"(?:\$\{\s*path\.(?:module|root)\s*\}/)?[^"/~$%][^"]*"|path\.(?:module|root)\b)'
            r'|/proc/|"/etc/'
        ),
    ),
)
_ADDRESS = re.compile(
    r'"?\b\w*(?:host|address|addr|url|uri|endpoints?|proxy|server)\w*"?[ \t]*(?:[=:]|\{)|://', re.IGNORECASE
)
_PROVIDER = re.compile(rf'^[ \t]*provider{_GAP}"?[\w-]+"?{_GAP}\{{|"provider"{_GAP}:', re.MULTILINE)
_BACKEND = re.compile(rf'\bbackend{_GAP}"?[\w-]+"?{_GAP}\{{|\bcloud{_GAP}\{{|"(?:backend|cloud)"{_GAP}:')
_UNITS_RUN = re.compile(r"\brun_cmd\b|\b\w+_hook\b")
_UNITS_NAME = re.compile(
    r"^[ \t]*(?:source|include|generate|remote_state|iam_\w+|terraform_binary|extra_arguments|dependency|path"
    r"|config_path|env_vars|arguments)\b|\bget_env\s*\(|\bread_terragrunt_config\s*\(|\bsops_decrypt_file\s*\("
)
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
    root = checkout.resolve()
    for read in reads:
        for path in _configuration(checkout / read, units=units):
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
    yield from _units(before, after)
    yield from _addresses(before, after)
    yield from _backend(before, after)


def _configuration(path: Path, *, units: bool) -> list[Path]:
    def is_one(name: str) -> bool:
        return is_configuration(name) or name == LOCK_FILE or (units and name.endswith(_UNIT))

    if path.is_dir():
        return sorted(each for each in path.iterdir() if is_one(each.name))
    return [path] if is_one(path.name) and (path.is_file() or path.is_symlink()) else []


def _external(before: Code, after: Code, changed: Sequence[str]) -> Iterator[Wait]:
    """What runs a program in a plan, wherever in its file that is said."""
    asking = [name for name, text in after.files.items() if "external" in _uses(name, text)]
    hooked = [name for name, text in _unit_files(after) if _UNITS_RUN.search(text)]
    for name in (*asking, *hooked):
        if before.files.get(name) != after.files[name]:
            of_unit = name in hooked
            where, line = _line(after.files[name], _UNITS_RUN if of_unit else re.compile(r"\bexternal\b"))
            what = "terragrunt hooks or `run_cmd`" if of_unit else "an `external` data source"
            yield Wait(
                sentence=f"A file with {what}, which run programs, is new or changed:",
                path=f"{name}{where}",
                line=line,
            )
    if asking or hooked:
        for path in changed:
            if not path.endswith(_HARMLESS):
                yield Wait(sentence="The stack runs programs in its plan, and this may be one:", path=path)


def _units(before: Code, after: Code) -> Iterator[Wait]:
    for name, _ in _unit_files(after):
        yield from _new_lines(
            name,
            before,
            after.files[name],
            _UNITS_NAME,
            "Terragrunt is told anew where code, states or settings are:",
        )


def _unit_files(code: Code) -> Iterator[tuple[str, str]]:
    for name, text in code.files.items():
        if name.endswith(_UNIT) and not name.endswith(LOCK_FILE):
            yield name, text.decode(errors="replace")


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


def _addresses(before: Code, after: Code) -> Iterator[Wait]:
    """Where a provider sends what it was given to sign in with, and for a new stack where its state is."""
    sentence = "Credentials, or a state, would go to an address that is new:"
    for name, text in after.files.items():
        for block in (*_blocks(text, _PROVIDER), *_blocks(text, _BACKEND)):
            for line in block.splitlines()[1:] or [block]:
                if _ADDRESS.search(line) and not _is_in(line, before):
                    where, _ = _line(text, re.compile(re.escape(line.strip())))
                    yield Wait(sentence=sentence, path=f"{name}{where}", line=line.strip())


def _backend(before: Code, after: Code) -> Iterator[Wait]:
    """Of a stack that is there already, any change of where its state is kept."""
    had = [_words(block) for text in before.files.values() for block in _blocks(text, _BACKEND)]
    if not before.files:
        return
    for name, text in after.files.items():
        for block in _blocks(text, _BACKEND):
            if _words(block) not in had:
                first = block.splitlines()[0].strip()
                where, _ = _line(text, re.compile(re.escape(first)))
                yield Wait(sentence="The state would be kept elsewhere:", path=f"{name}{where}", line=first)


def _words(block: str) -> tuple[str, ...]:
    """A block without its blanks."""
    return tuple(block.split())


def _new_lines(
    name: str, before: Code, text: bytes, pattern: re.Pattern[str], sentence: str
) -> Iterator[Wait]:
    """The lines that match and were in no file of the stack before; the same line elsewhere is none."""
    had = {line.strip() for each in before.files.values() for line in _lines(each) if pattern.search(line)}
    for number, line in enumerate(_lines(text), 1):
        if line.strip() not in had and pattern.search(line):
            yield Wait(sentence=sentence, path=f"{name}:{number}", line=line.strip())


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
