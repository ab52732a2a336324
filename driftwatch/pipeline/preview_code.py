"""What in a pull request's code makes it wait for a person before anything of it is run.

A plan runs what the code names: providers, programs that `external` asks, modules from elsewhere, whatever a
provider's own configuration starts, and in a unit of terragrunt hooks and `run_cmd`. It sends credentials to
where the code says, and prints what it reads. Whoever can open a pull request must not be able to have a
machine that holds credentials do something new of that kind. What was there before is not asked about again.

    the code before and after → members, as two readers of HCL see them → what is new → may it be run?
                                   → what those that may do harm refer to → is anything of that another?

Reads checkouts and runs nothing. It says too much rather than too little: what cannot be read, or is too
large to be looked at, waits too. It knows what is harmless, rather than what does harm, in all that terraform
starts or signs in with. A text may be made to take for ever to read: every look at one takes time in
proportion to its length.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from driftwatch.config.globs import covers
from driftwatch.hcl import FILE_FUNCTIONS, VALUES, is_configuration, is_local
from driftwatch.hcl.items import (
    LOCK_FILE,
    UNIT,
    Item,
    address,
    defines,
    items,
    joined,
    locked_in,
    members_of,
    module_of,
    required,
    type_of,
    within,
)
from driftwatch.hcl.risks import (
    HIDDEN,
    SETTINGS,
    is_plain,
    is_risky_data,
    is_sensitive,
    may_read_files,
    path_of,
    refers_to,
    runs,
    said_by,
    stays_here,
    takes_files,
)
from driftwatch.hcl.structure import Kind, Member, Token, calls, literal_of, object_of
from driftwatch.notify.render_preview import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


def _all(words: str) -> frozenset[str]:
    return frozenset(words.split())


LARGEST_FILE = 512 << 10
"""Bytes. A person wrote nothing longer; what is longer is not looked at, and waits."""

LARGEST_CODE = 4 << 20
"""The same of all that one stack reads."""

LONGEST_LINE = 4_000
"""Characters; a new line that is longer waits by itself."""

MOST_REASONS = 50
"""Of one stack; after these it waits as well as after all."""

MOST_FILES = 20_000
"""Files beside the code that are looked at for templates."""

_RESOURCE = re.compile(
    r'^[ \t]*resource[ \t]+"?([\w-]{1,200})"?[ \t]+"?([\w-]{1,200})"?[ \t]*\{', re.MULTILINE
)
_HARMLESS = (".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", ".tfvars.json", ".md", ".lock.hcl", ".txt")
_BUILT_IN = frozenset({"terraform"})

_MACHINE = frozenset(
    {".terraform", "terraform.d", ".terraformrc", "terraform.rc", "terraform.tfstate.d", ".aws"}
)
"""What terraform, or a provider, would take up by itself where it lay in a repository."""

_MACHINE_SUFFIXES = (".tfstate", ".tfstate.backup", ".tfbackend", ".hcl.json")
"""A state names providers that `init` installs; the others say where states are, or are terragrunt's."""

_KINDS = _all(
    "terraform provider variable output local module argument check resource data ephemeral moved removed "
    "import"
)
_OVERRIDE = re.compile(r"(?:^|_)override\.(?:tf|tofu)(?:\.json)?$")

_PLACES = frozenset({"backend", "cloud"})
_PLAIN_BACKENDS = frozenset({"s3", "gcs", "azurerm"})
_PLAIN_PLACE = _all(
    "bucket key region encrypt dynamodb_table use_lockfile workspace_key_prefix acl kms_key_id prefix "
    "resource_group_name storage_account_name container_name //"
)


