"""What is lost for good where a resource is destroyed or replaced, in the words of whoever would miss it.

Only what an apply cannot bring back is named: data, keys that open data, names and addresses that others hold
on to. A resource whose type is not here can be made again from the code. Types are as their providers call
them; the table goes by what a thing is, so that a new provider's `*_database` is among them too.
"""

from __future__ import annotations

from functools import lru_cache

from driftwatch.config.patterns import matches_text

_LOSSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "a pointer, a rule or a share in something that stays",
        (
            "*_policy",
            "*_policy_*",
            "*_attachment",
            "*_association",
            "*_iam_role",
            "*_iam_group",
            "*_iam_member",
            "*_iam_binding",
            "*_iam_instance_profile",
            "*_role_assignment",
            "*_subnet_group",
            "*_parameter_group",
            "*_option_group",
            "*_bucket_acl",
            "*_bucket_versioning",
            "*_bucket_public_access_block",
            "*_bucket_notification",
            "*_bucket_ownership_controls",
            "*_bucket_server_side_encryption_configuration",
            "*_bucket_lifecycle_configuration",
            "*_bucket_logging",
            "*_bucket_website_configuration",
            "*_bucket_cors_configuration",
            "*_firewall_rule",
            "*_alias",
            "aws_key_pair",
            "*_secret_rotation",
        ),
    ),
    (
        "backups of something: after this there is nothing to restore from",
        (
            "*_snapshot",
            "*_snapshot_copy",
            "*_backup_vault",
            "*_recovery_services_vault",
            "*_backup",
            "aws_ami",
            "aws_ami_*",
            "*_machine_image",
        ),
    ),
    (
        "a key: what it has encrypted can never be read again, wherever it lies",
        (
            "*_kms_key",
            "*_kms_external_key",
            "*_kms_replica_key",
            "*_crypto_key",
            "*_key_vault",
            "*_key_vault_key",
            "*_keyring",
            "tls_private_key",
        ),
    ),
    (
        "a secret: whoever uses it has none until it is set and handed out again",
        (
            "*_secretsmanager_secret",
            "*_secretsmanager_secret_version",
            "*_secret_manager_secret",
            "*_secret_manager_secret_version",
            "*_key_vault_secret",
            "*_key_vault_certificate",
            "aws_ssm_parameter",
            "aws_iam_access_key",
            "*_service_account_key",
            "vault_*secret*",
            "random_password",
            "kubernetes_secret*",
        ),
    ),
    (
        "a database with all its rows: only a backup brings them back",
        (
            "aws_db_instance",
            "aws_rds_cluster",
            "aws_rds_cluster_instance",
            "aws_rds_global_cluster",
            "aws_dynamodb_table",
            "aws_dynamodb_global_table",
            "aws_redshift_cluster",
            "aws_redshiftserverless_namespace",
            "aws_docdb_cluster*",
            "aws_neptune_cluster*",
            "aws_elasticsearch_domain",
            "aws_opensearch_domain",
            "aws_opensearchserverless_collection",
            "aws_timestreamwrite_*",
            "aws_keyspaces_*",
            "aws_memorydb_cluster",
            "google_sql_database*",
            "google_spanner_*",
            "google_bigtable_*",
            "google_bigquery_dataset",
            "google_bigquery_table",
            "google_firestore_database",
            "google_alloydb_*",
            "azurerm_*sql_*",
            "azurerm_mysql_*",
            "azurerm_mariadb_*",
            "azurerm_cosmosdb_*",
            "azurerm_kusto_*",
            "*_database",
            "*_database_cluster",
            "*_database_instance",
            "*_db_instance",
            "*_db_cluster",
            "*_sql_instance",
            "*_rdb_instance",
            "mongodbatlas_*cluster",
            "snowflake_table",
            "postgresql_database",
            "mysql_database",
        ),
    ),
    (
        "objects and files that are stored there, with their earlier versions",
        (
            "*_bucket",
            "aws_s3_object",
            "aws_s3_bucket_object",
            "*_storage_account",
            "*_storage_container",
            "*_storage_blob",
            "*_storage_share",
            "*_storage_bucket_object",
            "*_efs_file_system",
            "*_fsx_*",
            "*_filestore_instance",
            "*_file_share",
            "*_container_registry",
            "*_ecr_repository",
            "*_ecrpublic_repository",
            "*_artifact_registry_repository",
            "local_file",
            "local_sensitive_file",
        ),
    ),
    (
        "a disk with what is on it",
        (
            "*_ebs_volume",
            "*_volume",
            "*_disk",
            "*_block_volume",
            "*_persistent_volume",
            "*_persistent_volume_claim",
            "kubernetes_persistent_volume*",
        ),
    ),
    (
        "a machine with what is on its own disks, and its addresses",
        (
            "aws_instance",
            "aws_spot_instance_request",
            "google_compute_instance",
            "azurerm_*virtual_machine",
            "*_compute_instance*",
            "*_droplet",
            "hcloud_server",
            "*_virtual_machine",
            "*_lightsail_instance",
        ),
    ),
    (
        "messages and events that nobody has read yet",
        (
            "*_sqs_queue",
            "*_kinesis_stream",
            "*_msk_cluster",
            "*_kafka_topic",
            "*_kafka_cluster",
            "*_pubsub_topic",
            "*_pubsub_subscription",
            "*_servicebus_*",
            "*_eventhub",
            "*_mq_broker",
        ),
    ),
    (
        "what was cached there, and the sessions of whoever is signed in",
        ("*_elasticache_*", "*_redis_*", "*_redis", "*_memcache_instance"),
    ),
    (
        "logs and metrics that were kept there",
        (
            "*_cloudwatch_log_group",
            "*_log_group",
            "*_log_analytics_workspace",
            "*_logging_*bucket*",
            "*_prometheus_workspace",
        ),
    ),
    (
        "accounts of people: they have to be made, and their passwords set, anew",
        ("*_cognito_user_pool", "*_identity_platform_*", "*_iam_user", "azuread_user", "*_directory"),
    ),
    (
        "a domain with its names: whoever looks one up finds nothing, and a new zone has other name servers",
        ("*_route53_zone", "*_dns_zone", "*_dns_managed_zone", "cloudflare_zone", "*_domain_registration"),
    ),
    (
        "an address that others have written down: a new one will be another",
        ("*_eip", "*_compute_address", "*_global_address", "*_public_ip", "*_floating_ip"),
    ),
    (
        "a cluster with all that runs on it",
        (
            "*_eks_cluster",
            "*_gke_cluster",
            "*_container_cluster",
            "*_kubernetes_cluster",
            "*_ecs_cluster",
            "kubernetes_namespace*",
        ),
    ),
)
"""What is lost, and whose types; of several that fit, the first counts: it begins with what loses nothing."""


@lru_cache(maxsize=4096)
def lost_with(kind: str) -> str | None:
    """What goes with a resource of this type for good; None where the code can make it again."""
    for place, (words, globs) in enumerate(_LOSSES):
        if any(matches_text(glob, kind) for glob in globs):
            return words if place else None
    return None
