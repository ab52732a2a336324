"""AWS: whose credentials a stack uses, and its state in S3."""

from driftwatch.aws.identity import AwsIdentities, account_of, expect
from driftwatch.aws.state import S3State, StoredState

__all__ = ["AwsIdentities", "S3State", "StoredState", "account_of", "expect"]
