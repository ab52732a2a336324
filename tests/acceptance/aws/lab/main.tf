# The lab: resources of many types in two regions, against a local server that plays AWS.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }

  backend "local" {}
}

variable "queue_delay" {
  type    = number
  default = 5
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  max_retries                 = 5
}

provider "aws" {
  alias                       = "us"
  region                      = "us-east-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  max_retries                 = 5
}

data "aws_caller_identity" "current" {}

data "aws_region" "us" {
  provider = aws.us
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_vpc" "main" {
  cidr_block = "10.20.0.0/16"
  tags       = { Name = "lab" }
}

resource "aws_subnet" "a" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.20.1.0/24"
  tags       = { Name = "lab-a" }
}

resource "aws_security_group" "web" {
  name        = "lab-web"
  description = "Web traffic"
  vpc_id      = aws_vpc.main.id

  ingress {
    description = "https"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["10.20.0.0/16"]
  }
}

resource "aws_sqs_queue" "jobs" {
  name          = "lab-jobs"
  delay_seconds = var.queue_delay
}

resource "aws_sqs_queue" "elsewhere" {
  provider = aws.us
  name     = "lab-elsewhere"
}

resource "aws_sns_topic" "alerts" {
  name         = "lab-alerts"
  display_name = "Alerts"
}

resource "aws_sns_topic_subscription" "alerts" {
  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.jobs.arn
}

resource "aws_s3_bucket" "logs" {
  bucket = "lab-logs"
  tags   = { team = "platform" }
}

resource "aws_s3_bucket_versioning" "logs" {
  bucket = aws_s3_bucket.logs.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_ssm_parameter" "flag" {
  name  = "/lab/flag"
  type  = "String"
  value = "on"
}

resource "aws_ssm_parameter" "secret" {
  provider = aws.us
  name     = "/lab/secret"
  type     = "SecureString"
  value    = "canary-lab-secret-5b1f"
}

resource "aws_dynamodb_table" "orders" {
  name         = "lab-orders"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"
  attribute {
    name = "id"
    type = "S"
  }
}

resource "aws_iam_role" "worker" {
  name               = "lab-worker"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "worker" {
  name = "queue"
  role = aws_iam_role.worker.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["sqs:ReceiveMessage"]
      Resource = aws_sqs_queue.jobs.arn
    }]
  })
}

resource "aws_cloudwatch_log_group" "app" {
  name              = "/lab/app"
  retention_in_days = 14
}

resource "aws_cloudwatch_log_group" "us" {
  provider          = aws.us
  name              = "/lab/us"
  retention_in_days = 7
}

resource "aws_kms_key" "data" {
  description             = "lab data"
  deletion_window_in_days = 7
}

resource "aws_secretsmanager_secret" "token" {
  name        = "lab-token"
  description = "A token"
}

resource "aws_ecr_repository" "app" {
  name = "lab-app"
}
