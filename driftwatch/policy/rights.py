"""Who may do what: nobody may do anything unless the configuration says so.

Pure. People are those under `users:`. What they press in Slack is theirs by their member id there, and what
they say in a pull request by their login on its host; never by a name, which anybody may take. A token
speaks for one of them and may have less of their rights, never more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from driftwatch.config.patterns import is_among
from driftwatch.model import Right

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.config.settings import PersonSettings
    from driftwatch.model import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is known, and what they may do with which stacks (ids or globs).

    `within` are further ids or globs, of which one must match too. `git` are their names in Git.
    """

    name: str
    rights: frozenset[Right]
    stacks: tuple[str, ...]
    within: tuple[str, ...] = ("*",)
    git: tuple[str, ...] = ()

    def may(self, right: Right, stack: str) -> bool:
        """Whether they have a right for a stack, given by its id."""
        if right not in self.rights and Right.ADMIN not in self.rights:
            return False
        return is_among(stack, self.stacks) and is_among(stack, self.within)

    def by(self, token: Token) -> Person:
        """What is left of them where a token speaks for them."""
        rights = self.rights
        if token.rights is not None:
            whole = frozenset(Right) if Right.ADMIN in rights else rights
            rights = whole & frozenset(token.rights)
        return replace(self, rights=rights, within=token.stacks if token.stacks is not None else self.within)


@dataclass(frozen=True, slots=True)
class People:
    """All who are known."""

    by_member: Mapping[str, Person]
    by_name: Mapping[str, Person]
    by_login: Mapping[tuple[str, str], Person] = field(default_factory=dict)
    """By the forge's kind and the login there, with its host or without as it is configured.

    In small letters: forges do not tell capitals apart.
    """

    @classmethod
    def compile(cls, users: Mapping[str, PersonSettings]) -> People:
        """From the section `users`."""
        known: dict[str, Person] = {}
        named: dict[str, Person] = {}
        logins: dict[tuple[str, str], Person] = {}
        for name, settings in users.items():
            person = Person(
                name=name,
                rights=frozenset(map(Right, settings.rights)),
                stacks=tuple(settings.stacks),
                git=tuple(settings.git),
            )
            known |= dict.fromkeys(settings.slack, person)
            for kind, theirs in (("github", settings.github), ("gitlab", settings.gitlab)):
                logins |= {(kind, login.casefold()): person for login in theirs}
            named[name] = person
        return cls(known, named, logins)

    def in_slack(self, member: str) -> Person | None:
        """Who a member id of Slack stands for."""
        return self.by_member.get(member)

    def on_forge(self, kind: str, login: str, host: str) -> Person | None:
        """Whom a login stands for on a forge, given by its kind and host.

        One without a host is configured only where all repositories of that kind are on one.
        """
        if "/" in login:
            return None
        with_host, without = f"{host}/{login}".casefold(), login.casefold()
        return self.by_login.get((kind, with_host)) or self.by_login.get((kind, without))

    def with_token(self, token: Token) -> Person | None:
        """Whom a token speaks for, with what it has of their rights; None where they are known no more."""
        person = self.by_name.get(token.user)
        return person.by(token) if person else None
