resource "aws_cloudwatch_log_group" "app" {
  provider          = aws.us
  name              = "/shop/app"
  retention_in_days = 14
  tags              = { team = "shop" }
}

resource "aws_cloudwatch_metric_alarm" "backlog" {
  alarm_name          = "shop-backlog"
  alarm_description   = "Too many orders wait"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = "shop-orders" }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 100
  period              = 60
  evaluation_periods  = 5
  tags                = { team = "shop" }
}
