"""The small cloud: firewalls, buckets, databases and DNS records, one JSON file each.

The provider's processes and people (the demo, tests) change it through the same `Cloud`, at the same time. It
plays a vendor, so it knows nothing of driftwatch and has an error of its own. Standard library only: every
provider process imports it, several times in each plan.

    <directory>/<kind>/<key, percent-encoded>.json     one object, replaced atomically
    <directory>/faults.json                            what shall go wrong, see `Fault`
    <directory>/.lock · .serial                        writers take turns; how many objects were ever made
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""As `driftwatch.model.JsonValue`; that module is too slow to import in a provider process."""

DEFAULT_REGION = "local-1"
REGIONS: Mapping[str, tuple[str, ...]] = {
    "local-1": ("local-1a", "local-1b", "local-1c"),
    "local-2": ("local-2a", "local-2b"),
}
"""The cloud's regions and their zones."""


class CloudError(Exception):
    """The cloud's answer is no; `code` is a word such as `Conflict`, as clouds have them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Kind(StrEnum):
    """The kinds of objects; a Terraform type name is `sandbox_` and one of these."""

    FIREWALL = "firewall"
    BUCKET = "bucket"
    DATABASE = "database"
    DNS_RECORD = "dns_record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an object of one kind looks like: the attributes that can be set, and how the rest is computed."""

    key: tuple[str, ...]
    defaults: Mapping[str, JsonValue]
    computed: Callable[[Mapping[str, Any], int], dict[str, JsonValue]]


