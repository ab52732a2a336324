resource "aws_sqs_queue" "orders" {
  name                       = "shop-orders"
  delay_seconds              = 5
  visibility_timeout_seconds = 60
  tags                       = { team = "shop", stage = "production" }
}

resource "aws_sqs_queue" "elsewhere" {
  provider = aws.us
  name     = "shop-elsewhere"
}

resource "aws_sns_topic" "alerts" {
  provider     = aws.us
  name         = "shop-alerts"
  display_name = "Alerts"
  tags         = { team = "shop" }
}

resource "aws_sns_topic_subscription" "alerts" {
  provider  = aws.us
  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.elsewhere.arn
}

resource "aws_cloudwatch_event_rule" "nightly" {
  name                = "shop-nightly"
  description         = "Closes the books"
  schedule_expression = "rate(1 day)"
  state               = "ENABLED"
}

resource "aws_cloudwatch_event_target" "nightly" {
  rule      = aws_cloudwatch_event_rule.nightly.name
  target_id = "orders"
  arn       = aws_sqs_queue.orders.arn
  input     = jsonencode({ close = true })
}

resource "aws_kinesis_stream" "clicks" {
  name             = "shop-clicks"
  shard_count      = 1
  retention_period = 24
}
