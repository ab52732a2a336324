"""Whose credentials are these? Asked of AWS before any verdict counts.

With the credentials of another account, everything that a stack declares looks deleted; nothing in a plan
says so. boto3 is imported when the first identity is asked for: it costs a second and 30 MB, which a stack
without an expected account does not pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.aws.failures import UNREACHABLE_ADVICE, translated
from driftwatch.aws.settings import Settings
from driftwatch.errors import EngineError, IdentityMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 10.0

DEFAULT_REGION = "us-east-1"
"""Where the identity is asked for when no region is set: the `aws` partition answers alike everywhere."""


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
    with translated("AWS does not tell whose credentials these are"):
        import boto3

        from driftwatch.aws.session import EnvironmentSession

        settings = Settings(default_region=DEFAULT_REGION)
        session = EnvironmentSession(environment, timeout=timeout, settings=settings)
        client = boto3.Session(botocore_session=session).client("sts")
        account = client.get_caller_identity().get("Account")
    if not isinstance(account, str) or not account:
        raise EngineError("STS answered without an account id.", advice=UNREACHABLE_ADVICE)
    return account
