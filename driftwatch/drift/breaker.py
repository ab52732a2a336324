"""The mass deletion breaker.

With the credentials of another account, in a wrong region or against an empty endpoint every resource looks
deleted, and terraform says so without an error. So when much is gone at once, the likelier reason is that the
detector looks in the wrong place. The verdict stays; people read the sentence, and nothing repairs itself.
"""

from __future__ import annotations

MAX_DELETED = 10
MAX_SHARE = 0.20
TINY_STATE = 5
"""Below this number of resources one deletion is over any share: only all of them, and over one, trip it."""


def mass_deletion(deleted: int, total: int) -> str | None:
    """A sentence where suspiciously many, `deleted` of `total` in the state, are gone, else None."""
    if not _trips(deleted, total):
        return None
    share = f"{deleted / total:.0%}"
    return (
        f"{deleted} of {total} resources in the state ({share}) are not found in the cloud. That many "
        "at once are seldom deletions: check that the credentials are of the right account, that region and "
        "endpoint are the right ones, and that the provider is not configured for another environment."
    )


def _trips(deleted: int, total: int) -> bool:
    if total < TINY_STATE:
        return deleted == total and deleted > 1
    return deleted > MAX_DELETED or deleted / total > MAX_SHARE
