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
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from driftwatch.config.globs import covers
from driftwatch.hcl import FILE_FUNCTIONS, is_configuration
from driftwatch.hcl.risks import (
    HIDDEN,
    is_computed,
    may_read_files,
    path_of,
    refers_to,
    said_by,
    stays_here,
)
from driftwatch.hcl.structure import (
    LABELS,
    Kind,
    Member,
    Token,
    UnreadableError,
    calls,
    literal_of,
    object_of,
    read_json,
    read_native,
    read_values,
    scan_native,
)
from driftwatch.notify.render_preview import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


def _all(words: str) -> frozenset[str]:
    return frozenset(words.split())


LOCK_FILE = ".terraform.lock.hcl"
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
_VALUES = (".tfvars", ".tfvars.json")
_UNIT = ".hcl"
_HARMLESS = (".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", ".tfvars.json", ".md", ".lock.hcl", ".txt")
_LOCAL = ("./", "../")
_BUILT_IN = frozenset({"terraform"})
_DEFAULT_HOSTS = ("registry.terraform.io", "registry.opentofu.org")
_DEFAULT_OWNER = "hashicorp"

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

_SETTINGS = frozenset({"required_version", "required_providers", "//"})
_PLACES = frozenset({"backend", "cloud"})
_PLAIN_BACKENDS = frozenset({"s3", "gcs", "azurerm"})
_PLAIN_PLACE = _all(
    "bucket key region encrypt dynamodb_table use_lockfile workspace_key_prefix acl kms_key_id prefix "
    "resource_group_name storage_account_name container_name //"
)
_PLAIN_PROVIDER = _all(
    "alias region version project zone location features default_tags ignore_tags default_labels "
    "max_retries //"
)
"""What the block of a provider that is well known may say, and leads nowhere by that."""

_WELL_KNOWN = frozenset({"aws", "google", "google-beta", "azurerm"})
_PLAIN_OF_ANY = frozenset({"alias", "version", "//"})

_RISKY_DATA = re.compile(
    r"^(?:external|terraform_remote_state|archive_file|tls_certificate|dns_|vault_|sops_)"
    r"|http|rest|graphql|curl|shell|command|script|exec|external|invocation|_file\b|_file$|template|tunnel|ssh"
)
"""Data sources that run something, ask an address that the code gives, or read files."""

