"""Where recordings lie between two checks: in memory as many as fit, and all of them encrypted on disk.

A recording holds what a provider was configured with and all that it answered: credentials and secrets. On
disk it is sealed with a key made of the instance's, and bound to its stack, so that no file can stand in for
another. What cannot be opened any more is none: then a plan runs, and records anew.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from driftwatch import __version__, log
from driftwatch.model import Engine
from driftwatch.warm.conditions import Facts, Refusal, Remembered, Upstream
from driftwatch.warm.packages import Package
from driftwatch.warm.pool import Directory, Key
from driftwatch.warm.recording import VERSION, Conversation, Read, Recording
from driftwatch.warm.state import StateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_SEAL = b"driftwatch recording 1\n"
"""Begins every file; which driftwatch recorded it is inside."""

_VERSIONS = [VERSION, __version__]
_NONCE_BYTES = 12
_SUFFIX = ".recording"
_BEING_WRITTEN_SECONDS = 3600.0

logger = log.get("warm")


class Shelf:
    """One `Remembered` per stack. Thread-safe, but for two threads on one stack."""

    def __init__(self, directory: Path | None, key: bytes, *, limit: int) -> None:
        """`directory` is made when it is needed; None keeps all in memory alone, of which `limit` bytes.

        `key` is the instance's, of which the one that seals is derived.
        """
        self._directory = directory
        self._cipher = AESGCM(
            HKDF(algorithm=SHA256(), length=32, salt=None, info=b"driftwatch recordings").derive(key)
        )
        self._limit = limit
        self._size = 0
        self._known: OrderedDict[str, Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, stack: str, remembered: Remembered) -> None:
        """Keeps it in place of the one before."""
        self._keep(stack, remembered)
        if self._directory is not None:
            self._write(self._directory, stack, remembered)

    def get(
        self, stack: str, *, key: Callable[[Package, bool], Key], environment: Mapping[str, str]
    ) -> Remembered | Refusal | None:
        """What is remembered of `stack`; a refusal where another version of driftwatch recorded it.

        `key(package, bound)` says where a process for one of its conversations belongs now, `environment`
        what that would be started with.
        """
        with self._lock:
            known = self._known.get(stack)
            if known is not None:
                self._known.move_to_end(stack)
        if known is None:
            read = self._read(stack)
            if not isinstance(read, Remembered):
                return read
            self._keep(stack, known := read)
        conversations = tuple(
            replace(
                each,
                key=key(each.key.package, each.key.directory is not None),
                environment=dict(environment),
            )
            for each in known.recording.conversations
        )
        return replace(known, recording=replace(known.recording, conversations=conversations))

    def peek(self, stack: str) -> Remembered | None:
        """What is in memory, as it was put there."""
        with self._lock:
            return self._known.get(stack)

    def forget(self, stack: str) -> None:
        with self._lock:
            self._drop(stack)
        if self._directory is not None:
            with suppress(OSError):
                self._file(self._directory, stack).unlink(missing_ok=True)

    def retain(self, stacks: Collection[str]) -> int:
        """Forgets all but these, and returns how many files that were."""
        with self._lock:
            for stack in self._known.keys() - set(stacks):
                self._drop(stack)
        if self._directory is None or not self._directory.is_dir():
            return 0
        kept = {self._file(self._directory, stack) for stack in stacks}
        young = time.time() - _BEING_WRITTEN_SECONDS
        gone = [
            file
            for file in self._directory.glob(f"*{_SUFFIX}*")
            if file not in kept and (file.suffix == _SUFFIX or file.stat().st_mtime < young)
        ]
        for file in gone:
            file.unlink(missing_ok=True)
        return len(gone)

    def _keep(self, stack: str, remembered: Remembered) -> None:
        with self._lock:
            self._drop(stack)
            self._known[stack] = remembered
            self._size += remembered.recording.size
            while self._size > self._limit and len(self._known) > (self._directory is None):
                self._drop(next(iter(self._known)))

    def _drop(self, stack: str) -> None:
        if (dropped := self._known.pop(stack, None)) is not None:
            self._size -= dropped.recording.size

    @staticmethod
    def _file(directory: Path, stack: str) -> Path:
        return directory / f"{hashlib.sha256(stack.encode()).hexdigest()[:32]}{_SUFFIX}"

    def _write(self, directory: Path, stack: str, remembered: Remembered) -> None:
        """Losing one costs a plan, so that a full disk is only told."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, _packed(remembered), _SEAL + stack.encode())
        file = self._file(directory, stack)
        draft = file.with_suffix(f"{_SUFFIX}.draft")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(draft, "wb", opener=_private) as written:
                written.write(_SEAL + nonce + sealed)
            draft.replace(file)
        except OSError as problem:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
                file.unlink(missing_ok=True)  # an older one would be another plan's
            logger.warning(
                f"A recording cannot be kept on disk: {problem.strerror}.", action="record", stack=stack
            )

    def _read(self, stack: str) -> Remembered | Refusal | None:
        if self._directory is None:
            return None
        try:
            content = self._file(self._directory, stack).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            logger.warning(f"A recording cannot be read: {problem.strerror}.", action="replay", stack=stack)
            return None
        if not content.startswith(_SEAL):
            return Refusal.RECORDING_VERSION
        nonce, sealed = content[len(_SEAL) :][:_NONCE_BYTES], content[len(_SEAL) + _NONCE_BYTES :]
        try:
            opened = self._cipher.decrypt(nonce, sealed, _SEAL + stack.encode())
        except (InvalidTag, ValueError):
            logger.warning(
                "A recording cannot be opened: it was sealed by another instance, or is damaged.",
                action="replay",
                stack=stack,
            )
            return None
        return _unpacked(opened)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _packed(remembered: Remembered) -> bytes:
    facts, engine = remembered.facts, remembered.engine
    packed: bytes = msgpack.packb(
        {
            "versions": _VERSIONS,
            "facts": {
                "files": facts.files,
                "commit": facts.commit,
                "variables": facts.variables,
                "engine": facts.engine,
                "providers": dict(facts.providers),
                "environment": facts.environment,
                "state": _of_state(facts.state),
                "blind": sorted(facts.blind),
                "upstreams": [[name, _of_state(state)] for name, state in (facts.upstreams or {}).items()],
            },
            "recording": {
                "unusable": list(remembered.recording.unusable),
                "conversations": [_of_conversation(each) for each in remembered.recording.conversations],
            },
            "planned_at": remembered.planned_at.isoformat(),
            "proved": remembered.proved,
            "reading": remembered.reading,
            "engine": engine and [engine.name, engine.version, dict(engine.providers)],
            "binary": remembered.binary,
            "upstreams": [[u.address, u.backend, dict(u.config), u.workspace] for u in remembered.upstreams],
            "types": sorted(remembered.types),
            "plan_seconds": remembered.plan_seconds,
        }
    )
    return packed


