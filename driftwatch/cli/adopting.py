"""Puts together what brings code to the cloud, of what the application has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.cli.clock import now
from driftwatch.pipeline.adopt import Adopter, Host

if TYPE_CHECKING:
    from driftwatch.cli.compose import Application


def adopter_of(app: Application) -> Adopter:
    """Plans of drafts have a directory of their own: no check waits for one, or one for a check."""
    repositories, mirrors = app.settings.repositories, app.mirrors
    return Adopter(
        workshop=app.workshop,
        book=app.store,
        planner=app.planner,
        digester=app.digester,
        settings=app.settings.repair,
        hosts={
            name: Host(
                drafts=mirrors[name],
                branch=repository.branch,
                offers=app.forges.of(name),
            )
            for name, repository in repositories.items()
        },
        work=app.rooms.state / "adopting",
        clock=now,
    )
