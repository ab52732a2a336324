"""Previews of pull requests, put together from an application: for every repository that names a forge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.cli.clock import now
from driftwatch.pipeline.preview import CONTEXT, Desk, Previews
from driftwatch.pipeline.preview_daemon import Previewer
from driftwatch.pipeline.preview_plans import Speculator
from driftwatch.policy.rights import People

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.cli.compose import Application
    from driftwatch.config.settings import RepositorySettings
    from driftwatch.pipeline.admissions import Clerk
    from driftwatch.pipeline.ports import Planner


def previewer_of(app: Application, clerk: Clerk) -> Previewer | None:
    """The daemon's part; None where no repository has pull requests that are previewed.

    Raises UsageError without the package that speaks to a forge.
    """
    previews = previews_of(app, clerk)
    if previews is None:
        return None
    polls = {name: each.poll.total_seconds() for name, each in app.settings.repositories.items()}
    return Previewer(previews, polls=polls, leads=app.store.leads)


def previews_of(app: Application, clerk: Clerk, planner: Planner | None = None) -> Previews | None:
    """What looks at pull requests. `planner` is the application's, where none is given."""
    desks = _desks(app)
    if not desks:
        return None
    return Previews(
        desks=desks,
        inventory=app.inventory,
        speculator=Speculator(
            workshop=app.workshop,
            planner=planner or app.planner,
            findings=app.store,
            clerk=clerk,
            digester=app.digester,
            clock=now,
        ),
        book=app.store,
        people=People.compile(app.settings.users),
        terms=app.settings.repair.approvals,
        work=app.rooms.state / "previews",
        busy=lambda: bool(app.store.running_applies()),
    )


def context_of(name: str, repositories: Mapping[str, RepositorySettings]) -> str:
    """What the status of all together is called: by a repository's name where others are the same project."""
    places = [
        (forge.kind, forge.host, forge.project.casefold())
        for each in repositories.values()
        if (forge := each.forge) is not None
    ]
    own = repositories[name].forge
    is_shared = own is not None and places.count((own.kind, own.host, own.project.casefold())) > 1
    return f"{CONTEXT}/{name}" if is_shared else CONTEXT


def _desks(app: Application) -> Mapping[str, Desk]:
    return {
        name: Desk(
            name=name,
            kind=repository.forge.kind,
            host=repository.forge.host,
            branch=repository.branch,
            settings=repository.previews,
            protected=repository.protected_paths,
            forge=forge,
            code=app.mirrors[name],
            context=context_of(name, app.settings.repositories),
        )
        for name, repository in app.settings.repositories.items()
        if repository.forge is not None
        and repository.previews.enabled
        and (forge := app.forges.of(name)) is not None
    }
