"""On the lab's messages.tf."""

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
)

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

changes = Changes()

ORDERS = f"arn:aws:sqs:{EU}:{ACCOUNT}:shop-orders"
ELSEWHERE = f"arn:aws:sqs:{US}:{ACCOUNT}:shop-elsewhere"
TOPIC = f"arn:aws:sns:{US}:{ACCOUNT}:shop-alerts"
RULE = "shop-nightly"
STREAM = "shop-clicks"


def orders(lab: Lab) -> str:
    return lab.client("sqs").get_queue_url(QueueName="shop-orders")["QueueUrl"]


def elsewhere(lab: Lab) -> str:
    return lab.client("sqs", US).get_queue_url(QueueName="shop-elsewhere")["QueueUrl"]


def subscription(lab: Lab) -> str:
    found = lab.client("sns", US).list_subscriptions_by_topic(TopicArn=TOPIC)
    return found["Subscriptions"][0]["SubscriptionArn"]


def set_target(lab: Lab, **more: Any) -> None:
    target = {"Id": "orders", "Arn": ORDERS, "Input": json.dumps({"close": True}), **more}
    lab.client("events").put_targets(Rule=RULE, Targets=[target])


@changes.of("aws_sqs_queue", Kind.ATTRIBUTE)
def orders_wait_no_more(lab: Lab) -> None:
    lab.client("sqs").set_queue_attributes(QueueUrl=orders(lab), Attributes={"DelaySeconds": "0"})


@changes.of("aws_sqs_queue", Kind.TAG_CHANGED)
def orders_change_hands(lab: Lab) -> None:
    lab.client("sqs").tag_queue(QueueUrl=orders(lab), Tags={"team": "nobody"})


@changes.of("aws_sqs_queue", Kind.TAG_ADDED)
def orders_are_tagged(lab: Lab) -> None:
    lab.client("sqs").tag_queue(QueueUrl=orders(lab), Tags={"note": "by hand"})


@changes.of("aws_sqs_queue", Kind.TAG_REMOVED)
def orders_lose_their_stage(lab: Lab) -> None:
    lab.client("sqs").untag_queue(QueueUrl=orders(lab), TagKeys=["stage"])


@changes.of("aws_sqs_queue", Kind.POLICY, Effect.KEPT)
def anybody_may_send_orders(lab: Lab) -> None:
    """Of the queue's policy the code says nothing."""
    lab.client("sqs").set_queue_attributes(
        QueueUrl=orders(lab),
        Attributes={"Policy": json.dumps(document("sqs:SendMessage", ORDERS, Principal="*"))},
    )


@changes.of("aws_sqs_queue", Kind.RECREATED)
def queue_elsewhere_is_recreated(lab: Lab) -> None:
    queues = lab.client("sqs", US)
    queues.delete_queue(QueueUrl=elsewhere(lab))
    queues.create_queue(QueueName="shop-elsewhere", Attributes={"VisibilityTimeout": "31"})


@changes.of("aws_sns_topic", Kind.ATTRIBUTE)
def topic_is_renamed_for_people(lab: Lab) -> None:
    lab.client("sns", US).set_topic_attributes(
        TopicArn=TOPIC, AttributeName="DisplayName", AttributeValue="alerts"
    )


@changes.of("aws_sns_topic", Kind.POLICY, Effect.KEPT)
def anybody_may_publish(lab: Lab) -> None:
    """Of the topic's policy the code says nothing."""
    lab.client("sns", US).set_topic_attributes(
        TopicArn=TOPIC,
        AttributeName="Policy",
        AttributeValue=json.dumps(document("sns:Publish", TOPIC, Principal="*")),
    )


@changes.of("aws_sns_topic_subscription", Kind.ATTRIBUTE)
def subscription_delivers_raw(lab: Lab) -> None:
    lab.client("sns", US).set_subscription_attributes(
        SubscriptionArn=subscription(lab), AttributeName="RawMessageDelivery", AttributeValue="true"
    )


@changes.of("aws_sns_topic_subscription", Kind.POLICY)
def subscription_filters(lab: Lab) -> None:
    lab.client("sns", US).set_subscription_attributes(
        SubscriptionArn=subscription(lab),
        AttributeName="FilterPolicy",
        AttributeValue=json.dumps({"urgent": ["yes"]}),
    )


@changes.of("aws_sns_topic_subscription", Kind.RECREATED)
def subscription_is_recreated(lab: Lab) -> None:
    """As the code has it, but for its id."""
    topics = lab.client("sns", US)
    topics.unsubscribe(SubscriptionArn=subscription(lab))
    topics.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=ELSEWHERE)


@changes.of("aws_sns_topic", Kind.DELETED)
def topic_is_deleted(lab: Lab) -> None:
    lab.client("sns", US).delete_topic(TopicArn=TOPIC)


@changes.of("aws_cloudwatch_event_rule", Kind.ATTRIBUTE)
def books_are_closed_hourly(lab: Lab) -> None:
    lab.client("events").put_rule(
        Name=RULE, Description="Closes the books", ScheduleExpression="rate(1 hour)"
    )


@changes.of("aws_cloudwatch_event_rule", Kind.ATTRIBUTE)
def books_are_left_open(lab: Lab) -> None:
    lab.client("events").disable_rule(Name=RULE)


@changes.of("aws_cloudwatch_event_target", Kind.ATTRIBUTE)
def target_is_told_otherwise(lab: Lab) -> None:
    set_target(lab, Input=json.dumps({"close": False}))


@changes.of("aws_cloudwatch_event_target", Kind.BLOCK_ADDED)
def target_gets_a_dead_letter_queue(lab: Lab) -> None:
    set_target(lab, DeadLetterConfig={"Arn": ORDERS})


@changes.of("aws_cloudwatch_event_target", Kind.DELETED)
def target_is_removed(lab: Lab) -> None:
    lab.client("events").remove_targets(Rule=RULE, Ids=["orders"])


@changes.of("aws_cloudwatch_event_rule", Kind.RECREATED)
def rule_is_recreated(lab: Lab) -> None:
    lab.client("events").delete_rule(Name=RULE)
    lab.client("events").put_rule(Name=RULE, ScheduleExpression="rate(1 day)")


@changes.of("aws_kinesis_stream", Kind.ATTRIBUTE)
def clicks_are_kept_longer(lab: Lab) -> None:
    lab.client("kinesis").increase_stream_retention_period(StreamName=STREAM, RetentionPeriodHours=48)


@changes.of("aws_kinesis_stream", Kind.TAG_ADDED)
def clicks_are_tagged(lab: Lab) -> None:
    lab.client("kinesis").add_tags_to_stream(StreamName=STREAM, Tags={"note": "by hand"})


@changes.of("aws_kinesis_stream", Kind.RECREATED)
def clicks_are_recreated(lab: Lab) -> None:
    """With a shard more."""
    streams = lab.client("kinesis")
    streams.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    streams.create_stream(StreamName=STREAM, ShardCount=2)


@changes.of("aws_sqs_queue", Kind.DELETED)
def queue_elsewhere_is_deleted(lab: Lab) -> None:
    """The very last: the provider looks for a queue that is not there for 20 s."""
    lab.client("sqs", US).delete_queue(QueueUrl=elsewhere(lab))
