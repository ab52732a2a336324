"""Order: what has to be applied, or seen to be well, before a proposal is.

    what does its stack depend on, all the way up? → canaries → are they under way? → do they stand? → go

A stack that others depend on comes before them, in whatever repository, and a canary before all of its own
one. What people have approved waits for what is under way, and for nothing else; what goes by itself also
waits until the others have been looked at at the same commit, and does not follow what has ended badly; nor
does it go while what it may depend on is in a repository that was never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from driftwatch.config.patterns import is_among
from driftwatch.model import ProposalKind, ProposalState
from driftwatch.pipeline.admissions import is_automatic
from driftwatch.policy.admission import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from driftwatch.model import Proposal, StackId, StackStatus
    from driftwatch.policy.graph import Graph
    from driftwatch.store import Page

UNDER_WAY = tuple(state for state in ProposalState if state.is_open)

MOST = 10_000
"""Proposals that are looked at at once: those that wait must not hide the ones behind them."""


class Book(Protocol):
    """The store, as the order of proposals depends on it."""

    def proposals(self, *, states: Collection[ProposalState], limit: int) -> Page[Proposal]: ...

    def latest_proposals(self, stack: StackId) -> Sequence[Proposal]:
        """The latest one of each kind."""

    def status_of(self, stack: StackId, now: datetime) -> StackStatus | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Knows the stacks, and by whom each wants to be preceded."""

    book: Book
    graph: Callable[[Collection[StackId]], Graph]
    """Draws the graph of all stacks that are known, and of those that it is given."""
    canary: Sequence[str]
    clock: Callable[[], datetime]

    def first(self, proposal: Proposal) -> Held | None:
        """Why something else comes before it; None where nothing does."""
        stack, graph = proposal.draft.stack, self.graph(())
        waits = graph.upstream.get(stack) or stack in graph.in_the_dark or stack in graph.unread
        if not self.canary and not waits:
            return None
        others, there = self.book.proposals(states=UNDER_WAY, limit=MOST).items, graph.upstream.keys()
        # One that was taken out of the code depends on nothing, and what is applied to it still comes first.
        known = self.graph({other.draft.stack for other in others} - there).upstream
        upstream = _above(stack, known)
        canaries = set() if self.is_canary(stack) else self._canaries(stack, known) - upstream
        for other in sorted(filter(_is_wanted, others), key=lambda each: each.id):
            if other.draft.stack in upstream:
                why = f"{stack} depends on that stack."
                return _held(
                    "upstream_first", f"Proposal {other.id} of {other.draft.stack} comes first: {why}"
                )
            if other.draft.stack in canaries:
                why = "that stack is a canary, and is proved before the others follow."
                return _held("canary_first", f"Proposal {other.id} of {other.draft.stack} comes first: {why}")
        if not is_automatic(proposal):
            return None
        for each in (stack, *sorted(upstream, key=str)):
            if each in graph.unread:
                sentence = (
                    f"{graph.unread[each]} was never read yet, and {each} may depend on a stack of it."
                    f"{'' if each == stack else f' {stack} depends on {each}.'}"
                )
                return _held("upstream_unread", sentence)
        return self._unsound(proposal, upstream & there, "upstream", "depends on it") or self._unsound(
            proposal, canaries & there, "canary", "follows it as its canary"
        )

    def is_canary(self, stack: StackId) -> bool:
        """Whether a stack is repaired before the others."""
        return is_among(str(stack), self.canary)

    def _canaries(self, stack: StackId, known: Iterable[StackId]) -> set[StackId]:
        mine = (each for each in known if each.repository == stack.repository)
        return {each for each in mine if self.is_canary(each)}

    def _unsound(self, proposal: Proposal, stacks: Iterable[StackId], word: str, follows: str) -> Held | None:
        """Why one of these does not stand: it ended badly, or nobody has looked at it at this commit."""
        draft = proposal.draft
        for stack in sorted(stacks, key=str):
            status = self.book.status_of(stack, self.clock())
            latest = max(self.book.latest_proposals(stack), key=lambda each: each.id, default=None)
            is_well = status is not None and not status.open_findings and not status.suspended
            if latest is not None and latest.state.ended_badly and not is_well:
                sentence = f"Proposal {latest.id} of {stack} is {latest.state}, and {draft.stack} {follows}."
                return _held(f"{word}_failed", sentence)
            if draft.kind is not ProposalKind.DEPLOY or stack.repository != draft.stack.repository:
                continue
            if status is None or status.commit != draft.commit:
                sentence = (
                    f"{stack} was not looked at at {draft.commit[:10]} yet, and {draft.stack} {follows}."
                )
                return _held(f"{word}_unseen", sentence)
        return None


def _above(stack: StackId, known: Mapping[StackId, Collection[StackId]]) -> set[StackId]:
    """All that a stack depends on, directly or by others."""
    found: set[StackId] = set()
    ahead = [stack]
    while ahead:
        more = set(known.get(ahead.pop(), ())) - found
        found |= more
        ahead += more
    return found


def _is_wanted(proposal: Proposal) -> bool:
    """Whether somebody, or something, has said that it is to be applied."""
    return proposal.state is not ProposalState.PROPOSED or proposal.draft.automatic


def _held(reason: str, sentence: str) -> Held:
    return Held(reason=reason, sentence=sentence)
