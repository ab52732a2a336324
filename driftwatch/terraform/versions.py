"""Versions and version constraints as Terraform means them, which is not as PEP 440 or semver mean them.

The rules are those of hashicorp/go-version (`constraint.go`): `~> 1.5` lets the last segment named grow, a
pre-release satisfies only a constraint that names a pre-release of the same version. Terraform compares
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

_VERSION = re.compile(
    r"v?(?P<segments>\d+(?:\.\d+)*)(?:-(?P<pre>[0-9A-Za-z~-]+(?:\.[0-9A-Za-z~-]+)*))?(?:\+[0-9A-Za-z~.-]+)?"
)
_TERM = re.compile(r"\s*(?P<operator>=|!=|>=|<=|~>|>|<|)\s*(?P<version>[^\s=!<>~]\S*)\s*")
_LEAST_SEGMENTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`segments` are padded to three; `named` is how many were written, which `~>` depends on."""

    segments: tuple[int, ...]
    pre: tuple[str, ...] = ()
    named: int = _LEAST_SEGMENTS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `1.5`, `v1.5.7`, `1.6.0-beta1+build`; raises ValueError on anything else."""
        match = _VERSION.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"not a version: {text!r}")
        segments = tuple(int(segment) for segment in match["segments"].split("."))
        return cls(
            segments=segments + (0,) * (_LEAST_SEGMENTS - len(segments)),
            pre=tuple(match["pre"].split(".")) if match["pre"] else (),
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
        if not (self.pre and other.pre):
            return bool(other.pre) - bool(self.pre)
        return _compare(_ranks(self.pre), _ranks(other.pre))


def _ranks(parts: tuple[str, ...]) -> list[tuple[bool, int, str]]:
    """Numbers come before words, and are compared as numbers."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _compare(mine: list[tuple[bool, int, str]], theirs: list[tuple[bool, int, str]]) -> int:
    return (mine > theirs) - (mine < theirs)


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