_SIGNS_IN = re.compile(r"credential_process|credential_source|\bsso_session\b|host_command|token_command")
_FILE_FUNCTION = re.compile(rb"\bfile\w*\b|\btemplate(?:file|string)\b|::")
_BEGINS = re.compile(rb"[$%]\{")
_LARGE = b"\x00large\x00"
_PURE = _all(
    "abs ceil chomp coalesce coalescelist compact concat contains distinct element flatten floor format "
    "formatlist index join jsonencode keys length lookup lower max merge min range replace reverse "
    "setunion sort split substr title tobool tolist tomap tonumber toset tostring trim trimspace upper "
    "values zipmap cidrsubnet cidrhost try can"
)
"""Functions that a unit of terragrunt may newly use in its inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The configuration that one stack reads, by path from the repository's root.

    `templates` are other files beside it in which a template would call a function that reads files; of one
    that is large only a digest is kept, and `searched` are the directories in and below which there are no
    others. `others` are files that it reads, and of which it is not known what for. `unread` are files that
    are too large or cannot be read. `root` is the directory of the root module, where it is known.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    templates: Mapping[str, bytes] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    searched: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    root: str | None = None

    @property
    def locked(self) -> frozenset[str]:
        """The providers, by source address, that its lock files name."""
        return frozenset(
            each for name, text in self.files.items() if name.endswith(LOCK_FILE) for each in locked_in(text)
        )


def code_of(checkout: Path, reads: Iterable[str], *, units: bool = False) -> Code:
    """What a stack's directories hold in a checkout, and in `units` of terragrunt their own files too.

    Nothing that lies outside of the checkout is read. The first of `reads` is the root module's directory.
    """
    return _Gathering(checkout.resolve(), units=units).all_of(list(reads))


def known_providers(checkout: Path, directories: Iterable[str]) -> frozenset[str]:
    """The providers, by source address, that the lock files of these directories name."""
    found: set[str] = set()
    for directory in directories:
        lock = checkout / directory / LOCK_FILE
        if lock.is_file() and lock.stat().st_size <= LARGEST_FILE:
            found |= locked_in(lock.read_bytes())
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
    return list(islice(dict.fromkeys(comparison.reasons()), MOST_REASONS))


# ---- gathering -------------------------------------------------------------------------------------------


class _Gathering:
    """Reads the files of one stack."""

    def __init__(self, root: Path, *, units: bool) -> None:
        self._root = root
        self._units = units
        self._room = LARGEST_CODE
        self._files: dict[str, bytes] = {}
        self._templates: dict[str, bytes] = {}
        self._unread: set[str] = set()
        self._seen: set[str] = set()

    def all_of(self, reads: list[str]) -> Code:
        ahead = [posixpath.normpath(read) for read in reads]
        first = next((read for read in ahead if (self._root / read).is_dir()), None)
        while ahead:
            read = ahead.pop(0)
            if read in self._seen:
                continue
            self._seen.add(read)
            for name in self._take(read):
                ahead += self._led_to(name, first or ".")
        searched = [each for each in self._seen if (self._root / each).is_dir()]
        # An escape of JSON may stand for any letter.
        has_templates = any(b"templat" in text or b"\\u" in text for text in self._files.values())
        for each in searched if has_templates else ():
            self._look_for_templates(self._root / each)
        return Code(
            files=self._files,
            templates=self._templates,
            unread=frozenset(self._unread),
            others=frozenset(
                each for each in self._seen - self._files.keys() if _may_give_values(each, self._root)
            ),
            searched=frozenset(searched if has_templates else ()),
            root=first,
        )

    def _take(self, read: str) -> list[str]:
        path = self._root / read
        if not path.is_dir():
            return [read] if self._is_one(path.name) and self._keep(path, read) else []
        if not path.resolve().is_relative_to(self._root):
            self._unread.add(read)
            return []
        found = [each for each in sorted(path.iterdir()) if self._is_one(each.name)]
        names = [posixpath.normpath(posixpath.join(read, each.name)) for each in found]
        return [name for each, name in zip(found, names, strict=True) if self._keep(each, name)]

    def _is_one(self, name: str) -> bool:
        return (
            is_configuration(name)
            or name == LOCK_FILE
            or name.endswith(VALUES)
            or (self._units and name.endswith(UNIT))
        )

    def _keep(self, path: Path, name: str) -> bool:
        if not (path.is_file() or path.is_symlink()):
            return False
        try:
            real = path.resolve(strict=True)
            size = real.stat().st_size
            if not real.is_relative_to(self._root) or size > min(LARGEST_FILE, self._room):
                self._unread.add(name)
                return False
            self._files[name] = real.read_bytes()
            self._room -= size
        except OSError:
            self._unread.add(name)
            return False
        return True

    def _led_to(self, name: str, root: str) -> list[str]:
        """The directories of local modules that a file uses; and are the files that it reads in here?"""
        here, found = posixpath.dirname(name) or ".", []
        for member in members_of(name, self._files[name], surely=False) or ():
            if member.words[0] == "module":
                sources = [literal_of(each.tokens) for each in member.members if each.words == ("source",)]
                found += [joined(here, each) for each in sources if each and is_local(each)]
            for call, _, arguments in calls(member.tokens):
                if call in FILE_FUNCTIONS and (path := path_of(arguments, here, root)) is not None:
                    target = (self._root / path).resolve()
                    if not target.is_relative_to(self._root):
                        self._unread.add(name)
        return [each for each in found if not each.startswith("..") and (self._root / each).is_dir()]

    def _look_for_templates(self, directory: Path) -> None:
        ahead, left = [directory], MOST_FILES
        while ahead:
            for each in sorted(ahead.pop().iterdir()):
                left -= 1
                real = each.resolve()
                if each.name in HIDDEN or not real.is_relative_to(self._root):
                    continue
                if real.is_dir():
                    # A link may lead to what is above it.
                    ahead += [each] if not (each.is_symlink() and each.is_relative_to(real)) else []
                elif real.is_file() and not self._is_one(each.name):
                    self._template(each)
            if left < 0:
                self._unread.add(directory.relative_to(self._root).as_posix())
                return

    def _template(self, path: Path) -> None:
        name = path.relative_to(self._root).as_posix()
        if name in self._templates:
            return
        if path.stat().st_size > LARGEST_FILE:
            with path.open("rb") as opened:
                self._templates[name] = _LARGE + hashlib.file_digest(opened, "sha256").digest()
            return
        content = path.read_bytes()
        if _BEGINS.search(content) and _FILE_FUNCTION.search(content):
            self._templates[name] = content


# ---- comparing -------------------------------------------------------------------------------------------


class _Side:
    """One stack's code, read."""

    def __init__(self, code: Code, same: Mapping[str, bytes], *, surely: bool) -> None:
        """`same` are files that need not be read by two readers: the branch has them already."""
        self.code = code
        self.items: list[Item] = []
        self.unreadable: list[str] = []
        for name, text in code.files.items():
            members = members_of(name, text, surely=surely and same.get(name) != text)
            if members is None:
                self.unreadable.append(name)
            elif not name.endswith(LOCK_FILE):
                self.items += items(name, members)

    @cached_property
    def identities(self) -> frozenset[tuple[str, tuple[str, ...]]]:
        return frozenset(item.identity for item in self.items)

    @cached_property
    def parts(self) -> frozenset[tuple[str, str, tuple[str, ...]]]:
        """What stands in outermost blocks: by directory, the block's kind, and what it says."""
        return frozenset(
            (item.directory, item.kind, part.texts) for item in self.items for part in item.member.members
        )

    @cached_property
    def calls(self) -> frozenset[tuple[str, str, tuple[str, ...]]]:
        return frozenset(
            (item.directory, name, said_by(arguments))
            for item in self.items
            for name, _, arguments in calls(item.member.tokens)
        )

    @cached_property
    def directories(self) -> frozenset[str]:
        return frozenset(posixpath.dirname(name) for name in self.code.files if is_configuration(_base(name)))

    @cached_property
    def modules(self) -> frozenset[tuple[str, tuple[str, ...]]]:
        return frozenset(module_of(item.member) for item in self.items if item.kind == "module")

    @cached_property
    def sources(self) -> frozenset[tuple[str, str]]:
        """Where required providers are from, and what they are called; those of which it is said plainly."""
        return frozenset(
            (source, name)
            for item in self.items
            if item.kind == "terraform"
            for part in item.member.members
            if part.words == ("required_providers",)
            for source, name, _ in required(part)
            if source is not None
        )

    @cached_property
    def required(self) -> frozenset[str]:
        """The sources of providers that are required, normalised."""
        return frozenset(address(source) for source, _ in self.sources)

    @cached_property
    def types(self) -> frozenset[str]:
        return frozenset(
            type_of(item) for item in self.items if item.kind in ("resource", "data", "ephemeral")
        ) | frozenset(item.member.words[1] for item in self.items if item.kind == "provider")


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """One stack's code before and after."""

    before: Code
    after: Code
    known: frozenset[str]
    changed: Sequence[str]

    @cached_property
    def was(self) -> _Side:
        return _Side(self.before, {}, surely=False)

    @cached_property
    def now(self) -> _Side:
        return _Side(self.after, self.before.files, surely=True)

    @cached_property
    def news(self) -> list[Item]:
        return [item for item in self.now.items if item.identity not in self.was.identities]

    def reasons(self) -> Iterator[Wait]:
        yield from self._files()
        for name in self.now.unreadable:
            yield Wait(
                sentence="A file cannot be read as what its name says, so a person has to look:", path=name
            )
        yield from self._locks()
        for item in self.news:
            if item.is_units:
                if item.kind != "argument":
                    yield from self._of_unit(item)
            elif not item.is_value and item.kind != "argument":
                yield from self._of_item(item)
                yield from self._calls(item)
                yield from self._words(item)
        yield from self._gone()
        yield from self._decided()
        yield from self._beside()
        yield from self._templates()

    # ---- files ---------------------------------------------------------------------------------------------

    def _gone(self) -> Iterator[Wait]:
        """What said where something is, and is no more: then it is where it is by default."""
        names = {(item.directory, *item.member.words) for item in self.now.items if item.kind == "provider"}
        for item in self.was.items:
            if item.identity in self.now.identities or item.directory not in self.now.directories:
                continue
            if item.kind == "provider" and is_sensitive(item):
                if (item.directory, *item.member.words) in names:
                    yield Wait(sentence="A provider is set up in another way than it was:", path=item.file)
            elif item.kind == "terraform":
                yield from self._settings_gone(item)

    def _settings_gone(self, item: Item) -> Iterator[Wait]:
        now = [
            part
            for each in self.now.items
            if each.kind == "terraform" and each.directory == item.directory
            for part in each.member.members
        ]
        names = {
            name for part in now if part.words == ("required_providers",) for _, name, _ in required(part)
        }
        for part in item.member.members:
            if part.words[0] in _PLACES and not any(each.words[0] in _PLACES for each in now):
                yield Wait(sentence="The state would be kept elsewhere:", path=item.file)
            elif part.words == ("required_providers",):
                for source, name, _ in required(part):
                    if name not in names and address(source or "") != address(name):
                        yield Wait(sentence="Where a provider is from is no longer said:", path=item.file)

    def _files(self) -> Iterator[Wait]:
        for name in sorted(self.after.unread):
            yield Wait(sentence="A file cannot be looked at, or is too large to be:", path=name)
        for path in self.changed:
            if path.endswith(_MACHINE_SUFFIXES) or _MACHINE & set(PurePosixPath(path).parts):
                yield Wait(sentence="A file that terraform takes up by itself is changed:", path=path)
        for name in dict.fromkeys((*self.before.files, *self.after.files)):
            was, now = self.before.files.get(name), self.after.files.get(name)
            if was != now and _OVERRIDE.search(_base(name)):
                yield Wait(sentence="A file that changes what others say is changed:", path=name)
            if now is not None and was != now:
                had = set((was or b"").splitlines())
                if any(len(line) > LONGEST_LINE and line not in had for line in now.splitlines()):
                    yield Wait(sentence="A line is too long to be looked at:", path=name)

    @cached_property
    def _locked(self) -> frozenset[str]:
        """The providers that are known here or anywhere on the branch."""
        return self.known | self.before.locked

    def _locks(self) -> Iterator[Wait]:
        for name, text in self.after.files.items():
            if name.endswith(LOCK_FILE) and text != self.before.files.get(name):
                for member in members_of(name, text, surely=True) or ():
                    whole = member.words[-1]
                    if member.words[0] != "provider" or whole not in self._locked:
                        yield self._wait("A provider is new to the lock file:", name, member.line, line=whole)
        for name in self.before.files:
            gone = name.endswith(LOCK_FILE) and name not in self.after.files
            if gone and posixpath.dirname(name) in self.now.directories:
                yield Wait(sentence="The lock file, which says what is installed, is no more:", path=name)

    def _wait(self, sentence: str, file: str, place: int, *, line: str | None = None) -> Wait:
        if place:
            lines = self.after.files.get(file, b"").splitlines()
            said = lines[place - 1].decode(errors="replace").strip() if place <= len(lines) else None
            return Wait(sentence=sentence, path=f"{file}:{place}", line=line or said)
        return Wait(sentence=sentence, path=file, line=line)

    def _at(self, sentence: str, item: Item, part: Member | Token | None = None) -> Wait:
        return self._wait(sentence, item.file, (part or item.member).line)

    # ---- what is new ---------------------------------------------------------------------------------------

    def _of_item(self, item: Item) -> Iterator[Wait]:
        match item.kind:
            case "terraform":
                yield from self._settings(item)
            case "provider":
                yield from self._provider(item)
            case "module":
                yield from self._module(item)
            case "ephemeral":
                yield self._at("Something that is read for a moment, and may be a secret, is new:", item)
            case "data" | "check" if is_risky_data(item):
                yield self._at("A data source that runs a program, or reads what is elsewhere, is new:", item)
            case kind if kind not in _KINDS:
                yield self._at("Something is new of which driftwatch does not know what it does:", item)
        if type_of(item) not in self._named | {"", "external"}:
            yield self._at("A resource of a provider that is new here:", item)
        yield from self._meta(item)

    def _meta(self, item: Item) -> Iterator[Wait]:
        for part in within(item.member):
            had = (item.directory, item.kind, part.texts) in self._had_within
            if part.words[0] in ("provisioner", "connection") and not had:
                yield self._at("A provisioner, which runs a program, is new:", item, part)
        for part in item.member.members:
            named = [each for each in part.tokens if each.kind in (Kind.NAME, Kind.TEXT)]
            if part.words == ("provider",) and item.kind in ("resource", "data", "import", "ephemeral"):
                first = named[0].text.partition(".")[0] if named else ""
                if first not in self._named:
                    yield self._at("A provider that is new here is named:", item, part)
            if part.words == ("providers",) and item.kind == "module":
                for each in object_of(part.tokens) or ():
                    names = [token for token in each.tokens if token.kind in (Kind.NAME, Kind.TEXT)]
                    if not names or names[0].text.partition(".")[0] not in self._named:
                        yield self._at("A provider that is new here is named:", item, part)

    @cached_property
    def _had_within(self) -> frozenset[tuple[str, str, tuple[str, ...]]]:
        return frozenset(
            (item.directory, item.kind, part.texts) for item in self.was.items for part in within(item.member)
        )

    @cached_property
    def _named(self) -> frozenset[str]:
        """What providers that are known are called in the code, by which their types begin."""
        addresses = {each.rpartition("/")[2] for each in self._locked}
        # Of these the lock file's own reason tells,
        newly = {each.rpartition("/")[2] for each in self.after.locked}
        # and of these that of their source.
        asked = {name for _, name in self.now.sources}
        return frozenset(self.was.types | addresses | newly | asked | _BUILT_IN)

    def _settings(self, item: Item) -> Iterator[Wait]:
        for part in item.member.members:
            if (item.directory, "terraform", part.texts) in self.was.parts:
                continue
            if part.words[0] in _PLACES:
                yield from self._place(item, part)
            elif part.words == ("required_providers",):
                yield from self._requirements(item, part)
            elif part.words[0] not in SETTINGS:
                yield self._at("A setting of terraform itself is new:", item, part)

    def _place(self, item: Item, part: Member) -> Iterator[Wait]:
        """Any change of where the state is kept; of a stack that is new, where that may be an address."""
        if item.directory in self.was.directories:
            yield self._at("The state would be kept elsewhere:", item, part)
            return
        bodies = [(part.words, part.members)]
        if not part.is_block:
            bodies = [
                ((*part.words, *each.words), object_of(each.tokens) or (each,))
                for each in object_of(part.tokens) or (part,)
            ]
        for words, members in bodies:
            plain = len(words) == 2 and words[1] in _PLAIN_BACKENDS
            if not plain or any(each.words[0] not in _PLAIN_PLACE or each.is_block for each in members):
                yield self._at("Credentials, or a state, would go to an address that is new:", item, part)

    def _requirements(self, item: Item, part: Member) -> Iterator[Wait]:
        locked = {address(each) for each in self._locked}
        for source, _, entry in required(part):
            if source is None:
                yield self._at("Where a provider is from is not said plainly:", item, entry)
            elif address(source) not in locked | self.was.required:
                yield self._at("A provider is required anew:", item, entry)

    def _provider(self, item: Item) -> Iterator[Wait]:
        if len(item.member.words) < 2 or item.member.words[1] not in self._named:
            yield self._at("A provider is new here:", item)
        for part in item.member.members:
            if not is_plain(item.member, part):
                yield self._at(
                    "A provider is set up anew in a way that may start something, or send credentials:",
                    item,
                    part if (item.directory, "provider", part.texts) not in self.was.parts else None,
                )

    def _module(self, item: Item) -> Iterator[Wait]:
        where, _ = said_as = module_of(item.member)
        if said_as in self.was.modules and where:
            return
        sources = [each for each in item.member.members if each.words == ("source",)]
        if not where:
            yield self._at(
                "A module's source is new that only a plan would know:", item, sources[0] if sources else None
            )
        elif not is_local(where):
            yield self._at("A module from elsewhere is new:", item, sources[0])
        elif joined(item.directory or ".", where).startswith(".."):
            yield self._at("A module that lies outside of the repository is new:", item, sources[0])

    def _calls(self, item: Item) -> Iterator[Wait]:
        for name, token, arguments in calls(item.member.tokens):
            if (item.directory, name, said_by(arguments)) in self.was.calls:
                continue
            if name in FILE_FUNCTIONS:
                if not self._stays_here(item, name, arguments):
                    yield self._at(
                        "A function is new that may read a file outside of the repository:", item, token
                    )
            elif name == "templatestring":
                yield self._at("A function is new that computes what a text says:", item, token)
        if ("::" in item.said) and not any(
            "::" in each.said for each in self.was.items if each.kind == item.kind
        ):
            yield self._at("A provider's own function is new:", item)

    def _stays_here(self, item: Item, name: str, arguments: Sequence[Sequence[Token]]) -> bool:
        here = item.directory or "."
        # Terragrunt runs a copy: what lies above it there is something else.
        climbs = not any(each.is_units for each in self.now.items)
        return stays_here(name, arguments, here, self.after.root or here, climbs=climbs)

    def _words(self, item: Item) -> Iterator[Wait]:
        """Words by which programs are had to give credentials, in whatever they stand."""
        if item.said and _SIGNS_IN.search("\n".join(item.said)):
            known = {text for each in self.was.items for text in each.said}
            for token in item.member.tokens:
                text = f'"{token.text}' if token.kind is Kind.TEXT else token.text
                if _SIGNS_IN.search(text) and text not in known:
                    yield self._at("Something that has a program give credentials is new:", item, token)
            if _SIGNS_IN.search(
                "".join(token.text for token in item.member.tokens if token.kind is Kind.TEXT)
            ):
                yield self._at("Something that has a program give credentials is new:", item)

    # ---- units of terragrunt -------------------------------------------------------------------------------

    @cached_property
    def _files_that_run(self) -> frozenset[str]:
        return frozenset(item.file for item in self.now.items if item.is_units and runs(item))

    def _of_unit(self, item: Item) -> Iterator[Wait]:
        if item.file in self._files_that_run:
            yield self._at(
                "A file with terragrunt hooks or `run_cmd`, which run programs, is new or changed:", item
            )
        elif item.kind != "inputs" or item.member.is_block:
            yield self._at("Terragrunt is told anew where code, states or settings are:", item)
        elif any(name not in _PURE for name, _, _ in calls(item.member.tokens)) or "::" in item.said:
            yield self._at("Terragrunt computes a value anew in a way that may read something:", item)

    # ---- what decides it -----------------------------------------------------------------------------------

    @cached_property
    def _sensitive(self) -> list[Item]:
        return [item for item in self.now.items if is_sensitive(item)]

    @cached_property
    def _behind(self) -> list[Item]:
        """All that a sensitive item refers to, straight or not, before and after."""
        index: dict[tuple[str, ...], list[Item]] = {}
        every = [
            *self.now.items,
            *(each for each in self.was.items if each.identity not in self.now.identities),
        ]
        outputs = [item for item in every if item.kind == "output"]
        for item in every:
            for name in defines(item):
                index.setdefault(name, []).append(item)
        found: dict[int, Item] = {}
        ahead = list(self._sensitive)
        followed: set[tuple[str, ...]] = set()
        while ahead:
            for name in refers_to(ahead.pop().member.tokens) - followed:
                followed.add(name)
                behind = [*index.get(name, ()), *(outputs if name[0] == "module" else ())]
                if name[0] == "var":
                    behind += index.get(("var", "*"), ())
                new = [each for each in behind if id(each) not in found]
                found |= {id(each): each for each in new}
                ahead += new
        return list(found.values())

    def _decided(self) -> Iterator[Wait]:
        """Changes of what decides where credentials go, or what is started."""
        for item in self._behind:
            if item.identity not in self.was.identities:
                yield self._at("Something that a provider, a program or a source is given is changed:", item)
            elif item.identity not in self.now.identities:
                yield Wait(
                    sentence="Something that a provider, a program or a source is given is no more:",
                    path=item.file,
                )

        for path in self.changed if self._sensitive else ():
            if path in self.after.others:
                yield Wait(sentence="It may give a value to a provider, a program or a source:", path=path)

    def _beside(self) -> Iterator[Wait]:
        """Other files that may be a program, or settings, which something that is there takes up."""
        takers = [item for item in (*self._sensitive, *self._behind) if takes_files(item)]
        if not takers:
            return
        texts = "\n".join(text for item in takers for text in item.said if text.startswith('"'))
        for path in self.changed:
            if not path.endswith(_HARMLESS) or _base(path) in texts:
                yield Wait(
                    sentence="The stack runs programs or reads files in its plan, and this may be one:",
                    path=path,
                )

    def _templates(self) -> Iterator[Wait]:
        """Files that are read as templates, in which all functions are at hand."""
        read: set[str] = set()
        anywhere = False
        for item in self.now.items:
            for name, _, arguments in calls(item.member.tokens):
                if name in ("templatefile", "templatestring"):
                    here = item.directory or "."
                    paths = {path_of(arguments, here, root) for root in (self.after.root or here, here)}
                    read |= {path for path in paths if path is not None}
                    anywhere |= None in paths
        if not (read or anywhere):
            return
        for name, text in self.after.templates.items():
            new = self.before.templates.get(name) != text and (anywhere or name in read)
            if new and (text.startswith(_LARGE) or may_read_files(text)):
                yield Wait(sentence="A template calls a function that may read files:", path=name)
        for path in self.changed:
            if path in read and not self._is_looked_at(path):
                yield Wait(sentence="A template is changed that cannot be looked at:", path=path)
            elif anywhere and not path.endswith(_HARMLESS) and not self._is_looked_at(path):
                yield Wait(sentence="It may be a template that this stack reads:", path=path)

    def _is_looked_at(self, path: str) -> bool:
        return path in self.after.files or any(
            each == "." or path.startswith(f"{each}/") for each in self.after.searched
        )


def _may_give_values(read: str, root: Path) -> bool:
    """Files of variables may have any name; those with versions to use begin with a point."""
    return (root / read).is_file() and not _base(read).startswith(".")


def _base(path: str) -> str:
    return posixpath.basename(path)
