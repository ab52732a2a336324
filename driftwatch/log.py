"""Logging: structlog, one sentence per line with `action`, `stack` and `check` as fields.

The redaction processor is first in the chain, so that no later one (and no formatter of an exception) sees
a secret. Known secret values are registered by whoever reads them (`register_secret`).
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

REDACTED = "[redacted]"
_MIN_SECRET_LENGTH = 6
"""Shorter values would blank out ordinary words; nothing that short protects anything."""

_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s:]*(:[^/@\s]*)?@")
"""Starts at `://`: a pattern for the scheme before it takes time by the square of a long word's length."""

_TOKEN_SHAPES = re.compile(
    r"\b(?:xox[abposr]-[A-Za-z0-9-]{8,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16})\b"
)
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)

_secrets: set[str] = set()
_secrets_lock = threading.Lock()


def register_secret(value: str | None) -> None:
    """Makes `value` unprintable: every log line and every `redact()` replaces it from now on."""
    if value and len(value) >= _MIN_SECRET_LENGTH:
        with _secrets_lock:
            _secrets.add(value)


def registered_secrets() -> frozenset[str]:
    """What is unprintable, for whoever must hide a whole value and not only a word in a sentence."""
    with _secrets_lock:
        return frozenset(_secrets)


def redact(text: str) -> str:
    """Returns `text` without registered secrets, credentials in URLs, token shapes and control characters."""
    for secret in sorted(registered_secrets(), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _URL_CREDENTIALS.sub(f"{REDACTED}@", text)
    text = _TOKEN_SHAPES.sub(REDACTED, text)
    return _CONTROL.sub("", text)


def _redact_event(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


def configure(*, json: bool, level: str = "info") -> None:
    """Sends all logs to stderr, as JSON lines or for a person's eyes. Safe to call again."""
    threshold = getattr(logging, level.upper())
    render: Any = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            _redact_event,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # Looked up for each line: whoever replaces stderr (a test, a supervisor) is heard.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True, format="%(name)s: %(message)s")


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger for one part of the house."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
