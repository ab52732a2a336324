"""Whose credentials are these? Asked of AWS before any verdict counts.

With the credentials of another account, everything that a stack declares looks deleted; nothing in a plan
says so. boto3 is imported when the first identity is asked for: it costs a second and 30 MB, which a stack
without an expected account does not pay.
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
    IdentityMismatchError,
)
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_SECONDS = 10.0

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
_UNREACHABLE_ADVICE = (
    "Check the network, and AWS_ENDPOINT_URL, the proxy and AWS_CA_BUNDLE in the stack's `environment`."
)


class AwsIdentities:
    """The pipeline's way to ask; holds nothing between two questions."""

    def expect(self, environment: Mapping[str, str], account: str) -> None:
        """Raises as `expect` does."""
        expect(environment, account)


def expect(environment: Mapping[str, str], account: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
    """Raises IdentityMismatchError, which names both accounts, unless `environment` is `account`'s."""
    actual = account_of(environment, timeout=timeout)
    if actual != account:
        raise IdentityMismatchError(
            f"The credentials are of AWS account {actual}, and this stack is of {account}.",
            advice="Set the stack's `environment` to credentials of the right account, or correct "
            "`identity.aws_account`. Nothing seen with these credentials counts.",
        )


def account_of(environment: Mapping[str, str], *, timeout: float = TIMEOUT_SECONDS) -> str:
    """The account id of the credentials in `environment`, as STS tells it.

    Reads nothing but the mapping and the files that it names. `timeout` is in seconds, for each of two
    attempts. Raises CredentialsExpiredError,
    CredentialsMissingError, CloudThrottledError or CloudUnreachableError, and EngineError for an answer of no
    other class.
    """
    with _translated():
        import boto3

        from driftwatch.aws.session import EnvironmentSession

        session = boto3.Session(botocore_session=EnvironmentSession(environment, timeout=timeout))
        account = session.client("sts").get_caller_identity().get("Account")
    if not isinstance(account, str) or not account:
        raise EngineError("STS answered without an account id.", advice=_UNREACHABLE_ADVICE)
    return account


@contextmanager
def _translated() -> Iterator[None]:
    """The errors of botocore as ours: of the class that counts, with what they say, redacted."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(error) from error
    except (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.MetadataRetrievalError,
        ResponseParserError,
    ) as error:
        raise CloudUnreachableError(_said(error), advice=_UNREACHABLE_ADVICE) from error
    except (exceptions.BotoCoreError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        # No credentials, half of them, a profile, file or helper that is not there or says what nobody can
        # read.
        if type(error).__name__ in _EXPIRED_EXCEPTIONS:
            raise CredentialsExpiredError(_said(error), advice=_EXPIRED_ADVICE) from error
        raise CredentialsMissingError(_said(error), advice=_MISSING_ADVICE) from error


def _answered(error: Exception) -> EngineError:
    """What AWS answered instead of an identity."""
    response = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _EXPIRED:
        return CredentialsExpiredError(_said(error), advice=_EXPIRED_ADVICE)
    if code in _THROTTLED or status == 429 or status >= 500:
        return CloudThrottledError(_said(error), advice=_THROTTLED_ADVICE)
    return CredentialsMissingError(_said(error), advice=_MISSING_ADVICE)


def _said(error: Exception) -> str:
    return f"AWS does not tell whose credentials these are: {redact(str(error)).strip()}"
