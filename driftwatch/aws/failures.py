"""What botocore raises, as our errors: of the class that counts, with what was said, redacted.

Whoever asks AWS for something does it within `translated`. What an answer means for the one who asked (an
object that is not there, a bucket that is not) is the asker's own to say.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from driftwatch.errors import (
    CloudThrottledError,
    CloudUnreachableError,
    CredentialsExpiredError,
    CredentialsMissingError,
    EngineError,
)
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "ExpiredTokenIdentityProvider",
        "RequestExpired",
        "TokenRefreshRequired",
    }
)
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_TOO_SLOW = frozenset({"RequestTimeout", "RequestTimeoutException"})
_EXPIRED_EXCEPTIONS = frozenset(
    {"LoginRefreshRequired", "LoginTokenLoadError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"}
)
_EXPIRED_ADVICE = (
    "Get new credentials for this stack's `environment`, or name a profile or role that renews them itself."
)
_MISSING_ADVICE = (
    "Give this stack credentials in its `environment`: keys, AWS_PROFILE with AWS_CONFIG_FILE, or a role; "
    "for the machine's own role set AWS_EC2_METADATA_DISABLED to false there."
)
_THROTTLED_ADVICE = "The next check tries again; if this goes on, spread the schedules out."
UNREACHABLE_ADVICE = (
    "Check the network, and AWS_ENDPOINT_URL, the proxy and AWS_CA_BUNDLE in the stack's `environment`."
)


@contextmanager
def translated(failing: str) -> Iterator[None]:
    """The errors of botocore as ours. `failing` says what does not happen; what AWS says is put behind it."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError  # what reading a body may raise that botocore does not wrap

    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(error, failing) from error
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.MetadataRetrievalError,
        exceptions.IncompleteReadError,
        exceptions.FlexibleChecksumError,
        ResponseParserError,
        HTTPError,
    ) as error:
        raise CloudUnreachableError(_said(error, failing), advice=UNREACHABLE_ADVICE) from error
    except RuntimeError as error:
        # botocore's way to say that renewed credentials are as old as those before.
        raise CredentialsExpiredError(_said(error, failing), advice=_EXPIRED_ADVICE) from error
    except (exceptions.BotoCoreError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        # No credentials, half of them, a profile, file or helper that is not there or says what nobody can
        # read.
        if type(error).__name__ in _EXPIRED_EXCEPTIONS:
            raise CredentialsExpiredError(_said(error, failing), advice=_EXPIRED_ADVICE) from error
        raise CredentialsMissingError(_said(error, failing), advice=_MISSING_ADVICE) from error


def code_and_status(error: Exception) -> tuple[str, int]:
    """AWS's code for an answer that botocore takes for an error, and its HTTP status; "" and 0 without."""
    response = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", ""))
    return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_passing(error: Exception) -> bool:
    """Whether AWS says of itself, or of the credentials, what a later attempt may change."""
    code, status = code_and_status(error)
    return code in _EXPIRED | _THROTTLED | _TOO_SLOW or status == 429 or status >= 500


def _answered(error: Exception, failing: str) -> EngineError:
    code, _ = code_and_status(error)
    if code in _EXPIRED:
        return CredentialsExpiredError(_said(error, failing), advice=_EXPIRED_ADVICE)
    if code in _TOO_SLOW:
        return CloudUnreachableError(_said(error, failing), advice=UNREACHABLE_ADVICE)
    if is_passing(error):
        return CloudThrottledError(_said(error, failing), advice=_THROTTLED_ADVICE)
    return CredentialsMissingError(_said(error, failing), advice=_MISSING_ADVICE)


def _said(error: Exception, failing: str) -> str:
    return redact(f"{failing}: {str(error).strip()}")
