"""Who may do what: nobody may do anything unless the configuration says so.

Pure. People are those under `users:`; what they press in Slack is theirs by their member id there, never by a
name, which anybody may take.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from driftwatch.model import Right

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.config.settings import PersonSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is known, and what they may do with which stacks (ids or globs)."""

    name: str
    rights: frozenset[Right]
    stacks: tuple[str, ...]

    def may(self, right: Right, stack: str) -> bool:
        """Whether they have a right for a stack, given by its id."""
        if right not in self.rights and Right.ADMIN not in self.rights:
            return False
        return any(stack == glob or fnmatchcase(stack, glob) for glob in self.stacks)


@dataclass(frozen=True, slots=True)
class People:
    """All who are known."""

    by_member: Mapping[str, Person]

    @classmethod
    def compile(cls, users: Mapping[str, PersonSettings]) -> People:
        """From the section `users`."""
        known: dict[str, Person] = {}
        for name, settings in users.items():
            person = Person(
                name=name, rights=frozenset(map(Right, settings.rights)), stacks=tuple(settings.stacks)
            )
            known |= dict.fromkeys(settings.slack, person)
        return cls(known)

    def in_slack(self, member: str) -> Person | None:
        """Who a member id of Slack stands for."""
        return self.by_member.get(member)
