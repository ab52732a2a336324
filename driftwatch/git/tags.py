"""Which commit of a branch counts, where tags that somebody has signed say so.

    tags of the branch → in the order of its history → those with a signature → verified → the newest good one

Tags are pushed by more people than may sign, and by programs. So nothing here goes by a date that a tag gives
itself, no more than so many are read and verified, and where that has cut anything off it is said: what is
not looked at must not look like what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from driftwatch.errors import SignatureMissingError
from driftwatch.git import listing
from driftwatch.git.trust import LARGEST_OBJECT, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from driftwatch.git.command import Git
    from driftwatch.git.trust import Trust

TAGS = "refs/driftwatch/tags"
"""Where the remote's tags are in the mirror."""

_MOST_TAGS = 100_000
"""Tags of a branch that are listed."""
_LARGEST_LISTING = 64 << 20
_MOST_READ = 64 << 20
"""Bytes of tags that are read in one look, to find those that carry a signature."""
_LARGEST_BATCH = 4 << 20
_MOST_VERIFIED = 50
"""Tags with a signature that are verified in one look, in the order of the branch's history."""
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tag:
    """An annotated tag: `object` is its own, `shown` its name as it may be printed."""

    commit: str
    object: str
    shown: str
    size: int


@dataclass(slots=True, kw_only=True)
class _Look:
    """What one look came to: why tags were refused, by commit, and whether it went to the end."""

    refused: dict[str, str] = field(default_factory=dict)
    verified: int = 0
    is_cut: bool = False

    def problem(self, name: str) -> SignatureMissingError | None:
        """The error about the newest that was refused, and about what was not looked at."""
        first = next(iter(self.refused.values()), None)
        if not self.is_cut:
            return SignatureMissingError(first) if first else None
        return SignatureMissingError(
            f"{f'{first}; and ' if first else ''}{name} has more tags than are looked at: a good one may be"
            " among the others",
            advice="Remove the tags that nobody needs from the remote, those above all whose signature does"
            " not count.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTags:
    """The tags of one mirror. `shown` says a commit in words, `blobs` gives contents by object hash."""

    name: str
    git: Git
    trust: Trust
    blobs: Callable[[Iterable[str]], Mapping[str, bytes]]
    shown: Callable[[str], str]
    seconds: float

    def newest(self, head: str, since: str | None) -> tuple[str | None, SignatureMissingError | None]:
        """The newest commit up to `head` that a good tag points at, and what is wrong with newer ones.

        It goes on from `since`, where there is one: what does not descend from that is older, wherever a
        merge has put it. Without one it goes on from the newest of the branch's own line (first parents).
        """
        start = since
        if start is None:
            look = _Look()
            start = self._first_good(look, head, None, "--first-parent")
            if start is None and look.is_cut:
                return None, look.problem(self.name)
        look = _Look()
        found = self._first_good(look, head, start)
        return found or start, look.problem(self.name)

    def _first_good(self, look: _Look, head: str, since: str | None, *how: str) -> str | None:
        tags = self._listed(look, head, since)
        if not tags:
            return None
        ordered = [tag for commit in self._in_order(head, since, *how) for tag in tags.get(commit, ())]
        for tag, content in self._signed(look, ordered):
            if look.verified == _MOST_VERIFIED:
                look.is_cut = True
                return None
            look.verified += 1
            why = self._refusal(tag, content)
            if why is None:
                look.refused.pop(tag.commit, None)  # whoever else has tagged it: it counts
                return tag.commit
            if tag.commit not in look.refused:
                said = f"the tag {tag.shown} of {self.name} at {self.shown(tag.commit)} is not used: {why}"
                look.refused[tag.commit] = said
        return None

    def _refusal(self, tag: _Tag, content: bytes | None) -> str | None:
        if content is None:
            return f"it is larger than {LARGEST_OBJECT >> 20} MB"
        return self.trust.refusal(self.git, tag.object, content, of="tag")

    def _listed(self, look: _Look, head: str, since: str | None) -> Mapping[str, Sequence[_Tag]]:
        """The annotated tags of commits after `since`, by commit."""
        printed = self.git.ask(
            *("for-each-ref", f"--merged={head}", *((f"--contains={since}",) if since else ())),
            f"--count={_MOST_TAGS + 1}",
            "--format=%(objecttype) %(*objecttype) %(*objectname) %(objectname) %(objectsize) %(refname)",
            f"{TAGS}/",
            seconds=self.seconds,
            limit=_LARGEST_LISTING,
        )
        lines = printed.decode(errors="replace").splitlines()
        look.is_cut = look.is_cut or len(lines) > _MOST_TAGS
        found: dict[str, list[_Tag]] = {}
        for line in lines[:_MOST_TAGS]:
            kind, of, commit, name, size, ref = line.split(" ", 5)
            if (kind, of) == ("tag", "commit") and commit != since:
                shown = listing.printable(ref.removeprefix(f"{TAGS}/"))[:_LONGEST_NAME]
                tag = _Tag(commit=commit, object=name, shown=shown, size=int(size))
                found.setdefault(commit, []).append(tag)
        return found

    def _in_order(self, head: str, since: str | None, *how: str) -> Sequence[str]:
        """The commits with tags, each before those that it descends from."""
        printed = self.git.ask(
            *("log", "--topo-order", *how, "--simplify-by-decoration", f"--decorate-refs={TAGS}/*"),
            *("--format=%H", head, *((f"^{since}",) if since else ()), "--"),
            seconds=self.seconds,
        )
        return printed.decode().split()

    def _signed(self, look: _Look, ordered: Sequence[_Tag]) -> Iterator[tuple[_Tag, bytes | None]]:
        """Those that carry a signature, of whatever worth; without content those too large to be read."""
        read = 0
        for batch in _batches(ordered):
            small = {tag.object: tag for tag in batch if tag.size <= LARGEST_OBJECT}
            read += sum(tag.size for tag in small.values())
            if read > _MOST_READ:
                look.is_cut = True
                return
            contents = self.blobs(small)
            for tag in batch:
                content = contents.get(tag.object)
                if content is None or signature_of(content, of="tag") is not None:
                    yield tag, content


def _batches(tags: Sequence[_Tag]) -> Iterator[Sequence[_Tag]]:
    """As many at once as are small enough together to be held in memory."""
    batch: list[_Tag] = []
    size = 0
    for tag in tags:
        weight = min(tag.size, LARGEST_OBJECT)
        if batch and size + weight > _LARGEST_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(tag)
        size += weight
    if batch:
        yield batch
