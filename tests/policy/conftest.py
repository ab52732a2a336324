"""What the tests of the policy share: findings as a check would make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.model import Cause, Finding, FindingKind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable


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
