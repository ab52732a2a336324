data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_caller_identity" "current" {}

resource "aws_iam_role" "worker" {
  name                 = "shop-worker"
  description          = "Works through the orders"
  max_session_duration = 3600
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  tags                 = { account = data.aws_caller_identity.current.account_id }
}

resource "aws_iam_role_policy" "worker" {
  name = "orders"
  role = aws_iam_role.worker.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["sqs:ReceiveMessage"]
      Resource = aws_sqs_queue.orders.arn
    }]
  })
}

resource "aws_iam_policy" "assets" {
  name = "shop-assets"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = "${aws_s3_bucket.assets.arn}/*"
    }]
  })
  tags = { team = "shop" }
}

resource "aws_iam_role_policy_attachment" "worker" {
  role       = aws_iam_role.worker.name
  policy_arn = aws_iam_policy.assets.arn
}

resource "aws_iam_user" "clerk" {
  name = "shop-clerk"
  path = "/staff/"
  tags = { team = "shop" }
}

resource "aws_kms_key" "data" {
  description             = "The shop's data"
  deletion_window_in_days = 7
  tags                    = { team = "shop" }
}

resource "aws_kms_alias" "data" {
  name          = "alias/shop-data"
  target_key_id = aws_kms_key.data.key_id
}

resource "aws_secretsmanager_secret" "token" {
  provider    = aws.us
  name        = "shop-token"
  description = "Of the payment service"
  tags        = { team = "shop" }
}

resource "aws_ssm_parameter" "flag" {
  name        = "/shop/flag"
  type        = "String"
  value       = "on"
  description = "Whether the shop is open"
  tags        = { team = "shop" }
}

resource "aws_ssm_parameter" "password" {
  provider = aws.us
  name     = "/shop/password"
  type     = "SecureString"
  value    = "canary-shop-password-3e8a"
}
