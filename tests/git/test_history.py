"""Who wrote what is not applied yet: the commits since a baseline that touched a stack's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import RepositoryError, RepositoryTooLargeError, UnsafeRepositoryError
from driftwatch.model import KEPT_COMMITS

if TYPE_CHECKING:
    from .conftest import Mirror, Upstream

STACK = ("envs/prod",)


def test_only_commits_since_the_baseline_that_touched_the_paths_are_told(
    upstream: Upstream, mirror: Mirror
) -> None:
    """Newest first, with author, date and subject; a commit elsewhere is nobody's reason."""
    upstream.commit({"envs/prod/old.tf": "# old\n"})
    base = upstream.head()
    first = upstream.commit({"envs/prod/more.tf": "# more\n"})
    upstream.commit({"elsewhere/main.tf": "# another stack\n"})
    second = upstream.commit({"envs/prod/more.tf": "# still more\n"})
    mirror.fetch()

    told = mirror.history(base, second, STACK)

    assert [each.id for each in told] == [second, first]
    assert [(each.author, each.subject) for each in told] == [("Ann", "commit 4"), ("Ann", "commit 2")]
    assert all(each.at.tzinfo is not None for each in told)
    assert mirror.history(base, second, ("elsewhere", "nowhere")) != ()
    assert mirror.history(second, second, STACK) == ()


def test_a_stack_at_the_repositorys_root_is_touched_by_every_commit(
    upstream: Upstream, mirror: Mirror
) -> None:
    """A merge is told where it changed something itself, and what it brought is."""
    base = upstream.head()
    upstream.git("checkout", "--quiet", "-b", "topic")
    topic = upstream.commit({"topic.tf": "# topic\n"})
    upstream.git("checkout", "--quiet", "main")
    main = upstream.commit({"main.tf": "# main\n"})
    upstream.git("merge", "--quiet", "--no-edit", "topic")
    commit = mirror.fetch().commit

    assert {each.id for each in mirror.history(base, commit, (".",))} >= {topic, main}
    assert [each.id for each in mirror.history(base, commit, ("topic.tf",))] == [topic]


def test_at_most_so_many_are_told(upstream: Upstream, mirror: Mirror) -> None:
    base = upstream.head()
    for number in range(KEPT_COMMITS + 2):
        upstream.commit({"envs/prod/more.tf": f"# {number}\n"})
    commit = mirror.fetch().commit

    assert len(mirror.history(base, commit, STACK)) == KEPT_COMMITS


def test_all_authors_are_told_whatever_they_touched(
    upstream: Upstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more commits than the latest ones; where there are too many, nobody is told rather than some."""
    base = upstream.head()
    upstream.git("commit", "--quiet", "--allow-empty", "-m", "x", "--author", "Ümit <u@example.com>")
    for number in range(KEPT_COMMITS + 2):
        upstream.commit({"elsewhere.tf": f"# {number}\n"})
    commit = mirror.fetch().commit

    assert mirror.authors(base, commit) == {"Ann", "Ümit"}
    assert mirror.authors(commit, commit) == frozenset()
    monkeypatch.setattr("driftwatch.git.mirror._MOST_AUTHORED", KEPT_COMMITS + 2)
    with pytest.raises(RepositoryTooLargeError, match="more than 22 commits"):
        mirror.authors(base, commit)
    with pytest.raises(RepositoryError):
        mirror.authors("1" * 40, commit)
    with pytest.raises(UnsafeRepositoryError):
        mirror.authors("--all", commit)


def test_where_history_was_rewritten_those_since_the_same_files_are_told(
    upstream: Upstream, mirror: Mirror
) -> None:
    """The baseline's commit is gone from everywhere; its files are known by their digest."""
    gone = "1" * 40
    base = upstream.head()
    new = upstream.commit({"envs/prod/more.tf": "# more\n"})
    mirror.fetch()
    tree = mirror.tree(base, STACK)

    assert [each.id for each in mirror.history(gone, new, STACK, tree=tree)] == [new]
    assert [each.id for each in mirror.history(gone, new, STACK)] == [new, base]
    assert [each.id for each in mirror.history(None, new, STACK, tree="never")] == [new, base]


def test_a_base_that_is_still_there_though_it_was_forced_away_is_compared_with(
    upstream: Upstream, mirror: Mirror
) -> None:
    """What the new history has beyond the fork is told."""
    abandoned = upstream.commit({"envs/prod/more.tf": "# abandoned\n"})
    mirror.fetch()
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    new = upstream.commit({"envs/prod/other.tf": "# other\n"})
    mirror.fetch()

    assert [each.id for each in mirror.history(abandoned, new, STACK)] == [new]


def test_what_a_commit_says_of_itself_cannot_break_the_reading(upstream: Upstream, mirror: Mirror) -> None:
    """Names of no words, endless subjects, bytes that are no text and dates that never come."""
    base = upstream.head()
    upstream.write({"envs/prod/more.tf": "# more\n"})
    upstream.git("add", "--all")
    upstream.git(
        *("-c", "i18n.commitEncoding=latin1", "commit", "--quiet", "-F", "-"),
        stdin=b"\xff\x1b[31m<b>" + b"x" * 5000 + b"\n\nbody\x01\n",
        GIT_AUTHOR_NAME="<!channel>",
        GIT_AUTHOR_DATE="@99999999999999 +0000",
    )
    commit = mirror.fetch().commit

    (told,) = mirror.history(base, commit, STACK)

    assert told.id == commit
    assert len(told.subject) == 200
    assert "\n" not in told.subject
    assert told.at.tzinfo is not None


def test_a_path_is_never_taken_for_an_option_or_a_pattern(upstream: Upstream, mirror: Mirror) -> None:
    base = upstream.head()
    commit = upstream.commit({"envs/prod/more.tf": "# more\n"})
    mirror.fetch()

    assert mirror.history(base, commit, ("--output=stolen", ":(glob)**")) == ()
    with pytest.raises(UnsafeRepositoryError):
        mirror.history("--output=stolen", commit, STACK)
    with pytest.raises(UnsafeRepositoryError):
        mirror.history(base, "HEAD", STACK)


def test_a_commit_that_is_not_there_is_an_error_of_the_repository(mirror: Mirror) -> None:
    mirror.fetch()

    with pytest.raises(RepositoryError):
        mirror.history(None, "2" * 40, STACK)


def test_only_commits_of_the_branch_are_merged(upstream: Upstream, mirror: Mirror) -> None:
    """What lies on another branch, or was never there, is nothing that anybody agreed to deploy."""
    base = upstream.head()
    upstream.git("checkout", "--quiet", "-b", "topic")
    topic = upstream.commit({"topic.tf": "# topic\n"})
    upstream.git("checkout", "--quiet", "main")
    main = upstream.commit({"main.tf": "# main\n"})
    mirror.fetch()

    assert mirror.is_merged(base)
    assert mirror.is_merged(main)
    assert not mirror.is_merged(topic)
    assert not mirror.is_merged("0" * 40)
    with pytest.raises(UnsafeRepositoryError):
        mirror.is_merged("--output=/tmp/x")
