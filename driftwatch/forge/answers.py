"""What all that asks GitHub and GitLab shares: what an answer means, and what is no answer at all.

Everybody here asks once. The libraries' own retries are off, as they sleep in the thread; whoever called
decides when to come back. Redirects are not followed to other hosts: a token shall reach only whom the
settings name. Nothing raised here holds a token.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING

from driftwatch.errors import ForgeError, ForgeRefusedError, ForgeUnavailableError, UsageError
from driftwatch.log import redact, register_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import SecretStr

TIMEOUT_SECONDS = 10
"""A forge answers within seconds or is in trouble; whoever asks has others to serve."""

PAGE = 100
"""What one request lists at most; more than this neither allows."""

USER_AGENT = "driftwatch"

LEAST_WAIT_SECONDS = 60.0
"""Where a limit names no time; GitHub asks for a minute at least
(https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api)."""

SAID_LIMIT = 200

_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What somebody should do about a forge's no: by its status, where that is `moved`, or any `other`."""

    statuses: Mapping[int, str]
    moved: str
    other: str

    def on(self, status: int) -> str:
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return self.moved
        return self.statuses.get(status, self.other)


def checked_token(token: SecretStr, key: str) -> str:
    """The token, known to the log from now on. Raises UsageError where no header can carry it."""
    value = token.get_secret_value()
    register_secret(value)
    # The library's complaint about such a header would quote it.
    if not (value and value.isascii() and value.isprintable() and " " not in value):
        raise UsageError(f"{key}: the token is empty or holds characters that no token has.")
    return value


def package_missing(extra: str) -> UsageError:
    """For whoever configured a forge without the package that speaks to it."""
    return UsageError(f"This forge needs a package that is not installed: pip install 'driftwatch[{extra}]'.")


@contextmanager
def translated(forge: str, advice: Advice, *unreadable: type[Exception]) -> Iterator[None]:
    """What keeps a forge from answering, as ours; `unreadable` is what its library raises at half answers."""
    try:
        yield
    except ForgeError:
        raise
    except (OSError, HTTPException) as error:
        raise ForgeUnavailableError(f"{forge} cannot be reached ({type(error).__name__})") from error
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ForgeUnavailableError(f"{forge}'s answer cannot be read") from error
    except RuntimeError as error:
        # PyGithub's way to say that it was sent to another host, or round in circles.
        raise ForgeRefusedError(f"{forge} redirects elsewhere", advice=advice.moved) from error
    except unreadable as error:
        raise ForgeUnavailableError(f"{forge}'s answer cannot be read") from error


def judge(forge: str, status: int, headers: Mapping[str, str], said: str, advice: Advice) -> None:
    """Raises what a status other than 2xx means; `said` is what the forge gave as the reason."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    lowered = {key.lower(): value for key, value in headers.items()}
    if _is_limit(status, lowered, said):
        raise ForgeUnavailableError(
            f"{forge} asks to slow down", status=status, retry_after=_wait_for_limit(lowered)
        )
    answer = f"{forge} answered {status}{_reason(said)}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        raise ForgeUnavailableError(answer, status=status, retry_after=_number(lowered.get("retry-after")))
    raise ForgeRefusedError(answer, status=status, advice=advice.on(status))


def number_of(answer: Mapping[str, object], key: str) -> int:
    """A number in an answer. Raises ValueError where it has none."""
    number = answer.get(key)
    if not isinstance(number, int):
        raise ValueError(f"the answer has no number {key}")  # noqa: TRY004  (the type is the forge's)
    return number


def _is_limit(status: int, headers: Mapping[str, str], said: str) -> bool:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    named = "retry-after" in headers or _remaining(headers) == 0 or "rate limit" in said.lower()
    return status == HTTPStatus.FORBIDDEN and named


def _wait_for_limit(headers: Mapping[str, str]) -> float:
    asked = _number(headers.get("retry-after"))
    if asked is not None:
        return asked
    reset = _number(headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset"))
    now = _moment(headers.get("date", ""))
    # The reset is in Unix seconds of their clock, which the response's own Date tells.
    if _remaining(headers) == 0 and reset is not None and now is not None:
        return max(reset - now, 1.0)
    return LEAST_WAIT_SECONDS


def _remaining(headers: Mapping[str, str]) -> float | None:
    return _number(headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining"))


def _number(text: str | None) -> float | None:
    """Both forges write whole seconds; anything else counts as not said."""
    text = (text or "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= len("1700000000000") else None


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _reason(said: str) -> str:
    words = " ".join(redact(said).split())
    return f": {words[:SAID_LIMIT]}" if words else ""
