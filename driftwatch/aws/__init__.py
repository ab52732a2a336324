"""AWS: for now, whose credentials a stack uses."""

from driftwatch.aws.identity import AwsIdentities, account_of, expect

__all__ = ["AwsIdentities", "account_of", "expect"]
