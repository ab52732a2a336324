"""Reads what a directory of Terraform or OpenTofu files says about itself, without running anything.

This is how a root module is told from a module that others use, and how an engine's version is chosen before
the engine runs. It reads the outermost blocks only and evaluates nothing: a value that is not a plain
literal counts as not said. It never fails. A directory whose HCL a commit has just broken must still be
known as the stack that it was; that it is broken, terraform says better than this could.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from driftwatch.hcl.syntax import (
    BOM,
    bare,
    blocks_of,
    calls_in,
    children_of,
    given_in,
    labels_of,
    parse,
    string_of,
    strings_in,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node

SUFFIXES = (".tf", ".tofu", ".tf.json", ".tofu.json")
VALUES = (".tfvars", ".tfvars.json")
_AUTOMATIC = (".auto.tfvars", ".auto.tfvars.json")

_BACKUP_NAME = re.compile(r"^\.|~$|^#.*#$")
"""Hidden files and editors' copies, which terraform passes over too (`configs.IsIgnoredFile`)."""

_BROKEN_PROVIDER = re.compile(r'^[ \t]*provider[ \t]+"?([\w-]+)"?[ \t]*\{', re.MULTILINE)
_BROKEN_BACKEND = re.compile(r'\bbackend[ \t]+"?([\w-]+)"?[ \t]*\{')
_BROKEN_CLOUD = re.compile(r"^[ \t]*cloud[ \t]*\{", re.MULTILINE)
_BROKEN_RESOURCE = re.compile(r'^[ \t]*(?:resource|data)[ \t]+"', re.MULTILINE)
_BROKEN_SOURCE = re.compile(r'^[ \t]*source[ \t]*=[ \t]*"(\.{1,2}/[^"$%\\\n]*)"', re.MULTILINE)
_BROKEN_VERSION = re.compile(r'^[ \t]*required_version[ \t]*=[ \t]*"([^"$%\\\n]+)"', re.MULTILINE)
_NAME = re.compile(r"[\w-]+")
_PLAIN = re.compile(r"true|false|[0-9]+")
_FROM_HERE = re.compile(r'"\$\{\s*path\.(module|root)\s*\}/([^"$%\\]*)"')
_FILE_CALL = re.compile(rb"\b(?:file\w*|templatefile)\s*\(")

_BROKEN_JSON_PROVIDER = re.compile(r'"provider"\s*:[\[{\s]*"([\w-]+)"')
_BROKEN_JSON_BACKEND = re.compile(r'"backend"\s*:[\[{\s]*"([\w-]+)"')

_Pairs: TypeAlias = "tuple[tuple[str, Any], ...]"
"""A JSON object as it was written: the same key may come twice, as two blocks may in HCL."""

Given: TypeAlias = "tuple[tuple[str, str | None], ...]"
"""A configuration's keys with their values as text; None for one that only a plan knows."""

IN_THIS_MODULE = "${path.module}/"
"""How a value begins that is a path from the module's own directory: it is kept as it is written."""

THIS_WORKSPACE = "${terraform.workspace}"
"""The workspace of whoever reads. It is no workspace's name: those have no braces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """A `terraform_remote_state` data source: whose outputs the code reads.

    `backend` is the type, None where only a plan knows it, as `workspace` is; `config` is None where nothing
    of it is known.
    """

    name: str
    backend: str | None
    config: Given | None = ()
    workspace: str | None = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFacts:
    """What the files of one directory say together.

    `backend` is the backend's type (`s3`) and `backend_config` what its block says, `cloud` whether there is
    a `cloud` block. `providers` are the local names that have a `provider` block (being required is not
    enough: every module requires some). `module_sources` are the literal sources of `module` blocks, as
    written, in order. `resources` is whether any resource or data source is declared. `remote_states` are
    those whose outputs it reads. `files` are the paths outside of the directory that file functions are
    given, relative to it, up to the first part that only a plan knows.
    """

    backend: str | None = None
    backend_config: Given = ()
    cloud: bool = False
    providers: frozenset[str] = frozenset()
    required_versions: tuple[str, ...] = ()
    module_sources: tuple[str, ...] = ()
    resources: bool = False
    remote_states: tuple[RemoteState, ...] = ()
    files: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Gathered:
    """`ModuleFacts` in the making."""

    backend: str | None = None
    backend_config: Given = ()
    cloud: bool = False
    providers: set[str] = field(default_factory=set)
    versions: dict[str, None] = field(default_factory=dict)
    sources: dict[str, None] = field(default_factory=dict)
    resources: bool = False
    remote_states: list[RemoteState] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def facts(self) -> ModuleFacts:
        return ModuleFacts(
            backend=self.backend,
            backend_config=self.backend_config,
            cloud=self.cloud,
            providers=frozenset(self.providers),
            required_versions=tuple(self.versions),
            module_sources=tuple(self.sources),
            resources=self.resources,
            remote_states=tuple(self.remote_states),
            files=frozenset(self.files),
        )


def is_configuration(name: str) -> bool:
    """True where terraform or tofu would read a file of this name in a module's directory."""
    return name.endswith(SUFFIXES) and not _BACKUP_NAME.search(name)


