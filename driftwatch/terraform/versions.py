"""Versions and version constraints as Terraform means them, which is not as PEP 440 or semver mean them.

The rules are those of hashicorp/go-version (`version.go`, `constraint.go`), oddities included: `~> 1.5` lets
the last segment named grow, a pre-release satisfies only a constraint that names a pre-release of the same
version, and `beta` comes before `beta.1` but after `beta.x`. Terraform compares
`required_version` with the core of its own version, so that 1.12.0-beta1 counts as 1.12.0 there, and refuses
pre-releases in it (`configs.CheckCoreVersionRequirements`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS = r"(?:\.[0-9A-Za-z~-]+)*"
_VERSION = re.compile(
    r"v?(?P<segments>[0-9]+(?:\.[0-9]+)*)"
    rf"(?:-(?P<number>[0-9]+[0-9A-Za-z~-]*{_WORDS})|-?(?P<word>[A-Za-z~-]+[0-9A-Za-z~-]*{_WORDS}))?"
    rf"(?:\+[0-9A-Za-z~-]+{_WORDS})?"
)
"""A pre-release that begins with a letter needs no dash before it: `1.6.0beta1`."""

_TERM = re.compile(r"\s*(?P<operator><=|>=|!=|~>|<|>|=|)\s*(?P<version>[^\s=!<>~]\S*)\s*", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]+")
_LARGEST = (1 << 63) - 1
_LEAST_SEGMENTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`segments` are padded to three; `named` is how many were written, which `~>` depends on."""

    segments: tuple[int, ...]
    pre: tuple[str, ...] = ()
    named: int = _LEAST_SEGMENTS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `1.5`, `v1.5.7`, `1.6.0-beta1+build`; raises ValueError on anything else.

        What stands behind a `+` says how it was built, and counts for nothing.
        """
        match = _VERSION.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"not a version: {text!r}")
        written = match["segments"].split(".")
        if any(len(segment) > len(str(_LARGEST)) or int(segment) > _LARGEST for segment in written):
            raise ValueError(f"not a version that fits: {text[:40]!r}")
        segments = tuple(map(int, written))
        pre = match["word"] or match["number"]
        return cls(
            segments=segments + (0,) * (_LEAST_SEGMENTS - len(segments)),
            pre=tuple(pre.split(".")) if pre else (),
            named=len(segments),
        )

    @property
    def core(self) -> Version:
        return Version(segments=self.segments, named=self.named)

    def compare(self, other: Version) -> int:
        """-1, 0 or 1, as this one is lower, equal or higher."""
        for mine, theirs in zip_longest(self.segments, other.segments, fillvalue=0):
            if mine != theirs:
                return -1 if mine < theirs else 1
        if len(self.segments) != len(other.segments):
            return 0
        if not (self.pre and other.pre):
            return bool(other.pre) - bool(self.pre)
        parts = (_order(*pair) for pair in zip_longest(self.pre, other.pre, fillvalue=""))
        return next((order for order in parts if order), 0)


def _order(mine: str, theirs: str) -> int:
    """Of two parts of pre-releases: numbers come before words, and what is absent before numbers alone."""
    if not (mine and theirs):
        there = 1 if _is_number(mine or theirs) else -1
        return there if mine else -there
    left, right = _rank(mine), _rank(theirs)
    return (left > right) - (left < right)


def _rank(part: str) -> tuple[bool, int, str]:
    number = _is_number(part)
    return not number, int(part) if number else 0, part


def _is_number(part: str) -> bool:
    """As Go's ParseInt has it, which takes a sign and stops at 64 bits."""
    return bool(_NUMBER.fullmatch(part)) and len(part) <= len(str(_LARGEST)) and int(part) <= _LARGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    operator: str
    wanted: Version

    def allows(self, version: Version) -> bool:
        order = version.compare(self.wanted)
        if self.operator in ("", "="):
            return order == 0
        if self.operator == "!=":
            return order != 0
        if not self._same_kind(version):
            return False
        if self.operator == "~>":
            return self._near(version, order)
        return order in {">": (1,), ">=": (1, 0), "<": (-1,), "<=": (-1, 0)}[self.operator]

    def _same_kind(self, version: Version) -> bool:
        """Ranges hold releases only; one that names a pre-release holds others of the same version too."""
        if not version.pre:
            return True
        return bool(self.wanted.pre) and version.segments == self.wanted.segments

    def _near(self, version: Version, order: int) -> bool:
        if order < 0 or (self.wanted.pre and not version.pre):
            return False
        if len(self.wanted.segments) > len(version.segments):
            return False
        fixed = self.wanted.named - 1
        return version.segments[:fixed] == self.wanted.segments[:fixed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A comma-separated list of terms such as `>= 1.5, < 2`; all of them must hold."""

    text: str
    terms: tuple[_Term, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError on what terraform would call malformed."""
        terms = []
        for part in text.split(","):
            match = _TERM.fullmatch(part)
            if match is None:
                raise ValueError(f"not a version constraint: {text!r}")
            terms.append(_Term(operator=match["operator"], wanted=Version.parse(match["version"])))
        return cls(text=text.strip(), terms=tuple(terms))

    def allows(self, version: Version) -> bool:
        return all(term.allows(version) for term in self.terms)


def allowed_by_all(version: str, required: Iterable[str]) -> bool:
    """Whether an engine of this version would accept every one of these `required_version`s.

    What cannot be read, and pre-releases, which terraform refuses there, are left for terraform to say.
    """
    core = Version.parse(version).core
    return all(constraint.allows(core) for constraint in _readable(required))


def _readable(required: Iterable[str]) -> Iterable[Constraint]:
    for text in required:
        try:
            constraint = Constraint.parse(text)
        except ValueError:
            continue
        if not any(term.wanted.pre for term in constraint.terms):
            yield constraint


def example(required: Iterable[str]) -> str | None:
    """A version to install for all of these `required_version`s: the newest that one of them names.

    None where none of those named would do: which versions there are is only known elsewhere.
    """
    readable = list(_readable(required))
    named = [term.wanted for constraint in readable for term in constraint.terms]
    best: Version | None = None
    for version in named:
        fits = len(version.segments) == _LEAST_SEGMENTS and all(each.allows(version) for each in readable)
        if fits and (best is None or version.compare(best) > 0):
            best = version
    return ".".join(map(str, best.segments)) if best else None


def newest_first(version: str) -> SortKey:
    """Sorts versions, the newest first; what is none comes last."""
    try:
        return SortKey(Version.parse(version))
    except ValueError:
        return SortKey(None)


@dataclass(frozen=True, slots=True)
class SortKey:
    """The order of a version among others, downwards."""

    version: Version | None

    def __lt__(self, other: SortKey) -> bool:
        if self.version is None or other.version is None:
            return self.version is not None
        return self.version.compare(other.version) > 0
