"""What a destroy loses for good is said in words, and only where something is lost."""

from __future__ import annotations

import pytest

from driftwatch.drift.losses import lost_with


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("aws_db_instance", "rows"),
        ("aws_rds_cluster", "rows"),
        ("google_sql_database_instance", "rows"),
        ("azurerm_mssql_database", "rows"),
        ("sandbox_database", "rows"),
        ("aws_s3_bucket", "objects"),
        ("google_storage_bucket", "objects"),
        ("azurerm_storage_account", "objects"),
        ("sandbox_bucket", "objects"),
        ("aws_ebs_volume", "disk"),
        ("google_compute_disk", "disk"),
        ("kubernetes_persistent_volume_claim_v1", "disk"),
        ("aws_kms_key", "key"),
        ("azurerm_key_vault_key", "key"),
        ("aws_secretsmanager_secret", "secret"),
        ("aws_iam_access_key", "secret"),
        ("aws_instance", "machine"),
        ("aws_route53_zone", "domain"),
        ("aws_eip", "address"),
        ("aws_sqs_queue", "messages"),
        ("aws_cloudwatch_log_group", "logs"),
        ("aws_cognito_user_pool", "accounts"),
        ("aws_eks_cluster", "cluster"),
        ("aws_db_snapshot", "backups"),
    ],
)
def test_what_holds_something_says_what_goes_with_it(kind: str, words: str) -> None:
    assert words in (lost_with(kind) or "")


@pytest.mark.parametrize(
    "kind",
    [
        "aws_security_group",
        "aws_s3_bucket_policy",
        "aws_s3_bucket_public_access_block",
        "aws_volume_attachment",
        "aws_kms_alias",
        "aws_sqs_queue_policy",
        "aws_db_subnet_group",
        "aws_iam_role",
        "sandbox_firewall",
        "null_resource",
    ],
)
def test_what_the_code_can_make_again_is_no_loss(kind: str) -> None:
    assert lost_with(kind) is None