_RUN_BY_DATA = re.compile(r"external|shell|command|script|exec")
_FILES_OF_PROVIDERS = re.compile(r"file|path|config|credential|cert|key$|token$|exec")
_SIGNS_IN = re.compile(r"credential_process|credential_source|\bsso_session\b|host_command|token_command")
_FILE_FUNCTION = re.compile(rb"\bfile\w*\b|\btemplate(?:file|string)\b|::")
_BEGINS = re.compile(rb"[$%]\{")
_LARGE = b"\x00large\x00"
_UNIT_CALLS_THAT_RUN = frozenset({"run_cmd"})
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
            found |= _locked_in(lock.read_bytes())
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
            or name.endswith(_VALUES)
            or (self._units and name.endswith(_UNIT))
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
        for member in _members_of(name, self._files[name], surely=False) or ():
            if member.words[0] == "module":
                sources = [literal_of(each.tokens) for each in member.members if each.words == ("source",)]
                found += [_joined(here, each) for each in sources if each and _is_local(each)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One outermost thing that a file says; of `locals` and files of values, one of their members."""

    file: str
    member: Member
    said: tuple[str, ...]

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.file)

    @property
    def kind(self) -> str:
        return self.member.words[0]

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """Where two have the same, the one is the other, moved to another file at most."""
        return (self.directory, self.said)

    @property
    def is_value(self) -> bool:
        return self.file.endswith(_VALUES)

    @property
    def is_units(self) -> bool:
        return self.file.endswith(_UNIT) and not self.file.endswith(LOCK_FILE)


class _Side:
    """One stack's code, read."""

    def __init__(self, code: Code, same: Mapping[str, bytes], *, surely: bool) -> None:
        """`same` are files that need not be read by two readers: the branch has them already."""
        self.code = code
        self.items: list[_Item] = []
        self.unreadable: list[str] = []
        for name, text in code.files.items():
            members = _members_of(name, text, surely=surely and same.get(name) != text)
            if members is None:
                self.unreadable.append(name)
            elif not name.endswith(LOCK_FILE):
                self.items += _items(name, members)

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
        return frozenset(_module(item.member) for item in self.items if item.kind == "module")

    @cached_property
    def required(self) -> frozenset[str]:
        """The sources of providers that are required, normalised."""
        return frozenset(
            _address(source)
            for item in self.items
            if item.kind == "terraform"
            for part in item.member.members
            if part.words == ("required_providers",)
            for source, _, _ in _required(part)
            if source is not None
        )

    @cached_property
    def types(self) -> frozenset[str]:
        return frozenset(
            _type_of(item) for item in self.items if item.kind in ("resource", "data", "ephemeral")
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
    def news(self) -> list[_Item]:
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
            if item.kind == "provider" and _is_sensitive(item):
                if (item.directory, *item.member.words) in names:
                    yield Wait(sentence="A provider is set up in another way than it was:", path=item.file)
            elif item.kind == "terraform":
                yield from self._settings_gone(item)

    def _settings_gone(self, item: _Item) -> Iterator[Wait]:
        now = [
            part
            for each in self.now.items
            if each.kind == "terraform" and each.directory == item.directory
            for part in each.member.members
        ]
        names = {
            name for part in now if part.words == ("required_providers",) for _, name, _ in _required(part)
        }
        for part in item.member.members:
            if part.words[0] in _PLACES and not any(each.words[0] in _PLACES for each in now):
                yield Wait(sentence="The state would be kept elsewhere:", path=item.file)
            elif part.words == ("required_providers",):
                for source, name, _ in _required(part):
                    if name not in names and _address(source or "") != _address(name):
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
        return self.known | frozenset(
            address
            for name, text in self.before.files.items()
            if name.endswith(LOCK_FILE)
            for address in _locked_in(text)
        )

    def _locks(self) -> Iterator[Wait]:
        for name, text in self.after.files.items():
            if name.endswith(LOCK_FILE) and text != self.before.files.get(name):
                for member in _members_of(name, text, surely=True) or ():
                    address = member.words[-1]
                    if member.words[0] != "provider" or address not in self._locked:
                        yield self._wait(
                            "A provider is new to the lock file:", name, member.line, line=address
                        )
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

    def _at(self, sentence: str, item: _Item, part: Member | Token | None = None) -> Wait:
        return self._wait(sentence, item.file, (part or item.member).line)

    # ---- what is new ---------------------------------------------------------------------------------------

    def _of_item(self, item: _Item) -> Iterator[Wait]:
        match item.kind:
            case "terraform":
                yield from self._settings(item)
            case "provider":
                yield from self._provider(item)
            case "module":
                yield from self._module(item)
            case "ephemeral":
                yield self._at("Something that is read for a moment, and may be a secret, is new:", item)
            case "data" | "check" if _is_risky_data(item):
                yield self._at("A data source that runs a program, or reads what is elsewhere, is new:", item)
            case kind if kind not in _KINDS:
                yield self._at("Something is new of which driftwatch does not know what it does:", item)
        if _type_of(item) not in self._named | {"", "external"}:
            yield self._at("A resource of a provider that is new here:", item)
        yield from self._meta(item)

    def _meta(self, item: _Item) -> Iterator[Wait]:
        for part in _within(item.member):
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
            (item.directory, item.kind, part.texts)
            for item in self.was.items
            for part in _within(item.member)
        )

    @cached_property
    def _named(self) -> frozenset[str]:
        """What providers that are known are called in the code, by which their types begin."""
        addresses = {each.rpartition("/")[2] for each in self._locked}
        newly = {
            address.rpartition("/")[2]
            for name, text in self.after.files.items()
            if name.endswith(LOCK_FILE)
            for address in _locked_in(text)
        }  # of these the lock file's own reason tells
        required = {
            name
            for item in self.now.items
            if item.kind == "terraform"
            for part in item.member.members
            if part.words == ("required_providers",)
            for source, name, _ in _required(part)
            if source is not None
        }  # and of these that of their source
        return frozenset(self.was.types | addresses | newly | required | _BUILT_IN)

    def _settings(self, item: _Item) -> Iterator[Wait]:
        for part in item.member.members:
            if (item.directory, "terraform", part.texts) in self.was.parts:
                continue
            if part.words[0] in _PLACES:
                yield from self._place(item, part)
            elif part.words == ("required_providers",):
                yield from self._requirements(item, part)
            elif part.words[0] not in _SETTINGS:
                yield self._at("A setting of terraform itself is new:", item, part)

    def _place(self, item: _Item, part: Member) -> Iterator[Wait]:
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

    def _requirements(self, item: _Item, part: Member) -> Iterator[Wait]:
        locked = {_address(each) for each in self._locked}
        for source, _, entry in _required(part):
            if source is None:
                yield self._at("Where a provider is from is not said plainly:", item, entry)
            elif _address(source) not in locked | self.was.required:
                yield self._at("A provider is required anew:", item, entry)

    def _provider(self, item: _Item) -> Iterator[Wait]:
        if len(item.member.words) < 2 or item.member.words[1] not in self._named:
            yield self._at("A provider is new here:", item)
        for part in item.member.members:
            if not _is_plain(item.member, part):
                yield self._at(
                    "A provider is set up anew in a way that may start something, or send credentials:",
                    item,
                    part if (item.directory, "provider", part.texts) not in self.was.parts else None,
                )

    def _module(self, item: _Item) -> Iterator[Wait]:
        where, _ = said_as = _module(item.member)
        if said_as in self.was.modules and where:
            return
        sources = [each for each in item.member.members if each.words == ("source",)]
        if not where:
            yield self._at(
                "A module's source is new that only a plan would know:", item, sources[0] if sources else None
            )
        elif not _is_local(where):
            yield self._at("A module from elsewhere is new:", item, sources[0])
        elif _joined(item.directory or ".", where).startswith(".."):
            yield self._at("A module that lies outside of the repository is new:", item, sources[0])

    def _calls(self, item: _Item) -> Iterator[Wait]:
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

    def _stays_here(self, item: _Item, name: str, arguments: Sequence[Sequence[Token]]) -> bool:
        here = item.directory or "."
        # Terragrunt runs a copy: what lies above it there is something else.
        climbs = not any(each.is_units for each in self.now.items)
        return stays_here(name, arguments, here, self.after.root or here, climbs=climbs)

    def _words(self, item: _Item) -> Iterator[Wait]:
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
        return frozenset(item.file for item in self.now.items if item.is_units and _runs(item))

    def _of_unit(self, item: _Item) -> Iterator[Wait]:
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
    def _sensitive(self) -> list[_Item]:
        return [item for item in self.now.items if _is_sensitive(item)]

    @cached_property
    def _behind(self) -> list[_Item]:
        """All that a sensitive item refers to, straight or not, before and after."""
        index: dict[tuple[str, ...], list[_Item]] = {}
        every = [
            *self.now.items,
            *(each for each in self.was.items if each.identity not in self.now.identities),
        ]
        outputs = [item for item in every if item.kind == "output"]
        for item in every:
            for name in _defines(item):
                index.setdefault(name, []).append(item)
        found: dict[int, _Item] = {}
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
        takers = [item for item in (*self._sensitive, *self._behind) if _takes_files(item)]
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


# ---- what is said ----------------------------------------------------------------------------------------


@lru_cache(maxsize=128)
def _members_of(name: str, text: bytes, *, surely: bool) -> tuple[Member, ...] | None:
    """What a file says, by two readers where it must be sure; None where it cannot be read."""
    try:
        if name.endswith(_VALUES):
            return read_values(text) if name.endswith(".json") else _native(text, surely=surely)
        found = read_json(text) if name.endswith(".json") else _native(text, surely=surely)
    except UnreadableError:
        return None
    is_terraform = not name.endswith(_UNIT)
    return None if is_terraform and any(_is_misshapen(each) for each in found) else found


def _native(text: bytes, *, surely: bool) -> tuple[Member, ...]:
    return read_native(text) if surely else scan_native(text)


def _is_misshapen(member: Member) -> bool:
    labels = LABELS.get(member.words[0])
    return not member.is_block or (labels is not None and len(member.words) != labels + 1)


def _items(file: str, members: Iterable[Member]) -> Iterator[_Item]:
    for member in members:
        match member.words[0]:
            case "locals" if not file.endswith(_UNIT):
                yield from (_part("local", file, each) for each in member.members)
                continue
            case "module":
                yield from _arguments(file, member)
            case "inputs" if file.endswith(_UNIT):
                yield from (_part("argument", file, each) for each in object_of(member.tokens) or ())
            case "check":
                yield from _items(file, (each for each in member.members if _is_labelled_data(each)))
        yield _Item(file=file, member=member, said=member.texts)


def _part(kind: str, file: str, member: Member, *more: Token) -> _Item:
    part = replace(member, words=(kind, *member.words), tokens=(*member.tokens, *more), is_block=False)
    return _Item(file=file, member=part, said=part.texts)


def _arguments(file: str, module: Member) -> Iterator[_Item]:
    """What a module is given, each with what it is repeated for."""
    repeated = [
        token for each in module.members if each.words in (("for_each",), ("count",)) for token in each.tokens
    ]
    for each in module.members:
        per = any(token.kind is Kind.NAME and token.text in ("each", "count") for token in each.tokens)
        yield _part("argument", file, each, *(repeated if per else ()))


def _is_labelled_data(member: Member) -> bool:
    return member.is_block and member.words[0] == "data" and len(member.words) == LABELS["data"] + 1


def _within(member: Member) -> Iterator[Member]:
    for each in member.members:
        yield each
        yield from _within(each)


def _locked_in(text: bytes) -> frozenset[str]:
    members = _members_of(LOCK_FILE, text, surely=False) or ()
    return frozenset(each.words[-1] for each in members if each.words[0] == "provider")


def _address(source: str) -> str:
    """A provider's source without what goes without saying."""
    parts = source.lower().split("/")
    if len(parts) == 1:
        return f"{_DEFAULT_OWNER}/{source.lower()}"
    return "/".join(parts[1:] if parts[0] in _DEFAULT_HOSTS and len(parts) == 3 else parts)


def _required(part: Member) -> Iterator[tuple[str | None, str, Member]]:
    """The providers that are required: their source, None where it is not plain, and what they are called."""
    entries = part.members if part.is_block else object_of(part.tokens)
    if entries is None:
        yield None, "", part
        return
    for each in entries:
        name = each.words[0]
        said_of = object_of(each.tokens)
        if name == "//":
            continue
        if each.is_block or said_of is None:
            yield (None if literal_of(each.tokens) is None else name), name, each
            continue
        sources = [literal_of(one.tokens) for one in said_of if one.words == ("source",)] or [name]
        yield from ((source, name, each) for source in sources)


def _module(member: Member) -> tuple[str, tuple[str, ...]]:
    """Where a module is from, "" where that is not plain, and in which version."""
    sources = [literal_of(each.tokens) for each in member.members if each.words == ("source",)]
    where = sources[0] or "" if len(sources) == 1 else ""
    if where and _is_local(where):
        return where, ()
    versions = [each.texts for each in member.members if each.words == ("version",)]
    return where, tuple(text for each in versions for text in each)


def _is_local(source: str) -> bool:
    return source.startswith(_LOCAL)


def _joined(directory: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(directory, path))


def _may_give_values(read: str, root: Path) -> bool:
    """Files of variables may have any name; those with versions to use begin with a point."""
    return (root / read).is_file() and not _base(read).startswith(".")


def _base(path: str) -> str:
    return posixpath.basename(path)


def _type_of(item: _Item) -> str:
    """How the type of a resource begins, which says whose it is; "" for anything else."""
    is_one = item.kind in ("resource", "data", "ephemeral")
    return item.member.words[1].partition("_")[0] if is_one else ""


def _is_plain(provider: Member, part: Member) -> bool:
    """Whether a setting neither starts anything, nor signs in, nor leads anywhere else."""
    known = _PLAIN_PROVIDER if provider.words[1:] and provider.words[1] in _WELL_KNOWN else _PLAIN_OF_ANY
    return part.words[0] in known


def _is_risky_data(item: _Item) -> bool:
    if item.kind == "check":
        return any(each.words[0] == "data" and not _is_labelled_data(each) for each in item.member.members)
    return item.kind == "data" and bool(_RISKY_DATA.search(item.member.words[1]))


def _is_sensitive(item: _Item) -> bool:
    """Whether what it is given decides what is started, or where something is sent or read."""
    if item.is_value:
        return False
    if item.is_units:
        return _runs(item)
    computes = any(
        name == "templatestring" or (name in FILE_FUNCTIONS and is_computed(arguments))
        for name, _, arguments in calls(item.member.tokens)
    )
    match item.kind:
        case "provider":
            sensitive = any(not _is_plain(item.member, each) for each in item.member.members)
        case "terraform":
            sensitive = any(each.words[0] not in _SETTINGS for each in item.member.members)
        case "module":
            sensitive = not _module(item.member)[0]
        case _:
            sensitive = item.kind == "ephemeral" or _is_risky_data(item)
    return sensitive or computes


def _runs(item: _Item) -> bool:
    """Whether something in a file of terragrunt's is a program to be run."""
    hooks = any(each.words[0].endswith("_hook") for each in _within(item.member))
    return hooks or any(name in _UNIT_CALLS_THAT_RUN for name, _, _ in calls(item.member.tokens))


def _takes_files(item: _Item) -> bool:
    """Whether something that it names may be a file of the repository, which is run or heeded."""
    if any(name in FILE_FUNCTIONS for name, _, _ in calls(item.member.tokens)):
        return True
    if item.is_units:
        return _runs(item)
    if item.kind == "provider":
        return any(
            _FILES_OF_PROVIDERS.search(each.words[-1] + each.words[0]) and _may_name_a_file(each)
            for each in item.member.members
            if not _is_plain(item.member, each)
        )
    return item.kind == "check" or (item.kind == "data" and bool(_RUN_BY_DATA.search(item.member.words[1])))


def _may_name_a_file(part: Member) -> bool:
    literal = literal_of(part.tokens)
    if literal is not None:
        return not literal.startswith(("/", "~"))
    return any(
        each.kind is Kind.TEXT or (each.kind is Kind.NAME and each.text in ("local", "var", "path"))
        for each in part.tokens
    )


def _defines(item: _Item) -> Iterator[tuple[str, ...]]:
    """By which names others refer to it."""
    words = item.member.words
    if item.is_value:
        yield "var", words[0]
    elif item.is_units:
        if words[0] == "argument":
            yield "var", words[1]
        elif words[0] == "inputs" and object_of(item.member.tokens) is None:
            yield "var", "*"
    elif words[0] in ("variable", "argument"):
        yield "var", words[1]
    elif words[0] in ("local", "module"):
        yield words[0], words[1]
    elif words[0] in ("data", "resource"):
        yield (words[0], *words[1:])
