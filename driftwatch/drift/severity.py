"""How much a finding matters: a table, read from the top, the worst match counts.

Rules of one's own will come before this table; until then it says what most people would.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from driftwatch.model import Cause, FindingKind, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from driftwatch.model import AttributeChange

_BY_KIND = {
    FindingKind.MODIFIED: Severity.MEDIUM,
    FindingKind.DELETED: Severity.HIGH,
    FindingKind.CREATED: Severity.LOW,
    FindingKind.REPLACED: Severity.HIGH,
    FindingKind.DESTROYED: Severity.HIGH,
    FindingKind.UNMANAGED: Severity.MEDIUM,
    FindingKind.OUTPUT: Severity.LOW,
    FindingKind.CHECK_FAILED: Severity.MEDIUM,
}

_HARMLESS_ACTIONS = frozenset({"forget", "import"})
"""They change the state and leave the cloud alone."""

_SENSITIVE = Severity.HIGH
"""Somebody changed a password or a key."""

_LABELLING = ("/tags", "/tags/*", "/tags_all", "/tags_all/*", "/labels", "/labels/*", "/description")


@dataclass(frozen=True, slots=True)
class _Rule:
    type: str
    path: str
    severity: Severity


_SECURITY = (
    # Who may reach it.
    _Rule("*_security_group", "/ingress*", Severity.CRITICAL),
    _Rule("*_security_group", "/egress*", Severity.HIGH),
    _Rule("*_security_group_rule", "*", Severity.CRITICAL),
    _Rule("*_security_group_ingress_rule", "*", Severity.CRITICAL),
    _Rule("*_security_group_egress_rule", "*", Severity.HIGH),
    _Rule("*_firewall*", "/ingress*", Severity.CRITICAL),
    _Rule("*_firewall*", "/egress*", Severity.HIGH),
    _Rule("*_firewall*", "/allow*", Severity.CRITICAL),
    _Rule("*_firewall*", "/source_*", Severity.CRITICAL),
    _Rule("*_network_acl*", "*", Severity.HIGH),
    _Rule("*_network_security_*", "*", Severity.CRITICAL),
    _Rule("*", "/publicly_accessible", Severity.CRITICAL),
    _Rule("*", "/public", Severity.CRITICAL),
    _Rule("*", "/public_*access*", Severity.CRITICAL),
    _Rule("*_public_access_block", "*", Severity.CRITICAL),
    _Rule("*_bucket_acl", "*", Severity.CRITICAL),
    _Rule("*", "/acl", Severity.HIGH),
    # Who may do what.
    _Rule("aws_iam_*", "*", Severity.HIGH),
    _Rule("*_iam_*", "*", Severity.HIGH),
    _Rule("*_role_assignment", "*", Severity.HIGH),
    _Rule("*", "*policy*", Severity.HIGH),
    _Rule("*", "/assume_role_policy", Severity.CRITICAL),
    # How it is protected.
    _Rule("*", "*encrypt*", Severity.HIGH),
    _Rule("*", "/kms_*", Severity.HIGH),
    _Rule("*_encryption*", "*", Severity.HIGH),
    _Rule("*", "/deletion_protection", Severity.HIGH),
    _Rule("*_logging", "*", Severity.HIGH),
    _Rule("*", "/password*", Severity.HIGH),
)


def severity_of(
    *, kind: FindingKind, type_: str, action: str, attributes: Iterable[AttributeChange], counted: bool
) -> Severity:
    """The severity of a finding. Attributes that are noise weigh nothing, sensitive ones much."""
    if not counted:
        return Severity.INFO
    telling = [attribute for attribute in attributes if attribute.cause is not Cause.NOISE]
    touched = tuple(attribute.path for attribute in telling)
    labelling = bool(telling) and all(_is_labelling(attribute) for attribute in telling)
    if labelling or action in _HARMLESS_ACTIONS:
        return Severity.LOW
    whole = ("",) if kind is FindingKind.DELETED else ()
    secret = (_SENSITIVE,) if any(attribute.sensitive for attribute in telling) else ()
    candidates: tuple[Severity, ...] = (_BY_KIND[kind], *secret, *_security(type_, touched or whole))
    return max(candidates, key=lambda severity: severity.rank)


def _is_labelling(attribute: AttributeChange) -> bool:
    return not attribute.sensitive and any(fnmatchcase(attribute.path, pattern) for pattern in _LABELLING)


def _security(type_: str, paths: tuple[str, ...]) -> tuple[Severity, ...]:
    return tuple(
        rule.severity
        for rule in _SECURITY
        for path in paths
        if fnmatchcase(type_, rule.type) and fnmatchcase(path, rule.path)
    )
