"""On the lab's identity.tf."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.acceptance.aws.mutations.changes.kinds import (
    ACCOUNT,
    EU,
    US,
    Changes,
    Effect,
    Kind,
    document,
    policy,
    tags,
    trust,
)

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

changes = Changes()

ROLE = "shop-worker"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/shop-assets"
USER = "shop-clerk"
ALIAS = "alias/shop-data"
SECRET = "shop-token"
RECEIVES: dict[str, object] = {
    "Effect": "Allow",
    "Action": ["sqs:ReceiveMessage"],
    "Resource": f"arn:aws:sqs:{EU}:{ACCOUNT}:shop-orders",
}
"""The role's own policy's statement, as the code has it."""


def key(lab: Lab) -> str:
    """By its use: it has no name."""
    return lab.client("kms").describe_key(KeyId=ALIAS)["KeyMetadata"]["KeyId"]


def put_parameter(lab: Lab, **more: Any) -> None:
    lab.client("ssm").put_parameter(
        **{"Name": "/shop/flag", "Value": "off", "Type": "String", "Overwrite": True, **more}
    )


@changes.of("aws_iam_role_policy", Kind.BLOCK_ADDED)
def worker_may_more(lab: Lab) -> None:
    """A statement more."""
    lab.client("iam").put_role_policy(
        RoleName=ROLE,
        PolicyName="orders",
        PolicyDocument=json.dumps(policy(RECEIVES, {"Effect": "Allow", "Action": "*", "Resource": "*"})),
    )


@changes.of("aws_iam_role_policy", Kind.POLICY)
def worker_may_send(lab: Lab) -> None:
    lab.client("iam").put_role_policy(
        RoleName=ROLE,
        PolicyName="orders",
        PolicyDocument=json.dumps(policy({**RECEIVES, "Action": ["sqs:SendMessage"]})),
    )


@changes.of("aws_iam_role_policy", Kind.DELETED)
def worker_may_nothing(lab: Lab) -> None:
    lab.client("iam").delete_role_policy(RoleName=ROLE, PolicyName="orders")


@changes.of("aws_iam_policy", Kind.TAG_REMOVED)
def policy_loses_its_tag(lab: Lab) -> None:
    lab.client("iam").untag_policy(PolicyArn=POLICY, TagKeys=["team"])


@changes.of("aws_iam_policy", Kind.POLICY)
def policy_gets_a_new_version(lab: Lab) -> None:
    lab.client("iam").create_policy_version(
        PolicyArn=POLICY, PolicyDocument=json.dumps(document("s3:*")), SetAsDefault=True
    )


@changes.of("aws_iam_role_policy_attachment", Kind.DELETED)
def policy_is_detached(lab: Lab) -> None:
    lab.client("iam").detach_role_policy(RoleName=ROLE, PolicyArn=POLICY)


@changes.of("aws_iam_role", Kind.ATTRIBUTE)
def worker_is_described_otherwise(lab: Lab) -> None:
    lab.client("iam").update_role(
        RoleName=ROLE, Description="Works through the orders ", MaxSessionDuration=3600
    )


@changes.of("aws_iam_role", Kind.POLICY)
def worker_trusts_one_more(lab: Lab) -> None:
    lab.client("iam").update_assume_role_policy(
        RoleName=ROLE, PolicyDocument=trust("lambda.amazonaws.com", "ec2.amazonaws.com")
    )


@changes.of("aws_iam_role", Kind.TAG_CHANGED)
def worker_is_retagged(lab: Lab) -> None:
    lab.client("iam").tag_role(RoleName=ROLE, Tags=tags(account="000000000000"))


@changes.of("aws_iam_role", Kind.RECREATED)
def worker_is_recreated_alike(lab: Lab) -> None:
    """As the code has it, but for the unique id and the hour."""
    roles = lab.client("iam")
    roles.delete_role(RoleName=ROLE)
    roles.create_role(
        RoleName=ROLE,
        Description="Works through the orders",
        AssumeRolePolicyDocument=trust("lambda.amazonaws.com"),
        MaxSessionDuration=3600,
        Tags=tags(account=ACCOUNT),
    )


@changes.of("aws_iam_role", Kind.DELETED)
def worker_is_deleted(lab: Lab) -> None:
    lab.client("iam").delete_role(RoleName=ROLE)


@changes.of("aws_iam_user", Kind.TAG_REMOVED)
def clerk_loses_the_tag(lab: Lab) -> None:
    lab.client("iam").untag_user(UserName=USER, TagKeys=["team"])


@changes.of("aws_iam_user", Kind.ATTRIBUTE)
def clerk_is_moved(lab: Lab) -> None:
    lab.client("iam").update_user(UserName=USER, NewPath="/managers/")


@changes.of("aws_iam_user", Kind.RECREATED)
def clerk_is_recreated_alike(lab: Lab) -> None:
    """As the code has it, but for the unique id."""
    lab.client("iam").delete_user(UserName=USER)
    lab.client("iam").create_user(UserName=USER, Path="/staff/", Tags=tags(team="shop"))


@changes.of("aws_kms_key", Kind.ATTRIBUTE)
def key_is_rotated(lab: Lab) -> None:
    lab.client("kms").enable_key_rotation(KeyId=key(lab))


@changes.of("aws_kms_key", Kind.TAG_ADDED)
def key_is_tagged(lab: Lab) -> None:
    lab.client("kms").tag_resource(KeyId=key(lab), Tags=[{"TagKey": "note", "TagValue": "by hand"}])


@changes.of("aws_kms_key", Kind.POLICY, Effect.KEPT)
def key_is_everybodys(lab: Lab) -> None:
    """Of the key's policy the code says nothing."""
    lab.client("kms").put_key_policy(
        KeyId=key(lab), PolicyName="default", Policy=json.dumps(document("kms:*", Principal="*"))
    )


