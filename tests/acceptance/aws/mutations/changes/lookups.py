"""Of others, looked up by the lab's lookups.tf: nothing that terraform manages is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.acceptance.aws.mutations.changes.kinds import EU, US, Changes, Effect, Kind, tags, trust

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

changes = Changes()


def prepare(lab: Lab) -> None:
    """Makes what others have, before the lab is applied."""
    lab.client("ssm").put_parameter(Name="/others/release", Value="41", Type="String")
    lab.client("secretsmanager", US).create_secret(
        Name="others-licence", SecretString="canary-others-licence-41"
    )
    lab.client("s3").create_bucket(
        Bucket="others-settings", CreateBucketConfiguration={"LocationConstraint": EU}
    )
    put_settings(lab, b'{"open": true}')
    lab.client("sqs", US).create_queue(QueueName="others-inbox", tags={"team": "others"})
    lab.client("ec2").create_vpc(
        CidrBlock="10.40.0.0/16",
        TagSpecifications=[{"ResourceType": "vpc", "Tags": tags(Name="others-shared")}],
    )
    lab.client("iam").create_role(
        RoleName="others-auditor", AssumeRolePolicyDocument=trust("ec2.amazonaws.com")
    )
    point_alias(lab, "create_alias")


def put_settings(lab: Lab, body: bytes, **more: object) -> None:
    lab.client("s3").put_object(
        Bucket="others-settings", Key="settings.json", Body=body, ContentType="application/json", **more
    )


def point_alias(lab: Lab, operation: str) -> None:
    """To a new key."""
    keys = lab.client("kms")
    key = keys.create_key(Description="Of others")["KeyMetadata"]["KeyId"]
    getattr(keys, operation)(AliasName="alias/others", TargetKeyId=key)


def shared_vpc(lab: Lab) -> str:
    found = lab.client("ec2").describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["others-shared"]}])
    return found["Vpcs"][0]["VpcId"]


@changes.of("aws_vpc", Kind.LOOKUP, Effect.INPUT)
def shared_vpc_is_tagged(lab: Lab) -> None:
    lab.client("ec2").create_tags(Resources=[shared_vpc(lab)], Tags=tags(owner="others"))


@changes.of("aws_vpc", Kind.LOOKUP, Effect.INPUT)
def shared_vpc_resolves_no_names(lab: Lab) -> None:
    lab.client("ec2").modify_vpc_attribute(VpcId=shared_vpc(lab), EnableDnsSupport={"Value": False})


@changes.of("aws_sqs_queue", Kind.LOOKUP, Effect.INPUT)
def inbox_is_retagged(lab: Lab) -> None:
    queues = lab.client("sqs", US)
    queues.tag_queue(
        QueueUrl=queues.get_queue_url(QueueName="others-inbox")["QueueUrl"], Tags={"team": "nobody"}
    )


@changes.of("aws_iam_role", Kind.LOOKUP, Effect.INPUT)
def auditor_trusts_others(lab: Lab) -> None:
    lab.client("iam").update_assume_role_policy(
        RoleName="others-auditor", PolicyDocument=trust("lambda.amazonaws.com")
    )


@changes.of("aws_iam_role", Kind.LOOKUP, Effect.INPUT)
def auditor_is_recreated_alike(lab: Lab) -> None:
    """But for its unique id."""
    lab.client("iam").delete_role(RoleName="others-auditor")
    lab.client("iam").create_role(
        RoleName="others-auditor", AssumeRolePolicyDocument=trust("lambda.amazonaws.com")
    )


@changes.of("aws_kms_alias", Kind.LOOKUP, Effect.INPUT)
def alias_of_others_points_elsewhere(lab: Lab) -> None:
    point_alias(lab, "update_alias")


@changes.of("aws_s3_object", Kind.LOOKUP, Effect.INPUT)
def settings_get_metadata(lab: Lab) -> None:
    put_settings(lab, b'{"open": true}', Metadata={"by": "hand"})


@changes.of("aws_s3_object", Kind.LOOKUP)
def settings_say_closed(lab: Lab) -> None:
    """Which an output shows."""
    put_settings(lab, b'{"open": false}')


@changes.of("aws_secretsmanager_secret_version", Kind.LOOKUP)
def licence_is_replaced(lab: Lab) -> None:
    """Which a sensitive output shows."""
    lab.client("secretsmanager", US).put_secret_value(
        SecretId="others-licence", SecretString="canary-others-licence-42"
    )


@changes.of("aws_ssm_parameter", Kind.LOOKUP)
def release_is_raised(lab: Lab) -> None:
    """Which a parameter of the lab repeats."""
    lab.client("ssm").put_parameter(Name="/others/release", Value="42", Type="String", Overwrite=True)
