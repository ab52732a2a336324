"""Metrics in Prometheus terms. Labels are stacks and classes, never addresses of resources."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CHECKS = Counter("driftwatch_checks", "Checks by verdict and method.", ["verdict", "method"])
CHECK_ERRORS = Counter("driftwatch_check_errors", "Failed checks by error class.", ["code"])
CHECK_SECONDS = Histogram(
    "driftwatch_check_duration_seconds",
    "Wall time of a check.",
    ["method"],
    buckets=(0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800),
)
LAST_GOOD_CHECK = Gauge(
    "driftwatch_last_good_check_timestamp_seconds", "When a stack was last known.", ["stack"]
)
OPEN_FINDINGS = Gauge(
    "driftwatch_open_findings",
    "Counted findings that wait for somebody: not resolved, snoozed or accepted.",
    ["stack"],
)
QUEUE_LENGTH = Gauge("driftwatch_queue_jobs", "Jobs by state.", ["state"])
FETCHES = Counter(
    "driftwatch_repository_fetches", "Fetches by repository and outcome.", ["repository", "outcome"]
)
MESSAGES = Counter("driftwatch_messages", "Messages by channel and outcome.", ["channel", "outcome"])
TRANSITIONS = Counter("driftwatch_transitions", "What people were told, by kind.", ["kind"])
SCHEDULER_BEAT = Gauge(
    "driftwatch_scheduler_beat_timestamp_seconds", "When the scheduler loop last went round."
)
REPLAYS = Counter("driftwatch_replays", "Replays of recorded reads by answer.", ["answer"])
REPLAY_REFUSALS = Counter(
    "driftwatch_replay_refusals", "Plans that ran where a replay was looked for, by reason.", ["reason"]
)
SHADOWS = Counter("driftwatch_replay_shadows", "Plain plans that a replay was compared with.")
REPLAY_DISAGREEMENTS = Counter(
    "driftwatch_replay_disagreements", "Replays that a plain plan contradicted, by provider.", ["provider"]
)
SECONDS_SAVED = Counter(
    "driftwatch_replay_seconds_saved", "Wall time that replays took less than the plans that they stand for."
)
FALLBACKS = Counter(
    "driftwatch_warm_fallbacks", "Plans that failed through warm providers and worked without them."
)
WARM_PROCESSES = Gauge("driftwatch_warm_processes", "Provider processes that are kept alive.", ["state"])
WARM_MEMORY = Gauge("driftwatch_warm_memory_bytes", "Resident memory of all provider processes together.")
WARM_LAUNCHES = Counter("driftwatch_warm_launches", "Provider processes that were started.")
WARM_REUSES = Counter("driftwatch_warm_reuses", "Uses of provider processes that ran already.")
WARM_RETIRED = Counter(
    "driftwatch_warm_retired", "Provider processes that were ended, by reason.", ["reason"]
)
WARM_ANSWERS = Counter(
    "driftwatch_warm_answers", "Calls of pure functions of a provider, by who answered.", ["from_memory"]
)
QUARANTINED = Gauge("driftwatch_warm_quarantined", "Providers that are out of warm service.")
