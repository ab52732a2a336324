"""On the lab's watching.tf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acceptance.aws.mutations.changes.kinds import ACCOUNT, EU, US, Changes, Kind

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

changes = Changes()

LOG = "/shop/app"
ALARM: dict[str, Any] = {
    "AlarmName": "shop-backlog",
    "AlarmDescription": "Too many orders wait",
    "Namespace": "AWS/SQS",
    "MetricName": "ApproximateNumberOfMessagesVisible",
    "Dimensions": [{"Name": "QueueName", "Value": "shop-orders"}],
    "Statistic": "Maximum",
    "ComparisonOperator": "GreaterThanThreshold",
    "Threshold": 100.0,
    "Period": 60,
    "EvaluationPeriods": 5,
}
"""As the code has it."""


def set_alarm(lab: Lab, **more: Any) -> None:
    lab.client("cloudwatch").put_metric_alarm(**{**ALARM, **more})


@changes.of("aws_cloudwatch_log_group", Kind.ATTRIBUTE)
def logs_are_kept_longer(lab: Lab) -> None:
    lab.client("logs", US).put_retention_policy(logGroupName=LOG, retentionInDays=30)


@changes.of("aws_cloudwatch_log_group", Kind.TAG_CHANGED)
def logs_change_hands(lab: Lab) -> None:
    lab.client("logs", US).tag_log_group(logGroupName=LOG, tags={"team": "nobody"})


@changes.of("aws_cloudwatch_log_group", Kind.RECREATED)
def logs_are_recreated(lab: Lab) -> None:
    """Kept for ever, as a service makes them that finds none."""
    lab.client("logs", US).delete_log_group(logGroupName=LOG)
    lab.client("logs", US).create_log_group(logGroupName=LOG)


@changes.of("aws_cloudwatch_log_group", Kind.DELETED)
def logs_are_deleted(lab: Lab) -> None:
    lab.client("logs", US).delete_log_group(logGroupName=LOG)


@changes.of("aws_cloudwatch_metric_alarm", Kind.ATTRIBUTE)
def alarm_is_blunted(lab: Lab) -> None:
    set_alarm(lab, Threshold=100.5)


@changes.of("aws_cloudwatch_metric_alarm", Kind.ATTRIBUTE)
def alarm_tells_somebody_else(lab: Lab) -> None:
    set_alarm(lab, Threshold=100.5, AlarmActions=[f"arn:aws:sns:{EU}:{ACCOUNT}:others-pager"])


@changes.of("aws_cloudwatch_metric_alarm", Kind.DELETED)
def alarm_is_deleted(lab: Lab) -> None:
    lab.client("cloudwatch").delete_alarms(AlarmNames=["shop-backlog"])
