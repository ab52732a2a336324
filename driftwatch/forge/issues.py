"""What the trackers of issues on GitHub and GitLab share: how far they look, and what they advise."""

from __future__ import annotations

from http import HTTPStatus

from driftwatch.forge.answers import Advice

PAGES_LOOKED_THROUGH = 2
"""How far to look for an issue whose opening was not answered: it is among the newest."""

ADVICE = Advice(
    statuses={
        HTTPStatus.UNAUTHORIZED: "Set its token under `notify` to one that is valid.",
        HTTPStatus.FORBIDDEN: "Give the token the right to read and write issues and to set their labels.",
        HTTPStatus.NOT_FOUND: "Check the repository or project, and that the token may see it.",
        HTTPStatus.GONE: "Switch issues on in the repository or project.",
    },
    moved="Set the address of its API, and the repository or project, to where they are now.",
    other="Check the labels, and what the repository or project asks of a new issue.",
)
