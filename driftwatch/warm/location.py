"""Which provider processes may serve stacks in different directories, and where a provider must run for that.

A provider resolves a relative path from its working directory, which terraform makes its own: a `local_file`
read from elsewhere would look deleted. So a process serves one directory, but for a few heavy providers that
talk to a cloud and to nothing else. Even these take paths (`shared_credentials_files`, the `source` of a
bucket object). What they are sent is looked through for anything that could be one; then they too run where
terraform does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from driftwatch.warm import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

INDEPENDENT = frozenset(
    {
        "hashicorp/aws",
        "hashicorp/google",
        "hashicorp/google-beta",
        "hashicorp/azurerm",
        "driftwatch/sandbox",
    }
)
"""Providers that are worth it (hundreds of MB, seconds to start) and read files only where told to."""

STATELESS = frozenset({"hashicorp/aws", "driftwatch/sandbox"})
"""Providers of which it is known that they plan without asking anybody, and keep no answers between calls.

Others' plans are asked for again in a replay, as some look things up (`helm_release`, the image of a
`google_compute_instance_template`), and their processes live for minutes only, as some remember what they
were told (azurerm's key vaults).
"""

_LONGEST_PATH = 4096


def is_stateless(address: str) -> bool:
    """As `is_independent`, for `STATELESS`."""
    return address.partition("/")[2] in STATELESS


def is_independent(address: str) -> bool:
    """`registry.terraform.io/hashicorp/aws`, whatever the registry."""
    return address.partition("/")[2] in INDEPENDENT


class Surroundings:
    """What is in a working directory: whether a text could name something in it, as it is just then.

    A plan itself may put files there (`archive_file`), and have another resource read them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def are_named_in(self, texts: Iterable[str]) -> bool:
        """True where any of these could be a relative path to something that is there, or leads out."""
        names = self._names()
        return any(_could_be_path(text, names) for text in texts)

    def _names(self) -> frozenset[str]:
        try:
            return frozenset(os.listdir(self._directory))  # noqa: PTH208  (names are all that is needed)
        except OSError:
            return frozenset()

    def are_named_in_environment(self, environment: Mapping[str, str]) -> bool:
        return self.are_named_in(
            part for name, value in environment.items() if name != "PATH" for part in value.split(os.pathsep)
        )

    def are_named_in_request(self, request: bytes) -> bool:
        """The same for all texts in a request. One that cannot be read may name anything."""
        try:
            return self.are_named_in(wire.strings(request))
        except wire.MalformedMessageError:
            return True


def _could_be_path(text: str, names: frozenset[str]) -> bool:
    if len(text) > _LONGEST_PATH or text.startswith("/"):
        return False
    first, slash, _ = text.partition("/")
    return first in names or (first in (".", "..") and bool(slash)) or text in (".", "..")
