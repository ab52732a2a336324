"""The corpus' documents of a real provider: the AWS one, against a server that plays AWS on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3

from tests.drift.scenarios import CANARY, CANARY_BY_HAND

if TYPE_CHECKING:
    from tests.drift.recorder import Recorder

CODE = f"""
terraform {{
  required_providers {{
    aws = {{ source = "hashicorp/aws" }}
  }}
}}
provider "aws" {{
  region                      = "eu-west-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  max_retries                 = 1
}}
resource "aws_sqs_queue" "orders" {{
  name = "orders"
}}
resource "aws_s3_bucket" "logs" {{
  bucket = "corpus-logs"
}}
resource "aws_ssm_parameter" "password" {{
  name  = "/corpus/password"
  type  = "SecureString"
  value = "{CANARY}"
}}
resource "aws_cloudwatch_log_group" "app" {{
  name              = "/corpus/app"
  retention_in_days = 14
  tags              = {{ team = "platform" }}
}}
resource "aws_security_group" "web" {{
  name        = "web"
  description = "edge"
  ingress {{
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["10.0.0.0/8"]
  }}
}}
"""


def play(recorder: Recorder, endpoint: str) -> dict[str, dict[str, Any]]:
    """Applies the code; the documents are that of an untouched cloud and that after hands were in it."""
    recorder.write({"main.tf": CODE})
    recorder.run("init", "-input=false")
    recorder.run("apply", "-auto-approve", "-input=false")
    untouched = recorder.plan()
    _meddle(endpoint)
    return {"aws_first_apply": untouched, "aws_drift": recorder.plan()}


def _meddle(endpoint: str) -> None:
    _client("sqs", endpoint).set_queue_attributes(
        QueueUrl=_client("sqs", endpoint).get_queue_url(QueueName="orders")["QueueUrl"],
        Attributes={"DelaySeconds": "30"},
    )
    _client("s3", endpoint).delete_bucket(Bucket="corpus-logs")
    _client("ssm", endpoint).put_parameter(
        Name="/corpus/password", Value=CANARY_BY_HAND, Type="SecureString", Overwrite=True
    )
    logs = _client("logs", endpoint)
    group = logs.describe_log_groups(logGroupNamePrefix="/corpus/app")["logGroups"][0]
    logs.tag_resource(resourceArn=group["arn"].removesuffix(":*"), tags={"by": "hand"})
    ec2 = _client("ec2", endpoint)
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["web"]}])
    everyone = {"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(
        GroupId=found["SecurityGroups"][0]["GroupId"], IpPermissions=[everyone]
    )


def _client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
