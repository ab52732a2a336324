"""On the lab's storage.tf."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.acceptance.aws.mutations.changes.kinds import (
    ACCOUNT,
    EU,
    Changes,
    Effect,
    Kind,
    policy,
    tags,
)

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

changes = Changes()

BUCKET = "shop-assets"
TABLE = "shop-carts"
REPOSITORY = "shop-app"
TABLE_ARN = f"arn:aws:dynamodb:{EU}:{ACCOUNT}:table/{TABLE}"
WORKER_READS: dict[str, object] = {
    "Sid": "Read",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/shop-worker"},
    "Action": "s3:GetObject",
    "Resource": f"arn:aws:s3:::{BUCKET}/*",
}
"""The bucket policy's statement, as the code has it."""


def tag_bucket(lab: Lab, **values: str) -> None:
    """With these and no others."""
    lab.client("s3").put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags(**values)})


def set_rules(lab: Lab, *rules: dict[str, Any]) -> None:
    lab.client("s3").put_bucket_lifecycle_configuration(
        Bucket=BUCKET, LifecycleConfiguration={"Rules": list(rules)}
    )


def rule(name: str, days: int) -> dict[str, Any]:
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{name}/"},
        "Expiration": {"Days": days},
    }


def set_bucket_policy(lab: Lab, *statements: dict[str, object]) -> None:
    lab.client("s3").put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy(*statements)))


def block_public(lab: Lab, **but: bool) -> None:
    flags = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    lab.client("s3").put_public_access_block(
        Bucket=BUCKET, PublicAccessBlockConfiguration={**dict.fromkeys(flags, True), **but}
    )


def index(name: str, key: str) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }


def keep_images(lab: Lab, count: int) -> None:
    text = {
        "rulePriority": 1,
        "description": "Keep ten",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count},
        "action": {"type": "expire"},
    }
    lab.client("ecr").put_lifecycle_policy(
        repositoryName=REPOSITORY, lifecyclePolicyText=json.dumps({"rules": [text]})
    )


@changes.of("aws_s3_bucket", Kind.TAG_CHANGED)
def bucket_changes_hands(lab: Lab) -> None:
    tag_bucket(lab, team="nobody", stage="production")


@changes.of("aws_s3_bucket", Kind.TAG_REMOVED)
def bucket_loses_its_tags(lab: Lab) -> None:
    lab.client("s3").delete_bucket_tagging(Bucket=BUCKET)


@changes.of("aws_s3_bucket", Kind.BLOCK_ADDED, Effect.KEPT)
def pages_of_others_may_read(lab: Lab) -> None:
    """Of CORS the code says nothing."""
    allowed = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    lab.client("s3").put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [allowed]})


@changes.of("aws_s3_bucket_versioning", Kind.ATTRIBUTE)
def versions_are_suspended(lab: Lab) -> None:
    lab.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


@changes.of("aws_s3_bucket_lifecycle_configuration", Kind.BLOCK_ADDED)
def rule_is_added(lab: Lab) -> None:
    set_rules(lab, rule("old", 30), rule("drafts", 7), rule("everything", 1))


@changes.of("aws_s3_bucket_lifecycle_configuration", Kind.BLOCK_REMOVED)
def rule_is_removed(lab: Lab) -> None:
    set_rules(lab, rule("old", 30))


@changes.of("aws_s3_bucket_lifecycle_configuration", Kind.ATTRIBUTE)
def old_things_live_a_day_longer(lab: Lab) -> None:
    set_rules(lab, rule("old", 31), rule("drafts", 7))


@changes.of("aws_s3_bucket_lifecycle_configuration", Kind.DELETED)
def nothing_expires(lab: Lab) -> None:
    lab.client("s3").delete_bucket_lifecycle(Bucket=BUCKET)


@changes.of("aws_s3_bucket_public_access_block", Kind.ATTRIBUTE)
def public_lists_are_let_in(lab: Lab) -> None:
    block_public(lab, BlockPublicAcls=False)


@changes.of("aws_s3_bucket_public_access_block", Kind.DELETED)
def everything_public_is_let_in(lab: Lab) -> None:
    lab.client("s3").delete_public_access_block(Bucket=BUCKET)


