"""What a commit touches is exact on a monorepo that people do all kinds of things to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.touched import ALLOWED_MS, Walk, walk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def test_what_a_commit_touches_is_what_an_oracle_that_reads_all_files_says(tmp_path: Path) -> None:
    """A sample of the monorepo of 1,000 stacks and 500 commits: edits, links, renames, deletions."""
    outcome = walk(tmp_path, stacks=120, modules=20, commits=60, seed=7)
    assert outcome.wrong == ()
    assert (outcome.commits, outcome.touched > 100, outcome.gone > 0) == (60, True, True)


@pytest.mark.slow
def test_a_thousand_stacks_are_looked_through_in_time(tmp_path: Path) -> None:
    """500 random commits, exactly, each in under 300 ms of work: others may use the machine, too."""
    outcome = walk(tmp_path, stacks=1000, modules=100, commits=500, seed=1)
    assert outcome.wrong == ()
    assert outcome.busiest() < ALLOWED_MS


def test_the_oracle_sees_what_is_left_out(tmp_path: Path) -> None:
    """An inventory that knew of nothing but the stacks' own directories would be found out."""

    class Forgetful(Walk):
        def tree(self, commit: str, paths: Sequence[str]) -> str:
            return super().tree(commit, paths[:1])

    outcome = walk(tmp_path, stacks=30, modules=10, commits=10, seed=7, source=Forgetful)
    assert any("too little ['" in each for each in outcome.wrong)