def is_read_by_itself(name: str) -> bool:
    """True where terraform or tofu takes variables from a file of this name without being told to."""
    return name.endswith(_AUTOMATIC) or name in ("terraform.tfvars", "terraform.tfvars.json")


def is_local(source: str) -> bool:
    """Whether a module's source is a path, as terraform tells it."""
    return source.startswith(("./", "../"))


def read_module(files: Mapping[str, bytes]) -> ModuleFacts:
    """Returns the facts of one directory, given its files by name; other files than HCL's are passed over.

    Never raises. Of a broken file it takes what it can.
    """
    gathered = _Gathered()
    for name in sorted(files):
        if is_configuration(name):
            text = files[name].removeprefix(BOM)
            (_read_json if name.endswith(".json") else _read_native)(text, gathered)
    return gathered.facts()


def _read_native(text: bytes, gathered: _Gathered) -> None:
    root = parse(text)
    if root is not None:
        for block in blocks_of(root):
            _read_block(block, gathered)
        if _FILE_CALL.search(text):
            gathered.files |= _files_outside(root)
    if root is None or root.has_error:
        _read_broken(text.decode(errors="replace"), gathered)


def _read_block(block: Node, gathered: _Gathered) -> None:
    match labels_of(block):
        case ["terraform"]:
            _read_settings(block, gathered)
        case ["provider", name]:
            gathered.providers.add(name)
        case ["module", _]:
            gathered.sources |= dict.fromkeys(strings_in(block, "source"))
        case ["data", "terraform_remote_state", name]:
            gathered.resources = True
            gathered.remote_states.append(_read_remote_state(block, name))
        case ["resource" | "data", *_]:
            gathered.resources = True


def _read_remote_state(block: Node, name: str) -> RemoteState:
    given = dict(given_in(block))
    workspace = given.get("workspace")
    return RemoteState(
        name=name,
        backend=_scalar(given["backend"]) if "backend" in given else None,
        config=_object(given["config"]) if "config" in given else (),
        workspace="default" if workspace is None else _workspace(_scalar(workspace), text_of(workspace)),
    )


def _workspace(literal: str | None, written: str) -> str | None:
    is_this = re.fullmatch(r'\s*(?:"\$\{\s*)?terraform\.workspace(?:\s*\}")?\s*', written)
    return THIS_WORKSPACE if is_this else literal


def _read_settings(block: Node, gathered: _Gathered) -> None:
    gathered.versions |= dict.fromkeys(strings_in(block, "required_version"))
    for inner in blocks_of(block):
        match labels_of(inner):
            case ["backend", name]:
                gathered.backend = name
                gathered.backend_config = tuple((key, _scalar(value)) for key, value in given_in(inner))
            case ["cloud"]:
                gathered.cloud = True


def _object(node: Node) -> Given | None:
    """What an object says, key by key; None where it is no object, or a key of it only a plan knows."""
    node = bare(node)
    if node.type != "object":
        return None
    found: dict[str, str | None] = {}
    for element in children_of(node, "object_elem"):
        key, *values = element.named_children
        name = string_of(key) or text_of(key).strip()
        if not values or not _NAME.fullmatch(name):
            return None
        found[name] = _scalar(values[-1])
    return tuple(found.items())


def _scalar(node: Node) -> str | None:
    """The text, number or switch that an expression is, as text; None where it is anything else."""
    literal = string_of(node)
    if literal is not None:
        return literal
    written = text_of(node).strip()
    return (
        _literal_path(written) if written.startswith('"') else written if _PLAIN.fullmatch(written) else None
    )


def _literal_path(written: str) -> str | None:
    """A path from the module's or the root module's directory, which is known before any plan."""
    found = _FROM_HERE.fullmatch(written)
    if found is None:
        return None
    return (IN_THIS_MODULE if found[1] == "module" else "./") + found[2]