@changes.of("aws_s3_bucket_policy", Kind.BLOCK_ADDED)
def statement_is_added(lab: Lab) -> None:
    """In a policy, the form in which blocks are added to buckets."""
    everybody = {**WORKER_READS, "Sid": "Everybody", "Principal": "*"}
    set_bucket_policy(lab, WORKER_READS, everybody)


@changes.of("aws_s3_bucket_policy", Kind.POLICY)
def worker_may_write(lab: Lab) -> None:
    set_bucket_policy(lab, {**WORKER_READS, "Action": "s3:PutObject"})


@changes.of("aws_s3_bucket_policy", Kind.DELETED)
def bucket_policy_is_deleted(lab: Lab) -> None:
    lab.client("s3").delete_bucket_policy(Bucket=BUCKET)


@changes.of("aws_s3_object", Kind.TAG_ADDED)
def welcome_is_tagged(lab: Lab) -> None:
    lab.client("s3").put_object_tagging(
        Bucket=BUCKET, Key="welcome.txt", Tagging={"TagSet": tags(note="by hand")}
    )


@changes.of("aws_s3_object", Kind.ATTRIBUTE)
def welcome_is_rewritten(lab: Lab) -> None:
    lab.client("s3").put_object(Bucket=BUCKET, Key="welcome.txt", Body=b"Go away")


@changes.of("aws_s3_object", Kind.DELETED)
def welcome_is_deleted(lab: Lab) -> None:
    lab.client("s3").delete_object(Bucket=BUCKET, Key="welcome.txt")


@changes.of("aws_s3_bucket", Kind.RECREATED)
def bucket_is_recreated(lab: Lab) -> None:
    """In another region."""
    objects = lab.client("s3")
    found = objects.list_object_versions(Bucket=BUCKET)
    for each in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
        objects.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])
    objects.delete_bucket(Bucket=BUCKET)
    lab.client("s3", "eu-central-1").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )


@changes.of("aws_dynamodb_table", Kind.ATTRIBUTE)
def carts_are_protected(lab: Lab) -> None:
    lab.client("dynamodb").update_table(TableName=TABLE, DeletionProtectionEnabled=True)


@changes.of("aws_dynamodb_table", Kind.ATTRIBUTE, Effect.KEPT)
def carts_expire(lab: Lab) -> None:
    """Of a time to live the code says nothing."""
    lab.client("dynamodb").update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )


@changes.of("aws_dynamodb_table", Kind.BLOCK_ADDED)
def index_is_added(lab: Lab) -> None:
    lab.client("dynamodb").update_table(
        TableName=TABLE,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("id", "owner", "coupon")
        ],
        GlobalSecondaryIndexUpdates=[{"Create": index("by-coupon", "coupon")}],
    )


@changes.of("aws_dynamodb_table", Kind.BLOCK_REMOVED)
def index_is_removed(lab: Lab) -> None:
    lab.client("dynamodb").update_table(
        TableName=TABLE, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-owner"}}]
    )


@changes.of("aws_dynamodb_table", Kind.RECREATED)
def carts_are_recreated_alike(lab: Lab) -> None:
    """As the code has them, but for the name of the stream, which has the time in it."""
    tables = lab.client("dynamodb")
    tables.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    tables.delete_table(TableName=TABLE)
    tables.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "owner")],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[index("by-owner", "owner")],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
        Tags=tags(team="shop"),
    )


@changes.of("aws_dynamodb_table", Kind.DELETED)
def carts_are_deleted(lab: Lab) -> None:
    lab.client("dynamodb").delete_table(TableName=TABLE)


@changes.of("aws_ecr_lifecycle_policy", Kind.POLICY)
def one_image_more_is_kept(lab: Lab) -> None:
    keep_images(lab, 11)


@changes.of("aws_ecr_lifecycle_policy", Kind.DELETED)
def all_images_are_kept(lab: Lab) -> None:
    lab.client("ecr").delete_lifecycle_policy(repositoryName=REPOSITORY)


@changes.of("aws_ecr_repository", Kind.ATTRIBUTE)
def images_may_be_replaced(lab: Lab) -> None:
    lab.client("ecr").put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="MUTABLE")


@changes.of("aws_ecr_repository", Kind.DELETED)
def repository_is_deleted(lab: Lab) -> None:
    lab.client("ecr").delete_repository(repositoryName=REPOSITORY, force=True)
