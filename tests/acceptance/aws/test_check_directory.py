"""`driftwatch check DIR` on the AWS lab: it names exactly what was changed by hand, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]

OUT_OF_BAND = {"out_of_band"}


def counted(check: dict[str, Any]) -> dict[str, tuple[str, set[str], set[str]]]:
    """Address → (kind, causes, paths of the attributes that count)."""
    return {
        finding["address"]: (
            finding["kind"],
            set(finding["causes"]),
            {change["path"] for change in finding["attributes"] if change["cause"] != "noise"},
        )
        for finding in check["findings"]
        if finding["counted"]
    }


def meddle(lab: Lab) -> None:
    """What a colleague in a hurry does: changes by hand in two regions, over several services."""
    ec2 = lab.client("ec2")
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["lab-web"]}])
    ec2.authorize_security_group_ingress(
        GroupId=group["SecurityGroups"][0]["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ],
    )
    lab.client("ssm").put_parameter(Name="/lab/flag", Value="off", Type="String", Overwrite=True)
    lab.client("ssm", "us-east-1").put_parameter(
        Name="/lab/secret", Value="canary-by-hand-77ad", Type="SecureString", Overwrite=True
    )
    lab.client("logs", "us-east-1").put_retention_policy(logGroupName="/lab/us", retentionInDays=30)
    lab.client("s3").put_bucket_tagging(
        Bucket="lab-logs", Tagging={"TagSet": [{"Key": "team", "Value": "nobody"}]}
    )
    lab.client("iam").put_role_policy(
        RoleName="lab-worker",
        PolicyName="queue",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": ["sqs:*"], "Resource": "*"}],
            }
        ),
    )
    queues = lab.client("sqs", "us-east-1")
    queues.delete_queue(QueueUrl=queues.get_queue_url(QueueName="lab-elsewhere")["QueueUrl"])
    lab.client("dynamodb").delete_table(TableName="lab-orders")


def test_drift_pending_and_both(lab: Lab) -> None:
    """In sync; a merged commit (pending); changes by hand as well (mixed); those alone (drifted)."""
    code, check = lab.check()
    assert (code, check["verdict"], counted(check)) == (0, "in_sync", {})
    assert check["engine"]["providers"] == {"registry.terraform.io/hashicorp/aws": "5.100.0"}

    main = lab.directory / "main.tf"
    main.write_text(main.read_text().replace("default = 5", "default = 9"))
    lab.git("commit", "-qam", "Slow the queue down")
    code, check = lab.check()
    assert (code, check["verdict"]) == (2, "pending")
    assert counted(check) == {"aws_sqs_queue.jobs": ("modified", {"undetermined"}, {"/delay_seconds"})}
    assert check["commit"] == lab.git("rev-parse", "HEAD")

    meddle(lab)
    code, check = lab.check()
    assert (code, check["verdict"]) == (2, "mixed")
    found = counted(check)
    assert found.pop("aws_sqs_queue.jobs") == ("modified", {"undetermined"}, {"/delay_seconds"})
    _assert_meddled(found)

    lab.git("revert", "--no-edit", "HEAD")
    code, check = lab.check()
    assert (code, check["verdict"]) == (2, "drifted")
    _assert_meddled(counted(check))
    assert "canary" not in json.dumps(check)


def _assert_meddled(found: dict[str, tuple[str, set[str], set[str]]]) -> None:
    deleted = {address for address, (kind, _, _) in found.items() if kind == "deleted"}
    assert deleted == {"aws_sqs_queue.elsewhere", "aws_dynamodb_table.orders"}
    changed = {address: paths for address, (kind, _, paths) in found.items() if kind == "modified"}
    assert changed == {
        "aws_security_group.web": {"/ingress"},
        "aws_ssm_parameter.flag": {"/value"},
        "aws_ssm_parameter.secret": {"/value"},
        "aws_cloudwatch_log_group.us": {"/retention_in_days"},
        "aws_s3_bucket.logs": {"/tags/team"},
        "aws_iam_role_policy.worker": {"/policy"},
    }
    assert len(found) == len(deleted) + len(changed)
    assert all(causes == OUT_OF_BAND for _, causes, _ in found.values())
