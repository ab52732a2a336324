"""The store: tables, queries by intention, migrations; the spool for when it cannot be written."""

from driftwatch.store.instance import instance_key
from driftwatch.store.spool import Drained, Spool
from driftwatch.store.store import Store
from driftwatch.store.values import (
    Acted,
    ActedOnAll,
    AuditEntry,
    Enqueued,
    FindingEvent,
    KeptCheck,
    KeptJob,
    Page,
    Proof,
    ProposalEvent,
    ProposalEventKind,
    Recorded,
    RepositoryStatus,
    SyncedStacks,
    Upgraded,
    Voice,
)

__all__ = [
    "Acted",
    "ActedOnAll",
    "AuditEntry",
    "Drained",
    "Enqueued",
    "FindingEvent",
    "KeptCheck",
    "KeptJob",
    "Page",
    "Proof",
    "ProposalEvent",
    "ProposalEventKind",
    "Recorded",
    "RepositoryStatus",
    "Spool",
    "Store",
    "SyncedStacks",
    "Upgraded",
    "Voice",
    "instance_key",
]
