# Of others, made by hand before this code is applied: it only looks them up.

data "aws_ssm_parameter" "release" {
  name = "/others/release"
}

data "aws_secretsmanager_secret_version" "licence" {
  provider  = aws.us
  secret_id = "others-licence"
}

data "aws_s3_object" "settings" {
  bucket = "others-settings"
  key    = "settings.json"
}

data "aws_sqs_queue" "inbox" {
  provider = aws.us
  name     = "others-inbox"
}

data "aws_vpc" "shared" {
  filter {
    name   = "tag:Name"
    values = ["others-shared"]
  }
}

data "aws_iam_role" "auditor" {
  name = "others-auditor"
}

data "aws_kms_alias" "others" {
  name = "alias/others"
}

resource "aws_ssm_parameter" "release" {
  name  = "/shop/release"
  type  = "String"
  value = data.aws_ssm_parameter.release.insecure_value
}

output "settings" {
  value = data.aws_s3_object.settings.body
}

output "licence" {
  value     = data.aws_secretsmanager_secret_version.licence.secret_string
  sensitive = true
}
