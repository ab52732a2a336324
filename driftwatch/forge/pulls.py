"""What pull requests on GitHub and GitLab share: what is asked of whom, and how much text they take.

`forge_of` makes the one that a repository names. Titles, logins and texts of others are theirs: whoever shows
them takes care. What driftwatch writes is redacted once more on its way out.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from driftwatch.forge.answers import Advice
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from driftwatch.config.gitops import ForgeSettings
    from driftwatch.forge.github_pulls import GithubPulls
    from driftwatch.forge.gitlab_pulls import GitlabPulls
    from driftwatch.model import Remark

KEY = "repositories.<name>.forge"

GHOST = "ghost"
"""Whom both name where an account is gone; the name is taken, so that nobody else can have it."""

PAGES_OF_PULL_REQUESTS = 3
"""Of open pull requests, the latest; of more than 300, each is found once something happens to it."""

PAGES_OF_REMARKS = 3
"""Of comments, the latest pages."""

MOST_REMARKS = 200
"""So many are surely on the latest pages, with none missing between them."""

OUR_MARK = "<!-- driftwatch:"
"""How each comment begins that driftwatch keeps up to date; what is remembered in it is read at each look."""

PAGES_TO_OUR_COMMENT = 30
"""How far it is looked for: it is among the first, but nobody is served by a second one either."""

PAGES_OF_ISSUES = 5
"""Of open issues, the newest, among which one of driftwatch's is looked for."""

LONGEST_TITLE = 255

ADVICE = Advice(
    statuses={
        HTTPStatus.UNAUTHORIZED: f"Set `{KEY}.token` to a token that is valid.",
        HTTPStatus.FORBIDDEN: f"Give the token of `{KEY}` the right to read and write pull requests, issues "
        "and commit statuses; an archived repository, or a locked conversation, takes nothing from anybody.",
        HTTPStatus.NOT_FOUND: f"Check `{KEY}.project`, and that its token may see it and write to it.",
        HTTPStatus.GONE: f"Switch issues on in the repository that `{KEY}.project` names.",
    },
    moved=f"Set `{KEY}.project`, or `{KEY}.api_url`, to where it is now.",
    other=f"Check what the repository that `{KEY}.project` names asks of pull requests and commit statuses.",
)

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_ROOM_FOR_NOTE = 400
_MOST_CLOSED = 20


def forge_of(settings: ForgeSettings) -> GithubPulls | GitlabPulls:
    """The forge that a repository names. Raises UsageError without the package that speaks to it."""
    if settings.kind == "github":
        from driftwatch.forge.github_pulls import GithubPulls

        return GithubPulls(settings)
    from driftwatch.forge.gitlab_pulls import GitlabPulls

    return GitlabPulls(settings)


def latest(remarks: Sequence[Remark]) -> list[Remark]:
    """The latest of these, which come with the oldest first; driftwatch's own are never too old."""
    early = remarks[:-MOST_REMARKS]
    return [*(each for each in early if is_kept(each)), *remarks[-MOST_REMARKS:]]


def is_kept(remark: Remark) -> bool:
    """Whether it is one that driftwatch keeps up to date."""
    return remark.own and remark.body.startswith(OUR_MARK)


def marked(mark: str, body: str) -> str:
    """`body`, which begins with `mark`: by that it is found again."""
    return body if body.startswith(mark) else f"{mark}\n{body}"


def fitted(text: str, limit: int, forge: str) -> str:
    """`text` in at most `limit` characters; what is cut off is said, below whatever was open at the cut."""
    text = redact(text)
    if len(text) <= limit:
        return text
    kept = text[: limit - _ROOM_FOR_NOTE]
    # A line is cut in two only where it alone is longer than half of what there is room for.
    kept = kept[: max(kept.rfind("\n"), len(kept) // 2)].rstrip("\n") if "\n" in kept else kept
    note = f"{forge} takes no more than {limit:,} characters: {len(text) - len(kept):,} are missing here."
    return f"{kept}\n{_closing(kept)}\n**{note}**"


def one_line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters, with an ellipsis where it was longer."""
    line = shown(redact(text))
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def shown(text: str) -> str:
    """Somebody's text on one line, without characters that nobody sees."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def text_of(answer: Mapping[str, object], key: str) -> str:
    """A text in an answer. Raises ValueError where it has none."""
    text = answer.get(key)
    if not isinstance(text, str):
        raise ValueError(f"the answer has no text {key}")  # noqa: TRY004  (the type is the forge's)
    return encodable(text)


def encodable(text: str) -> str:
    """JSON can hold halves of characters, which nothing else takes."""
    return text.encode(errors="replace").decode()


def commit_of(answer: Mapping[str, object], key: str) -> str:
    """A commit in an answer. Raises ValueError where it has none."""
    commit = text_of(answer, key)
    if not _COMMIT.fullmatch(commit):
        raise ValueError(f"what the answer has for {key} is no commit")
    return commit


def address_of(answer: Mapping[str, object], key: str) -> str:
    """An address for people in an answer. Raises ValueError where it has none."""
    address = text_of(answer, key)
    if not address.startswith(("https://", "http://")) or address != shown(address):
        raise ValueError(f"what the answer has for {key} is no address")
    return address


def _closing(text: str) -> str:
    """What ends a block of code and folded parts that are still open at the end of `text`."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.fullmatch(line)
        if found is None:
            continue
        if not fence:
            fence = found[1]
        elif found[1].startswith(fence) and not found[2].strip():
            fence = ""
    folded = text.count("<details>") - text.count("</details>")
    lines = [fence[:_MOST_CLOSED]] if fence else []
    return "\n".join([*lines, *["</details>"] * min(max(folded, 0), _MOST_CLOSED), ""])
