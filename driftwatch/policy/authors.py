"""Whose change a proposal is about, and whether somebody else has approved it.

Pure. Git knows people by other names than the configuration does: `users.<name>.git` says which are whose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.model import ProposalKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from driftwatch.model import Proposal
    from driftwatch.policy.rights import Person


def authors_of(proposal: Proposal) -> frozenset[str]:
    """Who made the change, as far as is known, without case; who rolls back has chosen the commit."""
    draft = proposal.draft
    chosen = draft.created_by if draft.kind is ProposalKind.ROLLBACK else None
    return frozenset(who(each) for each in (draft.author, *draft.authors, chosen) if each is not None)


def only_authors(names: Iterable[str], proposal: Proposal, people: Mapping[str, Person] | None) -> bool:
    """Whether none of these people is somebody else than who made the change; true of nobody at all."""
    authors = authors_of(proposal)
    return all(authors & known_as(name, people or {}) for name in names)


def known_as(name: str, people: Mapping[str, Person]) -> frozenset[str]:
    """The names by which somebody is known, here and in Git, without case."""
    mine = who(name)
    aliases = (alias for each, person in people.items() if who(each) == mine for alias in person.git)
    return frozenset((mine, *map(who, aliases)))


def who(name: str) -> str:
    """A name without its case, and what stands around it."""
    return name.strip().casefold()
