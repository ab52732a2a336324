"""Fetches the submodules of a checkout, where the settings want them: what they name, nobody here has vetted.

    .gitmodules → each URL is looked at as a repository's own is → fetched → the same in each of them

A URL in a commit says no more than whoever may push wants it to. It is held to https and ssh, to hosts that
are no machine's metadata, and to no service of this machine unless the repository itself is served there;
git gets each of them from us as we have looked at it, and follows no redirect to another.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from driftwatch.config import values
from driftwatch.config.hosts import is_loopback_name
from driftwatch.errors import UnsafeRepositoryError
from driftwatch.git.command import HARDENING, Ending, Git, failure
from driftwatch.git.listing import SUBMODULE, printable
from driftwatch.git.remote import host_of, pinned, protocol_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from driftwatch.git.remote import Remote

_PROTOCOLS = "https:ssh"
_NO_REDIRECTS = (("http.followRedirects", "false"),)
_DEEPEST = 8
"""Submodules of submodules: one that holds itself would go on until the disk is full."""
_LARGEST_LIST = 1 << 20
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodules:
    """How to fetch those of one repository's checkouts. `home` is the mirror's directory, `lock` is held."""

    remote: Remote
    home: Path
    lock: int
    cap_mb: int
    seconds: float
    stop: threading.Event

    def add(self, checkout: Path) -> None:
        """Fetches all of them. Raises UnsafeRepositoryError, RepositoryTooLargeError and others."""
        self._add(checkout, checkout, 0)

    def _add(self, directory: Path, checkout: Path, depth: int) -> None:
        named = list(self._named(directory))
        if not named:
            return
        if depth == _DEEPEST:
            raise UnsafeRepositoryError(
                f"the submodules of {self.remote.name} hold others more than {_DEEPEST} deep"
            )
        pins = tuple(pin for _, url in named for pin in self._vetted(url))
        self._update(directory, checkout, [(f"{key}.url", url) for key, url in named], pins)
        for path in self._paths(directory):
            if os.path.lexists(directory / path / ".git"):
                self._add(directory / path, checkout, depth + 1)

    def _named(self, directory: Path) -> Iterator[tuple[str, str]]:
        """The submodules of one directory, as `submodule.NAME`, with all URLs that are said of each."""
        file = directory / ".gitmodules"
        if not file.is_file() or file.is_symlink():
            return
        output = self._git(directory, ()).run(
            *("config", "-z", "--file", str(file), "--get-regexp", r"^submodule\..*\.url$"),
            limit=_LARGEST_LIST,
        )
        if output.ending is not Ending.EXITED:
            raise failure(f"reading the submodules of {self.remote.name}", output)
        for entry in output.stdout.decode(errors="surrogateescape").split("\0"):
            key, separator, url = entry.partition("\n")
            if separator:
                yield key.removesuffix(".url"), url

    def _vetted(self, url: str) -> tuple[tuple[str, str], ...]:
        """What ties git to the host of a URL as it was looked at. Raises UnsafeRepositoryError."""
        shown = printable(url)[:_LONGEST_SHOWN]
        try:
            values.repository_url(url)
        except ValueError as exc:
            raise self._refused(shown, f"it {exc}") from exc
        if protocol_of(url) not in _PROTOCOLS.split(":"):
            raise self._refused(shown, "it must be https or ssh")
        hosts = (host_of(each)[0] for each in (url, self.remote.url))
        if [is_loopback_name(host) for host in hosts] == [True, False]:
            raise self._refused(shown, "it points to this machine")
        return pinned(url, name=self.remote.name, shown=f"that of a submodule, {shown}")

    def _refused(self, shown: str, why: str) -> UnsafeRepositoryError:
        return UnsafeRepositoryError(
            f"the URL of a submodule of {self.remote.name}, {shown}, is refused: {why}",
            advice="Correct .gitmodules; only https and ssh URLs, written out in full, are followed.",
        )

    def _paths(self, directory: Path) -> Sequence[str]:
        """Where submodules lie, of those that the commit has."""
        printed = self._git(directory, ()).ask(
            "ls-files", "-s", "-z", "--", seconds=self.seconds, limit=self.cap_mb << 20
        )
        entries = (entry.partition("\t") for entry in printed.decode(errors="surrogateescape").split("\0"))
        return [path for words, _, path in entries if words.startswith(f"{SUBMODULE} ")]

    def _update(
        self,
        directory: Path,
        checkout: Path,
        urls: Sequence[tuple[str, str]],
        pins: Sequence[tuple[str, str]],
    ) -> None:
        # git's own children do not get our settings: they read them in what stands for a user's own.
        (self.home / "gitconfig.submodules").write_text(_for_children(pins))
        git = self._git(directory, (*self.remote.settings, *pins, *urls))
        cap = self.cap_mb << 20
        output = git.run(
            *("submodule", "--quiet", "update", "--init", "--checkout"),
            seconds=self.seconds,
            over_the_cap=lambda: _bytes_under(checkout) > cap,
            holding=self.lock,
        )
        if output.succeeded and _bytes_under(checkout) > cap:
            output = replace(output, ending=Ending.OVER_THE_CAP)
        if not output.succeeded:
            submodule = replace(self.remote, shown="that of a submodule")
            raise submodule.failure(output, seconds=self.seconds, cap_mb=self.cap_mb, received=0)

    def _git(self, directory: Path, settings: Sequence[tuple[str, str]]) -> Git:
        return Git(
            home=self.home,
            prefix=("-C", str(directory)),
            variables={
                **self.remote.variables,
                "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
                "GIT_CONFIG_GLOBAL": str(self.home / "gitconfig.submodules"),
            },
            # Their trees are not looked at before they are written: a link that is no link leads nowhere.
            settings=(*HARDENING, ("core.symlinks", "false"), *_NO_REDIRECTS, *settings),
            stop=self.stop,
        )


def _for_children(pins: Sequence[tuple[str, str]]) -> str:
    lines = [f'\t{key.partition(".")[2]} = "{value}"' for key, value in (*_NO_REDIRECTS, *pins)]
    return "\n".join(["[core]", "\tsymlinks = false", "\thooksPath = /dev/null", "[http]", *lines, ""])


def _bytes_under(directory: Path) -> int:
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  (files by the thousand)
    return total
