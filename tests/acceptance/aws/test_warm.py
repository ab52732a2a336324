"""With the real AWS provider: warm plans are terraform's own, and no change by hand escapes a replay."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Digester, read_plan
from driftwatch.model import Inputs
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Packages
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import Answer, replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.drift import Reading
    from driftwatch.warm.recording import Recording
    from tests.acceptance.aws.conftest import Lab

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]


def plan(lab: Lab, **more: str) -> dict[str, Any]:
    file = str(lab.directory / ".plan")
    warm = type(lab)(
        directory=lab.directory,
        endpoint=lab.endpoint,
        binary=lab.binary,
        environment={**lab.environment, **more},
    )
    warm.terraform("plan", "-input=false", "-lock=false", f"-out={file}")
    document = json.loads(warm.terraform("show", "-json", file))
    # terraform lists these in the random order of a map.
    relevant = sorted(document.get("relevant_attributes", ()), key=json.dumps)
    return {**document, "timestamp": "2026-01-01T00:00:00Z", "relevant_attributes": relevant}


def plan_warm(
    lab: Lab, pool: Pool, types: frozenset[str] | None
) -> tuple[dict[str, Any], Recording, frozenset[str]]:
    packages = Packages().selected(lab.directory / ".terraform", lab.directory / ".terraform.lock.hcl")
    environment = {name: value for name, value in lab.environment.items() if not name.startswith("TF_")}
    with Gateway(
        pool,
        packages,
        environment=environment,
        directory=lab.directory,
        stop=threading.Event(),
        types=types,
    ) as gateway:
        document = plan(lab, TF_REATTACH_PROVIDERS=gateway.reattach())
        assert gateway.faults == ()
        return document, gateway.recording(), gateway.types


def read(document: dict[str, Any]) -> Reading:
    return read_plan(document, digest=Digester(b"key"), inputs=Inputs(), baseline=None)


def ask_again(recording: Recording, pool: Pool) -> tuple[Answer, set[str]]:
    outcome = replay(recording, pool, seconds=120, parallelism=10, stop=threading.Event())
    return outcome.answer, set(outcome.types)


def open_port(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["lab-web"]}])
    ec2.authorize_security_group_ingress(
        GroupId=group["SecurityGroups"][0]["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ],
    )


def delete_queue(lab: Lab) -> None:
    queues = lab.client("sqs", "us-east-1")
    queues.delete_queue(QueueUrl=queues.get_queue_url(QueueName="lab-elsewhere")["QueueUrl"])


def allow_all(lab: Lab) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    lab.client("iam").put_role_policy(
        RoleName="lab-worker", PolicyName="queue", PolicyDocument=json.dumps(policy)
    )


def set_parameter(region: str, name: str, value: str, kind: str) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        lab.client("ssm", region).put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)

    return change


def retag(lab: Lab) -> None:
    lab.client("s3").put_bucket_tagging(
        Bucket="lab-logs", Tagging={"TagSet": [{"Key": "team", "Value": "nobody"}]}
    )


def suspend_versions(lab: Lab) -> None:
    lab.client("s3").put_bucket_versioning(Bucket="lab-logs", VersioningConfiguration={"Status": "Suspended"})


CHANGES: dict[str, Callable[[Lab], None]] = {
    "aws_security_group": open_port,
    "aws_ssm_parameter": set_parameter("eu-west-1", "/lab/flag", "off", "String"),
    "aws_ssm_parameter ": set_parameter("us-east-1", "/lab/secret", "canary-by-hand", "SecureString"),
    "aws_s3_bucket": retag,
    "aws_s3_bucket_versioning": suspend_versions,
    "aws_iam_role_policy": allow_all,
    "aws_sqs_queue": delete_queue,
    "aws_dynamodb_table": lambda lab: lab.client("dynamodb").delete_table(TableName="lab-orders"),
    "aws_cloudwatch_log_group": lambda lab: lab.client("logs", "us-east-1").put_retention_policy(
        logGroupName="/lab/us", retentionInDays=30
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_change_by_hand_escapes(lab: Lab) -> None:
    """Each in turn, over a recording of its own that a replay has proved; and the readings are equal."""
    with Pool(Limits(), lambda: datetime.now(UTC)) as pool:
        plain = plan(lab)
        document, recording, types = plan_warm(lab, pool, None)
        assert document == plain
        assert (recording.reads, recording.unusable) == (22, ())
        for named, change in CHANGES.items():
            assert ask_again(recording, pool) == (Answer.SAME, set())
            change(lab)
            answer, differing = ask_again(recording, pool)
            assert (answer, named.strip() in differing) == (Answer.DIFFERS, True), (named, differing)
            document, recording, _ = plan_warm(lab, pool, types)
        plain = plan(lab)
        assert document == plain
        assert read(document) == read(plain)
        assert {each.type for each in read(plain).findings if each.counted} == {
            named.strip() for named in CHANGES
        }
        assert pool.stats().launched == 2
