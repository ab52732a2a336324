"""What the tests of the policy share: findings as a check would make them, and real plans."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import parse_document
from driftwatch.drift import plan as plans
from driftwatch.errors import PlanUnreadableError
from driftwatch.model import Cause, Finding, FindingKind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CORPUS = Path(__file__).parents[1] / "drift" / "corpus"


@pytest.fixture(scope="session")
def finding() -> Callable[..., Finding]:
    """Makes a finding that was changed by hand, unless something else is said."""

    def make(
        address: str = "thing_box.it",
        kind: FindingKind = FindingKind.MODIFIED,
        causes: tuple[Cause, ...] = (Cause.OUT_OF_BAND,),
        severity: Severity = Severity.MEDIUM,
        action: str = "update",
        *,
        counted: bool = True,
        **more: object,
    ) -> Finding:
        return Finding(
            address=address,
            type="thing_box",
            kind=kind,
            action=action,
            causes=causes,
            severity=severity,
            fingerprint=f"print of {address}",
            counted=counted,
            **more,  # type: ignore[arg-type]
        )

    return make


@pytest.fixture(scope="session")
def corpus_documents() -> Mapping[str, Any]:
    """All documents of the corpus that can be read at all."""
    found = {}
    for file in sorted(CORPUS.glob("*.json")):
        document = parse_document(file.read_bytes())
        with suppress(PlanUnreadableError):
            plans.read(document)
            found[file.stem] = document
    return found
