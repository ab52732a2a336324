"""What a change by hand is: on which type, of which kind, and what a plan makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.acceptance.aws.conftest import Lab

EU = "eu-west-1"
US = "us-east-1"
ACCOUNT = "123456789012"
"""The account that moto plays where nothing says another."""


class Kind(StrEnum):
    """What people do to a cloud by hand."""

    ATTRIBUTE = "a scalar attribute changed"
    BLOCK_ADDED = "a nested block added"
    BLOCK_REMOVED = "a nested block removed"
    TAG_CHANGED = "a tag's value changed"
    TAG_ADDED = "a tag added"
    TAG_REMOVED = "a tag removed"
    POLICY = "a policy document altered"
    RECREATED = "deleted and made again under the same name"
    DELETED = "deleted"
    LOOKUP = "only what a data source reads changed"


class Effect(StrEnum):
    """What a plan says of a change, in comparison with the plan before it."""

    COUNTED = "what counts as drift or as pending is another"
    KEPT = "it is seen, and would be left as it is"
    INPUT = "an input is another, and nothing that is managed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change by hand. `type` is the resource's, or the data source's of a lookup."""

    name: str
    type: str
    kind: Kind
    effect: Effect
    make: Callable[[Lab], object] = field(repr=False)


class Changes:
    """Changes in the order in which they are written down, which is the one they are made in.

    What one has done stays, so that in each module the deletion of a thing is the last that happens to it.
    """

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def __iter__(self) -> Iterator[Change]:
        return iter(self._changes)

    def of(
        self, resource_type: str, kind: Kind, effect: Effect = Effect.COUNTED
    ) -> Callable[[Callable[[Lab], object]], Callable[[Lab], object]]:
        """Takes a function in; its name is the change's."""

        def take(make: Callable[[Lab], object]) -> Callable[[Lab], object]:
            self._changes.append(
                Change(name=make.__name__, type=resource_type, kind=kind, effect=effect, make=make)
            )
            return make

        return take


def tags(**values: str) -> list[dict[str, str]]:
    """In the form that most services want them in."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def document(action: str, resource: str = "*", **more: object) -> dict[str, object]:
    """A policy of one statement."""
    return policy({"Effect": "Allow", "Action": action, "Resource": resource, **more})


def policy(*statements: dict[str, object]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(*services: str) -> str:
    """A role's policy that lets them take it on, as JSON."""
    statements: list[dict[str, object]] = [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
        for service in services
    ]
    return json.dumps(policy(*statements))