def _read_broken(text: str, gathered: _Gathered) -> None:
    """Adds what lines look like: a missing bracket can hide every block after it from the parser."""
    gathered.providers |= set(_BROKEN_PROVIDER.findall(text))
    gathered.sources |= dict.fromkeys(_BROKEN_SOURCE.findall(text))
    gathered.versions |= dict.fromkeys(_BROKEN_VERSION.findall(text))
    gathered.cloud |= bool(_BROKEN_CLOUD.search(text))
    gathered.resources |= bool(_BROKEN_RESOURCE.search(text))
    if gathered.backend is None and (backend := _BROKEN_BACKEND.search(text)):
        gathered.backend = backend.group(1)


def _read_json(text: bytes, gathered: _Gathered) -> None:
    try:
        document = json.loads(text.decode(errors="replace"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        _read_broken_json(text.decode(errors="replace"), gathered)
        return
    for settings in _json_blocks(document, "terraform"):
        _read_json_settings(settings, gathered)
    gathered.providers |= {name for name, _ in _json_labelled(document, "provider")}
    for _, module in _json_labelled(document, "module"):
        for body in _objects(module):
            gathered.sources |= dict.fromkeys(_json_literals(body, "source"))
    gathered.resources |= any(_json_labelled(document, "resource")) or any(_json_labelled(document, "data"))
    for kind, named in _json_labelled(document, "data"):
        if kind == "terraform_remote_state":
            gathered.remote_states += [
                _json_remote_state(name, body)
                for each in _objects(named)
                for name, bodies in each
                for body in _objects(bodies)
            ]
    if _FILE_CALL.search(text):
        gathered.files |= _files_in_json(text.decode(errors="replace"))


def _read_json_settings(settings: _Pairs, gathered: _Gathered) -> None:
    gathered.versions |= dict.fromkeys(_json_literals(settings, "required_version"))
    for name, config in _json_labelled(settings, "backend"):
        gathered.backend = name
        gathered.backend_config = tuple(pair for body in _objects(config) for pair in _json_given(body))
    gathered.cloud |= any(True for _ in _json_blocks(settings, "cloud"))


def _json_remote_state(name: str, body: _Pairs) -> RemoteState:
    given = dict(body)
    workspace, config = given.get("workspace", "default"), given.get("config", ())
    return RemoteState(
        name=name,
        backend=_json_scalar(given.get("backend")),
        config=tuple(_json_given(config)) if isinstance(config, tuple) else None,
        workspace=_workspace(_json_scalar(workspace), f'"{workspace}"'),
    )


def _json_given(body: _Pairs) -> Iterator[tuple[str, str | None]]:
    return ((key, _json_scalar(value)) for key, value in body if key != "//")


def _json_scalar(value: object) -> str | None:
    if isinstance(value, bool | int):
        return str(value).lower()
    if not isinstance(value, str):
        return None
    return value if "${" not in value and "%{" not in value else _literal_path(f'"{value}"')


def _files_in_json(text: str) -> set[str]:
    """From words alone: JSON's strings hold expressions, in which quotes are escaped."""
    written = re.findall(r'\b(?:file\w*|templatefile)\s*\(\s*\\"((?:[^"\\]|\\[^"])*)\\"', text)
    return set(filter(None, (_outside(*_path_of_text(f'"{each}"')) for each in written)))


def _read_broken_json(text: str, gathered: _Gathered) -> None:
    gathered.providers |= set(_BROKEN_JSON_PROVIDER.findall(text))
    if gathered.backend is None and (backend := _BROKEN_JSON_BACKEND.search(text)):
        gathered.backend = backend.group(1)


def _objects(value: Any) -> Iterator[_Pairs]:
    """HCL's JSON form lets a block be an object or a list of objects. Objects are tuples here."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, tuple):
            yield item


def _json_blocks(document: Any, name: str) -> Iterator[_Pairs]:
    for body in _objects(document):
        for key, value in body:
            if key == name:
                yield from _objects(value)


def _json_labelled(document: Any, name: str) -> Iterator[tuple[str, Any]]:
    for block in _json_blocks(document, name):
        yield from (pair for pair in block if pair[0] != "//")


def _json_literals(body: _Pairs, name: str) -> Iterator[str]:
    return (value for key, value in body if key == name and isinstance(value, str) and "${" not in value)


FILE_FUNCTIONS = frozenset(
    {
        "file",
        "filebase64",
        "filebase64sha256",
        "filebase64sha512",
        "fileexists",
        "filemd5",
        "fileset",
        "filesha1",
        "filesha256",
        "filesha512",
        "templatefile",
    }
)
"""Functions that read files; the first argument says where."""

_CALL_IN_TEXT = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_BLOCK_IN_TEXT = re.compile(r'^[ \t]*([a-z_]+)(?:[ \t]+"?[\w-]+"?){0,2}[ \t]*\{', re.MULTILINE)
_TYPE_IN_TEXT = re.compile(r'\b(?:resource|data|ephemeral)[ \t]+"([\w-]+)"')
_HERE = ("path.module", "path.root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What the code of one directory does that its own files do not determine, as far as its text tells.

    Of what cannot be parsed it says too much rather than too little. `functions` are the names of all that
    are called, `blocks` those of the outermost blocks, `types` those of resources and data sources. `paths`
    are what file functions are given, relative to the module, up to the first part that only a plan knows;
    None stands for one of which nothing is known. `dynamic` is whether there is such a part in any.
    """

    functions: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    paths: frozenset[str | None] = frozenset()
    dynamic: bool = False


@dataclass(slots=True)
class _Used:
    """`Uses` in the making."""

    functions: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    paths: set[str | None] = field(default_factory=set)
    dynamic: bool = False


def read_uses(files: Mapping[str, bytes]) -> Uses:
    """Returns what the HCL among `files`, by name, uses. Never raises."""
    used = _Used()
    for name in sorted(files):
        if not is_configuration(name):
            continue
        text = files[name].removeprefix(BOM)
        root = None if name.endswith(".json") else parse(text)
        if root is None or root.has_error:
            _use_text(text.decode(errors="replace"), used)
        else:
            _use_tree(root, used)
    return Uses(
        functions=frozenset(used.functions),
        blocks=frozenset(used.blocks),
        types=frozenset(used.types),
        paths=frozenset(used.paths),
        dynamic=used.dynamic,
    )


def functions_in_text(text: str) -> frozenset[str]:
    """What looks like the name of a function that is called, anywhere in a text such as a template."""
    return frozenset(_CALL_IN_TEXT.findall(text))


def _use_text(text: str, used: _Used) -> None:
    """From words alone: HCL that is broken, and JSON, whose strings hold expressions."""
    functions = functions_in_text(text)
    used.functions |= functions
    used.blocks |= set(_BLOCK_IN_TEXT.findall(text)) | set(re.findall(r'"([\w-]+)"\s*:', text))
    used.types |= set(_TYPE_IN_TEXT.findall(text)) | set(re.findall(r'"([\w-]+)"\s*:\s*[\[{]', text))
    if functions & FILE_FUNCTIONS:
        used.paths.add(None)


def _use_tree(root: Node, used: _Used) -> None:
    for block in blocks_of(root):
        labels = labels_of(block)
        used.blocks |= set(labels[:1])
        if labels[:1] and labels[0] in ("resource", "data", "ephemeral"):
            used.types |= set(labels[1:2])
        elif labels[:1] == ["check"]:  # a data source of its own may be inside
            used.types |= {inner[1] for each in blocks_of(block) if len(inner := labels_of(each)) > 1}
    for name, argument in calls_in(root):
        used.functions.add(name)
        if name in FILE_FUNCTIONS:
            path, dynamic = _path_of(argument)
            used.paths.add(path)
            used.dynamic |= dynamic or name == "fileset"


def _files_outside(root: Node) -> set[str]:
    led = (_path_of(argument) for name, argument in calls_in(root) if name in FILE_FUNCTIONS)
    return set(filter(None, (_outside(path, dynamic) for path, dynamic in led)))


def _outside(path: str | None, dynamic: bool) -> str | None:
    """A path that leads out of the module's directory; of one that goes on, the directory that is known."""
    if path is not None and dynamic:
        path = posixpath.dirname(path)
    return path if path and posixpath.normpath(path).split("/")[0] == ".." else None


def _path_of(argument: Node | None) -> tuple[str | None, bool]:
    """Where what a file function is given leads: the part that is known, and whether there is another."""
    return _path_of_text(text_of(argument).strip()) if argument is not None else (None, True)


def _path_of_text(text: str) -> tuple[str | None, bool]:
    if text in _HERE:
        return "", False
    literal = re.fullmatch(r'"((?:[^"\\]|\$\{[^}]*\})*)"', text)
    if literal is None:
        return None, True
    path = literal[1]
    for here in _HERE:
        path = re.sub(rf"^\$\{{\s*{re.escape(here)}\s*\}}/?", "./", path)
    fixed, dynamic, _ = re.split(r"([$%]\{|$)", path, maxsplit=1)
    if fixed.startswith(("/", "~")) or (dynamic and not fixed.startswith("./") and "/" not in fixed):
        return None, True
    return fixed, bool(dynamic)