def _of_state(state: StateIdentity | None) -> list[Any] | None:
    return None if state is None else [state.lineage, state.serial, state.digest]


def _of_conversation(conversation: Conversation) -> dict[str, Any]:
    """Neither its environment nor its process' key: both are those of whoever asks again."""
    package = conversation.key.package
    return {
        "package": [package.address, package.version, str(package.binary), package.digest],
        "bound": conversation.key.directory is not None,
        "configure": [conversation.configure_method, conversation.configure],
        "reads": [[read.method, read.request, read.response] for read in conversation.reads],
    }


def _unpacked(content: bytes) -> Remembered | Refusal:
    document = msgpack.unpackb(content, strict_map_key=False)
    if document["versions"] != _VERSIONS:
        return Refusal.RECORDING_VERSION
    facts, engine = document["facts"], document["engine"]
    return Remembered(
        facts=Facts(
            files=facts["files"],
            commit=facts["commit"],
            variables=facts["variables"],
            engine=facts["engine"],
            providers=facts["providers"],
            environment=facts["environment"],
            state=_state(facts["state"]),
            blind=frozenset(map(Refusal, facts["blind"])),
            upstreams={name: _state(state) for name, state in facts["upstreams"]},
        ),
        recording=Recording(
            unusable=tuple(document["recording"]["unusable"]),
            conversations=tuple(map(_conversation, document["recording"]["conversations"])),
        ),
        planned_at=datetime.fromisoformat(document["planned_at"]),
        proved=document["proved"],
        reading=document["reading"],
        engine=engine and Engine(name=engine[0], version=engine[1], providers=engine[2]),
        binary=document["binary"],
        upstreams=tuple(
            Upstream(address=address, backend=backend, config=config, workspace=workspace)
            for address, backend, config, workspace in document["upstreams"]
        ),
        types=frozenset(document["types"]),
        plan_seconds=document["plan_seconds"],
    )


def _state(packed: list[Any] | None) -> StateIdentity | None:
    if packed is None:
        return None
    lineage, serial, digest = packed
    return StateIdentity(lineage=lineage, serial=serial, digest=digest)


_NOWHERE = Directory(path=Path(), device=0, inode=0)
"""Stands for the directory of a process that must run where terraform does, until `get` says which."""


def _conversation(packed: Mapping[str, Any]) -> Conversation:
    address, version, binary, digest = packed["package"]
    method, configure = packed["configure"]
    return Conversation(
        key=Key(
            package=Package(address=address, version=version, binary=Path(binary), digest=digest),
            environment="",
            directory=_NOWHERE if packed["bound"] else None,
        ),
        environment={},
        configure_method=method,
        configure=configure,
        reads=tuple(
            Read(method=called, request=request, response=response)
            for called, request, response in packed["reads"]
        ),
    )