SHAPES: Mapping[Kind, Shape] = {
    Kind.FIREWALL: Shape(
        key=("region", "name"),
        defaults={
            "name": None,
            "region": DEFAULT_REGION,
            "description": None,
            "enabled": True,
            "tags": {},
            "ingress": [],
        },
        computed=lambda _it, _serial: {},
    ),
    Kind.BUCKET: Shape(
        key=("name",),
        defaults={
            "name": None,
            "region": DEFAULT_REGION,
            "versioning": False,
            "tags": {},
            "lifecycle_rule": [],
        },
        computed=lambda it, _serial: {
            "arn": f"arn:sandbox:bucket:{it['region']}::{it['name']}",
            "endpoint": f"https://{it['name']}.bucket.{it['region']}.sandbox.internal",
        },
    ),
    Kind.DATABASE: Shape(
        key=("name",),
        defaults={
            "name": None,
            "region": DEFAULT_REGION,
            "engine": "postgres",
            "version": None,
            "size": 20,
            "replicas": 0,
            "password": None,
            "parameters": {},
            "maintenance": None,
            "tags": {},
        },
        # With the serial, a database that was deleted and made again by hand is another one than before.
        computed=lambda it, serial: {
            "endpoint": f"{it['name']}-{serial:04d}.db.{it['region']}.sandbox.internal:5432"
        },
    ),
    Kind.DNS_RECORD: Shape(
        key=("zone", "name", "type"),
        defaults={"zone": None, "name": None, "type": "A", "ttl": 300, "values": []},
        computed=lambda it, _serial: {
            "fqdn": it["zone"] if it["name"] == "@" else f"{it['name']}.{it['zone']}"
        },
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object as the cloud has it.

    `serial` numbers objects in the order in which they were made. `revision` counts this object's changes,
    whoever made them. `attributes` are all of them, computed ones too.
    """

    kind: Kind
    key: str
    serial: int
    revision: int
    attributes: Mapping[str, Any]


FAULT_KINDS = (
    "expired_credentials",
    "access_denied",
    "throttled",
    "unavailable",
    "delay",
    "hang",
    "crash",
    "crash_after",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that shall go wrong in the provider; the first that matches a request happens.

    `kind` is one of
    - `expired_credentials`, `access_denied`, `throttled`, `unavailable`: refused, in the big clouds' words;
    - `delay`: waits `seconds`, then goes on, or gives up when terraform says stop; `hang`: waits an hour and
      hears nothing;
    - `crash`: the process dies before the cloud was touched; `crash_after`: after (an orphan in the cloud).

    `operation` is configure, create, read, update, delete or read_data; `type` a type name such as
    `sandbox_bucket`; `key` an object's key, or a data source's name; "*" matches any. `times` is how often,
    None for ever.
    """

    kind: str
    operation: str = "*"
    type: str = "*"
    key: str = "*"
    times: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"there is no fault {self.kind!r}, but {', '.join(FAULT_KINDS)}")

    def matches(self, operation: str, type_name: str, key: str) -> bool:
        wanted = ((self.operation, operation), (self.type, type_name), (self.key, key))
        return self.times != 0 and all(want in ("*", got) for want, got in wanted)


_FAULT_KEYS = ", ".join(field.name for field in fields(Fault))


class Cloud:
    """The cloud in `directory`, which is made if it is not there. Safe across threads and processes.

    Every method raises `CloudError`: `NotFound`, `Conflict`, `Invalid`, or `Unreadable` with the file's name.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def create(self, kind: Kind, attributes: Mapping[str, Any]) -> Record:
        """Makes an object; attributes left out or None get the kind's default."""
        wanted = _complete(kind, {}, attributes)
        key = key_of(kind, wanted)
        with self._locked():
            if self._path(kind, key).exists():
                raise CloudError("Conflict", f"{kind} {key!r} already exists")
            return self._store(kind, key, self._next_serial(), 1, wanted)

    def read(self, kind: Kind, key: str) -> Record | None:
        """Returns the object, or None where there is none."""
        path = self._path(kind, key)
        try:
            document = json.loads(path.read_bytes())
            return Record(
                kind=kind,
                key=key,
                serial=document["serial"],
                revision=document["revision"],
                attributes=dict(document["attributes"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CloudError("Unreadable", f"{path} cannot be read as an object: {error!r}") from error

    def get(self, kind: Kind, key: str) -> Record:
        """Like `read`, but raises `CloudError` where there is no such object."""
        record = self.read(kind, key)
        if record is None:
            raise CloudError("NotFound", f"no {kind} {key!r}")
        return record

    def update(self, kind: Kind, key: str, changes: Mapping[str, Any]) -> Record:
        """Changes some attributes, never those that make up the key; None puts the default back."""
        with self._locked():
            known = self.get(kind, key)
            wanted = _complete(kind, known.attributes, changes)
            if key_of(kind, wanted) != key:
                raise CloudError("Invalid", f"{kind} {key!r} cannot be renamed or moved")
            return self._store(kind, key, known.serial, known.revision + 1, wanted)

    def touch(self, kind: Kind, key: str) -> Record:
        """Counts the object's revision up and changes nothing else: what clouds do by themselves."""
        return self.update(kind, key, {})

    def delete(self, kind: Kind, key: str) -> None:
        with self._locked():
            try:
                self._path(kind, key).unlink()
            except FileNotFoundError as error:
                raise CloudError("NotFound", f"no {kind} {key!r}") from error

    def objects(self, kind: Kind) -> tuple[Record, ...]:
        """All objects of a kind, oldest first. One that another process deletes meanwhile is left out."""
        keys = sorted(self._keys(kind))
        found = (self.read(kind, key) for key in keys)
        return tuple(sorted((record for record in found if record), key=lambda record: record.serial))

    def inject(self, *faults: Fault) -> None:
        """Replaces what shall go wrong; with no argument nothing does any more."""
        with self._locked():
            self._write_faults(faults)

    def take_fault(self, operation: str, type_name: str, key: str) -> Fault | None:
        """Returns the first fault that matches, and counts it down."""
        if not self._faults_path.exists():
            return None
        with self._locked():
            faults = self._read_faults()
            for index, fault in enumerate(faults):
                if fault.matches(operation, type_name, key):
                    self._write_faults([*faults[:index], _once_less(fault), *faults[index + 1 :]])
                    return fault
        return None

    @property
    def _faults_path(self) -> Path:
        return self.directory / "faults.json"

    def _read_faults(self) -> list[Fault]:
        try:
            entries = json.loads(self._faults_path.read_bytes())
            return [Fault(**entry) for entry in entries]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise CloudError(
                "Unreadable",
                f"{self._faults_path} must be a list of objects with keys of {_FAULT_KEYS}: {error}",
            ) from error

    def _write_faults(self, faults: Iterable[Fault]) -> None:
        remaining = [asdict(fault) for fault in faults if fault.times != 0]
        if remaining:
            _replace(self._faults_path, remaining)
        else:
            self._faults_path.unlink(missing_ok=True)

    def _store(self, kind: Kind, key: str, serial: int, revision: int, wanted: dict[str, Any]) -> Record:
        attributes = {**wanted, **SHAPES[kind].computed(wanted, serial), "id": key}
        document = {"key": key, "serial": serial, "revision": revision, "attributes": attributes}
        _replace(self._path(kind, key), document)
        return Record(kind=kind, key=key, serial=serial, revision=revision, attributes=attributes)

    def _next_serial(self) -> int:
        counter = self.directory / ".serial"
        try:
            serial = int(counter.read_text(encoding="ascii")) + 1 if counter.exists() else 1
        except ValueError as error:
            raise CloudError("Unreadable", f"{counter} does not hold a number") from error
        _replace(counter, serial)
        return serial

    def _path(self, kind: Kind, key: str) -> Path:
        return self.directory / kind / f"{quote(key, safe='')}.json"

    def _keys(self, kind: Kind) -> list[str]:
        return [unquote(path.stem) for path in (self.directory / kind).glob("*.json")]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with (self.directory / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise CloudError("Unwritable", f"{self.directory} cannot be written: {error}") from error


def key_of(kind: Kind, attributes: Mapping[str, Any]) -> str:
    """Returns the key, such as `local-1/web`; raises `CloudError` where a part of it is missing."""
    parts = key_parts(kind, attributes)
    if not all(parts):
        raise CloudError("Invalid", f"a {kind} needs {' and '.join(SHAPES[kind].key)}")
    return "/".join(parts)


def key_parts(kind: Kind, attributes: Mapping[str, Any]) -> list[str]:
    """Returns what a key is made of; a part that is missing is empty."""
    return [str(attributes.get(name) or "") for name in SHAPES[kind].key]


def _complete(kind: Kind, known: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    defaults = SHAPES[kind].defaults
    unknown = ", ".join(sorted(set(changes) - set(defaults)))
    if unknown:
        raise CloudError("Invalid", f"a {kind} has no {unknown} that could be set")
    given = {**{name: known.get(name) for name in defaults}, **changes}
    return {name: defaults[name] if value is None else value for name, value in given.items()}


def _once_less(fault: Fault) -> Fault:
    if fault.times is None:
        return fault
    return Fault(**{**asdict(fault), "times": fault.times - 1})


def _replace(path: Path, document: Any) -> None:
    """Writes so that a reader sees the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(path)
