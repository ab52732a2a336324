"""Subjects: a stack as it is to be looked at now, a pin included, and as it is to be applied.

A stack that was rolled back is pinned: it is checked and repaired at that commit until somebody takes the pin
out or deploys a newer one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from driftwatch.terraform import PlanRequest

if TYPE_CHECKING:
    from pathlib import Path

    from driftwatch.model import StackId
    from driftwatch.pipeline.check import Workshop
    from driftwatch.pipeline.inventory import Subject


def subject_of(
    stack: StackId, workshop: Workshop, *, commit: str | None = None, pinned: bool = True
) -> Subject:
    """The stack at `commit`, else at its pin, else at its branch's head.

    Raises UnknownStackError where the stack is gone, and RepositoryError where the commit is.
    """
    subject = workshop.inventory.subject(stack)
    wanted = commit or (workshop.pinned(stack) if pinned else None)
    if wanted is None or wanted == subject.commit:
        return subject
    tree = workshop.checkouts[stack.repository].tree(wanted, subject.reads)
    return replace(subject, commit=wanted, tree=tree)


def environment_of(subject: Subject) -> dict[str, str]:
    """What a stack's terraform is given to look with."""
    return {name: secret.get_secret_value() for name, secret in subject.options.environment.items()}


def apply_environment_of(subject: Subject) -> dict[str, str]:
    """What it is given to apply with: the same, and what only an apply gets on top."""
    more = {name: secret.get_secret_value() for name, secret in subject.options.apply_environment.items()}
    return {**environment_of(subject), **more}


def plan_request(subject: Subject, checkout: Path, work: Path) -> PlanRequest:
    """How a stack is planned."""
    options, stack = subject.options, subject.stack
    return PlanRequest(
        module=checkout / stack.path,
        checkout=checkout,
        workdir=work / str(stack),
        workspace=stack.workspace,
        engine=options.engine,
        var_files=options.var_files,
        variables=options.variables,
        backend_config={key: value.get_secret_value() for key, value in options.backend_config.items()},
        environment=environment_of(subject),
    )


def apply_request(subject: Subject, checkout: Path, work: Path) -> PlanRequest:
    """How it is applied: with what only an apply is given, on top."""
    return replace(plan_request(subject, checkout, work), environment=apply_environment_of(subject))