@changes.of("aws_kms_key", Kind.DELETED)
def key_is_given_up(lab: Lab) -> None:
    lab.client("kms").schedule_key_deletion(KeyId=key(lab), PendingWindowInDays=7)


@changes.of("aws_kms_alias", Kind.ATTRIBUTE)
def alias_points_elsewhere(lab: Lab) -> None:
    keys = lab.client("kms")
    other = keys.create_key(Description="By hand")["KeyMetadata"]["KeyId"]
    keys.update_alias(AliasName=ALIAS, TargetKeyId=other)


@changes.of("aws_kms_alias", Kind.DELETED)
def alias_is_deleted(lab: Lab) -> None:
    lab.client("kms").delete_alias(AliasName=ALIAS)


@changes.of("aws_secretsmanager_secret", Kind.TAG_CHANGED)
def token_changes_hands(lab: Lab) -> None:
    lab.client("secretsmanager", US).tag_resource(SecretId=SECRET, Tags=tags(team="nobody"))


@changes.of("aws_secretsmanager_secret", Kind.POLICY, Effect.KEPT)
def anybody_may_read_the_token(lab: Lab) -> None:
    """Of the secret's policy the code says nothing."""
    lab.client("secretsmanager", US).put_resource_policy(
        SecretId=SECRET,
        ResourcePolicy=json.dumps(document("secretsmanager:GetSecretValue", Principal="*")),
    )


@changes.of("aws_secretsmanager_secret", Kind.RECREATED)
def token_is_recreated(lab: Lab) -> None:
    """As the code has it, but for the end of its name."""
    secrets = lab.client("secretsmanager", US)
    secrets.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    secrets.create_secret(Name=SECRET, Description="Of the payment service", Tags=tags(team="shop"))


@changes.of("aws_ssm_parameter", Kind.ATTRIBUTE)
def shop_is_closed(lab: Lab) -> None:
    put_parameter(lab)


@changes.of("aws_ssm_parameter", Kind.ATTRIBUTE)
def flag_is_described_otherwise(lab: Lab) -> None:
    put_parameter(lab, Description="Closed by hand")


@changes.of("aws_ssm_parameter", Kind.ATTRIBUTE)
def password_is_changed(lab: Lab) -> None:
    lab.client("ssm", US).put_parameter(
        Name="/shop/password", Value="canary-by-hand-4c1d", Type="SecureString", Overwrite=True
    )


@changes.of("aws_ssm_parameter", Kind.RECREATED)
def flag_is_recreated(lab: Lab) -> None:
    """Of another type."""
    lab.client("ssm").delete_parameter(Name="/shop/flag")
    put_parameter(lab, Value="on", Type="StringList", Overwrite=False)


@changes.of("aws_ssm_parameter", Kind.DELETED)
def password_is_deleted(lab: Lab) -> None:
    lab.client("ssm", US).delete_parameter(Name="/shop/password")
