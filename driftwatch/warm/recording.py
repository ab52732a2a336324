"""What a plan asked its providers, and what they said: enough to ask again. It holds secrets.

In memory only. Whoever stores one encrypts it; `version` says which driftwatch's recordings these are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from driftwatch.warm import wire

if TYPE_CHECKING:
    from driftwatch.warm.pool import Key

VERSION = 1
"""Of the form of recordings, and of the rules of what may be in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One ReadResource or ReadDataSource. `method` is the whole path of the call."""

    method: str
    request: bytes = field(repr=False)
    response: bytes = field(repr=False)

    @property
    def type_name(self) -> str:
        """The resource's or data source's type, which is no secret."""
        return wire.type_name(self.request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One provider configuration: how it was configured, and the reads in the order of their answers."""

    key: Key
    environment: dict[str, str] = field(repr=False)
    configure_method: str
    configure: bytes = field(repr=False)
    reads: tuple[Read, ...]

    @property
    def scope(self) -> str:
        """What a cloud counts requests by: whose credentials, and where. Opaque, and no secret."""
        where = wire.location(self.configure)
        return f"{self.key.package.address} {where or '-'} {self.key.environment[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One plan's conversations. `unusable` names what in them a replay would not see; empty: nothing."""

    conversations: tuple[Conversation, ...]
    unusable: tuple[str, ...] = ()
    version: int = VERSION

    @property
    def reads(self) -> int:
        return sum(len(each.reads) for each in self.conversations)

    def count(self, name: str) -> int:
        """How many calls of this name there are, such as ReadResource."""
        return sum(wire.name_of(read.method) == name for each in self.conversations for read in each.reads)

    @property
    def scopes(self) -> dict[str, int]:
        """How many reads there are by scope."""
        counted: Counter[str] = Counter()
        for each in self.conversations:
            counted[each.scope] += len(each.reads)
        return dict(counted)

    @property
    def is_bound(self) -> bool:
        """Whether any provider must run where terraform did: it may read files there."""
        return any(each.key.directory is not None for each in self.conversations)

    @property
    def size(self) -> int:
        """Bytes of all requests and responses."""
        return sum(
            len(each.configure) + sum(len(read.request) + len(read.response) for read in each.reads)
            for each in self.conversations
        )
