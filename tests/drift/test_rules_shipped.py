"""Every shipped rule does what it says, and leaves alone what looks like it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.rule_files import shipped
from driftwatch.drift.severity import severity_of
from driftwatch.model import UNKNOWN_VALUE, Cause, Finding, FindingKind, Severity
from tests.drift.rule_samples import STACK, apply, by_code, by_hand, found, one, rules, verdict
from tests.drift.test_corpus import MEANING, read_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.drift import Reading
    from driftwatch.drift.rules import Rules
    from driftwatch.model import JsonValue

ON, OFF = True, False
ANYBODY = "0.0.0.0"  # noqa: S104  (in a firewall rule of Azure: all its services)
SHIPPED = rules()
ALL_ON = rules(noise={"autoscaling": True})


def policy(action: JsonValue = "s3:GetObject", principal: JsonValue = None, **more: JsonValue) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    if principal is not None:
        statement["Principal"] = principal
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def changed(type_: str, path: str, before: JsonValue = "a", actual: JsonValue = "b", **more: Any) -> Finding:
    return found(by_hand(path, before, actual, **more), type_=type_)


def gone(type_: str, kind: FindingKind = FindingKind.DELETED) -> Finding:
    return found(type_=type_, kind=kind, action="create", causes=(Cause.OUT_OF_BAND,))


WORLD: JsonValue = [{"cidr_blocks": ["0.0.0.0/0"], "from_port": 22}]
OFFICE: JsonValue = [{"cidr_blocks": ["10.0.0.0/8"], "from_port": 22}]
DESTROYED = FindingKind.DESTROYED

SEVERITY: dict[str, tuple[list[Finding], list[Finding]]] = {
    # What lowers.
    "labels": (
        [
            changed("aws_instance", "/tags/Name"),
            changed("google_storage_bucket", "/labels/team"),
            changed("aws_security_group", "/description"),
        ],
        [
            changed("aws_instance", "/tag_policy"),
            changed("aws_instance", "/tags", sensitive=True),
            found(by_hand("/description", "a", "b"), kind=FindingKind.REPLACED, action="replace"),
        ],
    ),
    "state-only": (
        [found(kind=DESTROYED, action="forget", causes=(Cause.UNAPPLIED_COMMIT,))],
        [found(kind=DESTROYED, action="delete", causes=(Cause.UNAPPLIED_COMMIT,))],
    ),
    # Any cloud.
    "ingress": (
        [changed("aws_security_group", "/ingress"), changed("aws_default_security_group", "/ingress")],
        [changed("aws_security_group", "/egress")],
    ),
    "egress": ([changed("aws_security_group", "/egress")], [changed("aws_security_group", "/name")]),
    "ingress-rule": (
        [changed("aws_security_group_rule", "/to_port"), gone("aws_vpc_security_group_ingress_rule")],
        [gone("aws_security_group"), gone("aws_security_group_rule", DESTROYED)],
    ),
    "egress-rule": (
        [changed("aws_vpc_security_group_egress_rule", "/to_port")],
        [gone("aws_vpc_security_group_ingress_rule")],
    ),
    "firewall-ingress": (
        [changed("google_compute_firewall", "/source_ranges"), changed("sandbox_firewall", "/ingress")],
        [changed("google_compute_firewall", "/priority")],
    ),
    "firewall-egress": ([changed("sandbox_firewall", "/egress")], [changed("sandbox_firewall", "/ingress")]),
    "network-acl": ([changed("aws_network_acl_rule", "/rule_action")], [changed("aws_subnet", "/x")]),
    "network-security": (
        [changed("azurerm_network_security_rule", "/access"), gone("azurerm_network_security_group")],
        [changed("azurerm_network_interface", "/x")],
    ),
    "public-access": (
        [
            changed("aws_db_instance", "/publicly_accessible", OFF, ON),
            changed("azurerm_key_vault", "/public_network_access_enabled", OFF, ON),
            changed("google_storage_bucket", "/public_access_prevention", "enforced", "inherited"),
        ],
        [changed("aws_instance", "/public_ip")],
    ),
    "public-access-block": (
        [changed("aws_s3_bucket_public_access_block", "/x"), gone("aws_s3_account_public_access_block")],
        [gone("aws_s3_bucket")],
    ),
    "bucket-acl": (
        [changed("aws_s3_bucket_acl", "/x"), gone("google_storage_bucket_acl")],
        [gone("aws_s3_bucket")],
    ),
    "acl": ([changed("aws_s3_object", "/acl")], [changed("aws_s3_object", "/acls")]),
    "identity": (
        [changed("aws_iam_role", "/max_session_duration"), gone("google_project_iam_member")],
        [changed("aws_identitystore_user", "/x")],
    ),
    "role-assignment": ([gone("azurerm_role_assignment")], [gone("azurerm_role_definition")]),
    "policy": (
        [changed("aws_s3_bucket_policy", "/policy"), changed("x_y", "/a/key_policy")],
        [changed("x_y", "/polic")],
    ),
    "trust": ([changed("aws_iam_role", "/assume_role_policy")], [changed("aws_iam_role", "/path")]),
    "encryption": (
        [changed("aws_db_instance", "/storage_encrypted"), changed("aws_sns_topic", "/kms_master_key_id")],
        [changed("aws_sns_topic", "/name")],
    ),
    "encryption-resource": (
        [gone("aws_s3_bucket_server_side_encryption_configuration")],
        [gone("aws_s3_bucket")],
    ),
    "logging-resource": ([gone("aws_s3_bucket_logging")], [gone("aws_s3_bucket_versioning")]),
    "deletion-protection": (
        [changed("aws_db_instance", "/deletion_protection", ON, OFF)],
        [changed("aws_db_instance", "/deletion")],
    ),
    "password": ([changed("x_y", "/password_policy_id")], [changed("x_y", "/pass")]),
    # AWS.
    "aws-open-to-the-world": (
        [
            changed("aws_network_acl", "/ingress", OFFICE, WORLD),
            changed("aws_vpc_security_group_egress_rule", "/cidr_ipv6", "fd00::/8", "::/0"),
            changed("aws_eks_cluster", "/vpc_config", [{"x": ["10.0.0.0/8"]}], [{"x": ["0.0.0.0/0"]}]),
        ],
        [
            changed("aws_network_acl", "/ingress", WORLD, OFFICE),
            changed("aws_network_acl", "/ingress", WORLD, [*WORLD, *OFFICE]),
        ],
    ),
    "aws-policy-widened": (
        [
            changed("aws_iam_policy", "/policy", policy(), policy("*")),
            changed("aws_s3_bucket_policy", "/policy", policy(), policy(principal={"AWS": ["1", "*"]})),
            changed("aws_iam_role", "/assume_role_policy", policy(), policy(principal="*")),
            found(by_code("/policy", policy(), policy(["s3:*", "*"])), type_="aws_kms_key"),
        ],
        [
            changed("aws_iam_policy", "/policy", policy("*"), policy()),
            changed("aws_iam_policy", "/policy", policy("*"), policy(["*", "s3:*"])),
            changed("aws_s3_bucket_policy", "/policy", policy(), policy(principal="*", Condition={"x": {}})),
            changed("aws_iam_policy", "/policy", policy(), policy("*").replace("Allow", "Deny")),
            changed("aws_iam_policy", "/policy", policy(), "no policy"),
        ],
    ),
    "aws-public-acl": (
        [changed("aws_s3_bucket_acl", "/acl", "private", "public-read-write")],
        [changed("aws_s3_bucket_acl", "/acl", "public-read", "private")],
    ),
    "aws-encryption-off": (
        [
            changed("aws_db_instance", "/storage_encrypted", ON, OFF),
            changed("aws_ebs_volume", "/encrypted", ON, OFF),
        ],
        [changed("aws_db_instance", "/storage_encrypted", OFF, ON)],
    ),
    "aws-encryption-by-default-off": (
        [changed("aws_ebs_encryption_by_default", "/enabled", ON, OFF)],
        [changed("aws_ebs_encryption_by_default", "/enabled", OFF, ON)],
    ),
    "aws-trail-off": (
        [changed("aws_cloudtrail", "/enable_logging", ON, OFF)],
        [changed("aws_cloudtrail", "/enable_logging", OFF, ON)],
    ),
    "aws-trail-gone": ([gone("aws_cloudtrail"), gone("aws_cloudtrail", DESTROYED)], [gone("aws_cloudwatch")]),
    "aws-detector-off": (
        [changed("aws_guardduty_detector", "/enable", ON, OFF)],
        [changed("aws_guardduty_detector", "/enable", OFF, ON)],
    ),
    "aws-detector-gone": ([gone("aws_guardduty_detector")], [gone("aws_guardduty_filter")]),
    "aws-recorder-off": (
        [changed("aws_config_configuration_recorder_status", "/is_enabled", ON, OFF)],
        [changed("aws_config_configuration_recorder_status", "/is_enabled", OFF, ON)],
    ),
    "aws-access-logs-off": (
        [changed("aws_lb", "/access_logs", [{"enabled": ON}], [{"enabled": OFF}])],
        [changed("aws_lb", "/access_logs", [{"enabled": OFF}], [{"enabled": ON}])],
    ),
    "aws-database-logs-off": (
        [changed("aws_db_instance", "/enabled_cloudwatch_logs_exports", ["audit"], [])],
        [changed("aws_db_instance", "/enabled_cloudwatch_logs_exports", [], ["audit"])],
    ),
    "aws-versioning-off": (
        [
            changed(
                "aws_s3_bucket_versioning",
                "/versioning_configuration",
                [{"status": "Enabled"}],
                [{"status": "Suspended"}],
            )
        ],
        [
            changed(
                "aws_s3_bucket_versioning",
                "/versioning_configuration",
                [{"status": "Suspended"}],
                [{"status": "Enabled"}],
            )
        ],
    ),
    "aws-deletion-protection-off": (
        [changed("aws_lb", "/enable_deletion_protection", ON, OFF)],
        [changed("aws_lb", "/enable_deletion_protection", OFF, ON)],
    ),
    "aws-backups-off": (
        [changed("aws_db_instance", "/backup_retention_period", 7, 0)],
        [changed("aws_db_instance", "/backup_retention_period", 7, 1)],
    ),
    "aws-recovery-off": (
        [changed("aws_dynamodb_table", "/point_in_time_recovery", [{"enabled": ON}], [{"enabled": OFF}])],
        [changed("aws_dynamodb_table", "/point_in_time_recovery", [{"enabled": OFF}], [{"enabled": ON}])],
    ),
    "aws-key-rotation-off": (
        [changed("aws_kms_key", "/enable_key_rotation", ON, OFF)],
        [changed("aws_kms_key", "/enable_key_rotation", OFF, ON)],
    ),
    "aws-key-off": (
        [changed("aws_kms_key", "/is_enabled", ON, OFF)],
        [changed("aws_kms_key", "/is_enabled", OFF, ON)],
    ),
    "aws-key-gone": ([gone("aws_kms_key"), gone("aws_kms_key", DESTROYED)], [gone("aws_kms_alias")]),
    "aws-metadata-without-token": (
        [
            changed(
                "aws_instance",
                "/metadata_options",
                [{"http_tokens": "required"}],
                [{"http_tokens": "optional"}],
            )
        ],
        [
            changed(
                "aws_instance",
                "/metadata_options",
                [{"http_tokens": "optional"}],
                [{"http_tokens": "required"}],
            )
        ],
    ),
    "aws-function-open": (
        [changed("aws_lambda_function_url", "/authorization_type", "AWS_IAM", "NONE")],
        [changed("aws_lambda_function_url", "/authorization_type", "NONE", "AWS_IAM")],
    ),
    "aws-invoked-by-all": (
        [changed("aws_lambda_permission", "/principal", "events.amazonaws.com", "*")],
        [changed("aws_lambda_permission", "/principal", "*", "events.amazonaws.com")],
    ),
    "aws-image-public": (
        [changed("aws_ami_launch_permission", "/group", None, "all")],
        [changed("aws_ami_launch_permission", "/group", "all", None)],
    ),
    # Azure.
    "azure-database-open": (
        [
            changed("azurerm_mssql_firewall_rule", "/start_ip_address", "10.0.0.1", ANYBODY),
            changed(
                "azurerm_postgresql_flexible_server_firewall_rule", "/start_ip_address", "10.0.0.1", ANYBODY
            ),
        ],
        [changed("azurerm_mssql_firewall_rule", "/start_ip_address", ANYBODY, "10.0.0.1")],
    ),
    "azure-blobs-public": (
        [changed("azurerm_storage_account", "/allow_nested_items_to_be_public", OFF, ON)],
        [changed("azurerm_storage_account", "/allow_nested_items_to_be_public", ON, OFF)],
    ),
    "azure-container-public": (
        [changed("azurerm_storage_container", "/container_access_type", "private", "blob")],
        [changed("azurerm_storage_container", "/container_access_type", "blob", "private")],
    ),
    "azure-network-open": (
        [
            changed("azurerm_storage_account_network_rules", "/default_action", "Deny", "Allow"),
            changed(
                "azurerm_key_vault",
                "/network_acls",
                [{"default_action": "Deny"}],
                [{"default_action": "Allow"}],
            ),
        ],
        [changed("azurerm_storage_account_network_rules", "/default_action", "Allow", "Deny")],
    ),
    "azure-plain-transport": (
        [changed("azurerm_linux_web_app", "/https_only", ON, OFF)],
        [changed("azurerm_linux_web_app", "/https_only", OFF, ON)],
    ),
    "azure-old-tls": (
        [changed("azurerm_storage_account", "/min_tls_version", "TLS1_2", "TLS1_0")],
        [changed("azurerm_storage_account", "/min_tls_version", "TLS1_0", "TLS1_2")],
    ),
    "azure-vault-unprotected": (
        [changed("azurerm_key_vault", "/purge_protection_enabled", ON, OFF)],
        [changed("azurerm_key_vault", "/purge_protection_enabled", OFF, ON)],
    ),
    "azure-key-gone": ([gone("azurerm_key_vault_key")], [gone("azurerm_key_vault_access_policy")]),
    "azure-encryption-off": (
        [changed("azurerm_mssql_database", "/transparent_data_encryption_enabled", ON, OFF)],
        [changed("azurerm_mssql_database", "/transparent_data_encryption_enabled", OFF, ON)],
    ),
    "azure-rotation-off": (
        [changed("azurerm_key_vault_key", "/rotation_policy", [{"expire_after": "P90D"}], [])],
        [changed("azurerm_key_vault_key", "/rotation_policy", [], [{"expire_after": "P90D"}])],
    ),
    "azure-diagnostics": (
        [
            gone("azurerm_monitor_diagnostic_setting"),
            changed("azurerm_monitor_diagnostic_setting", "/enabled_log"),
        ],
        [gone("azurerm_monitor_action_group")],
    ),
    "azure-lock-gone": ([gone("azurerm_management_lock")], [changed("azurerm_management_lock", "/notes")]),
    "azure-powerful-role": (
        [changed("azurerm_role_assignment", "/role_definition_name", "Reader", "Owner")],
        [changed("azurerm_role_assignment", "/role_definition_name", "Owner", "Reader")],
    ),
    "azure-cluster-open": (
        [changed("azurerm_kubernetes_cluster", "/api_server_access_profile", OFFICE, WORLD)],
        [changed("azurerm_kubernetes_cluster", "/api_server_access_profile", WORLD, OFFICE)],
    ),
    "azure-cluster-without-roles": (
        [changed("azurerm_kubernetes_cluster", "/local_account_disabled", ON, OFF)],
        [changed("azurerm_kubernetes_cluster", "/local_account_disabled", OFF, ON)],
    ),
    "azure-backups-off": (
        [changed("azurerm_postgresql_flexible_server", "/geo_redundant_backup_enabled", ON, OFF)],
        [changed("azurerm_postgresql_flexible_server", "/backup_retention_days", 7, 30)],
    ),
    # Google.
    "google-network-tags": (
        [changed("google_compute_instance", "/tags", ["web"], ["web", "ssh"])],
        [changed("google_compute_disk", "/tags")],
    ),
    "google-firewall-off": (
        [changed("google_compute_firewall", "/disabled", OFF, ON)],
        [changed("google_compute_firewall", "/disabled", ON, OFF)],
    ),
    "google-everybody": (
        [
            changed("google_storage_bucket_iam_binding", "/members", ["user:a"], ["user:a", "allUsers"]),
            changed("google_bigquery_dataset", "/access", [{"x": "a"}], [{"x": "allAuthenticatedUsers"}]),
        ],
        [changed("google_storage_bucket_iam_binding", "/members", ["allUsers"], ["user:a"])],
    ),
    "google-powerful-role": (
        [changed("google_project_iam_member", "/role", "roles/viewer", "roles/owner")],
        [changed("google_project_iam_member", "/role", "roles/owner", "roles/viewer")],
    ),
    "google-bucket-acls": (
        [changed("google_storage_bucket", "/uniform_bucket_level_access", ON, OFF)],
        [changed("google_storage_bucket", "/uniform_bucket_level_access", OFF, ON)],
    ),
    "google-versioning-off": (
        [changed("google_storage_bucket", "/versioning", [{"enabled": ON}], [{"enabled": OFF}])],
        [changed("google_storage_bucket", "/versioning", [{"enabled": OFF}], [{"enabled": ON}])],
    ),
    "google-retention-gone": (
        [changed("google_storage_bucket", "/retention_policy", [{"days": 1}], [])],
        [changed("google_storage_bucket", "/retention_policy", [], [{"days": 1}])],
    ),
    "google-database-open": (
        [changed("google_sql_database_instance", "/settings", OFFICE, WORLD)],
        [changed("google_sql_database_instance", "/settings", WORLD, OFFICE)],
    ),
    "google-cluster-open": (
        [changed("google_container_cluster", "/master_authorized_networks_config", OFFICE, WORLD)],
        [changed("google_container_cluster", "/master_authorized_networks_config", WORLD, OFFICE)],
    ),
    "google-cluster-logs-off": (
        [
            changed(
                "google_container_cluster", "/logging_service", "logging.googleapis.com/kubernetes", "none"
            )
        ],
        [
            changed(
                "google_container_cluster", "/logging_service", "none", "logging.googleapis.com/kubernetes"
            )
        ],
    ),
    "google-cluster-abac": (
        [changed("google_container_cluster", "/enable_legacy_abac", OFF, ON)],
        [changed("google_container_cluster", "/enable_legacy_abac", ON, OFF)],
    ),
    "google-rotation-off": (
        [changed("google_kms_crypto_key", "/rotation_period", "7776000s", None)],
        [changed("google_kms_crypto_key", "/rotation_period", None, "7776000s")],
    ),
    "google-key-gone": ([gone("google_kms_crypto_key")], [gone("google_kms_crypto_key_iam_member")]),
    "google-audit-gone": ([gone("google_project_iam_audit_config")], [gone("google_project_iam_member")]),
    "google-sink-gone": ([gone("google_logging_project_sink")], [gone("google_logging_metric")]),
    "google-flow-logs-off": (
        [changed("google_compute_subnetwork", "/log_config", [{"x": 1}], [])],
        [changed("google_compute_subnetwork", "/log_config", [], [{"x": 1}])],
    ),
    "google-customer-key-gone": (
        [changed("google_bigquery_table", "/encryption_configuration", [{"kms": "k"}], [])],
        [changed("google_bigquery_table", "/encryption_configuration", [], [{"kms": "k"}])],
    ),
}


def fitting(under: Rules, finding: Finding) -> set[str]:
    return {fit.rule for fit in under.fits(finding, stack=STACK, today=None)}


def test_every_severity_rule_is_in_the_table() -> None:
    assert list(SEVERITY) == [rule.id for rule in shipped().severity.rules]
    clouds = [id_.partition("-")[0] for id_ in SEVERITY]
    assert min(clouds.count(cloud) for cloud in ("aws", "azure", "google")) >= 10


@pytest.mark.parametrize("id_", SEVERITY)
def test_each_severity_rule_fits_what_it_is_for_and_grades_it(id_: str) -> None:
    (rule,) = (rule for rule in shipped().severity.rules if rule.id == id_)
    for finding in SEVERITY[id_][0]:
        assert f"severity:{id_}" in fitting(SHIPPED, finding), finding
        result = one(SHIPPED, finding)
        wanted = Severity(rule.severity)
        assert result.severity is wanted if rule.override else result.severity.rank >= wanted.rank


@pytest.mark.parametrize("id_", SEVERITY)
def test_each_severity_rule_leaves_alone_what_looks_like_it(id_: str) -> None:
    for finding in SEVERITY[id_][1]:
        assert f"severity:{id_}" not in fitting(SHIPPED, finding), finding


@pytest.mark.parametrize("id_", SEVERITY)
def test_reading_a_plan_grades_as_the_rules_do(id_: str) -> None:
    """Who has no configuration (`check DIR`) sees the shipped severities all the same."""
    for finding in SEVERITY[id_][0]:
        alone = severity_of(
            kind=finding.kind,
            type_=finding.type,
            action=finding.action,
            attributes=finding.attributes,
            counted=finding.counted,
        )
        assert alone is one(SHIPPED, finding).severity


# ---- Noise ---------------------------------------------------------------------------------------------


def cosmetic(type_: str, path: str, actual: JsonValue, after: JsonValue) -> Finding:
    """The cloud gives it back in other words than the code says it."""
    return found(by_code(path, actual, after), type_=type_)


STATEMENT = {
    "Effect": "Allow",
    "Action": "s3:GetObject",
    "Resource": ["b", "a"],
    "Principal": {"AWS": "123456789012"},
}
SAME_STATEMENT = {
    "Principal": {"AWS": ["arn:aws:iam::123456789012:root"]},
    "Resource": ["a", "b"],
    "Action": ["S3:GetObject"],
    "Effect": "Allow",
}
NOISE: dict[str, tuple[list[Finding], list[Finding]]] = {
    "set-order": (
        [
            cosmetic("aws_security_group", "/ingress", [{"p": 1}, {"p": 2}], [{"p": 2}, {"p": 1}]),
            cosmetic("azurerm_key_vault_access_policy", "/key_permissions", ["Get", "List"], ["List", "Get"]),
            cosmetic("google_compute_firewall", "/source_ranges", ["a", "b"], ["b", "a"]),
        ],
        [
            cosmetic("aws_security_group", "/ingress", [{"p": 1}, {"p": 2}], [{"p": 2}, {"p": 3}]),
            cosmetic("aws_security_group", "/ingress", ["a", "a", "b"], ["a", "b", "b"]),
            cosmetic("aws_route_table", "/route", ["a", "b"], ["b", "a"]),
        ],
    ),
    "policy-documents": (
        [
            cosmetic(
                "aws_s3_bucket_policy",
                "/policy",
                json.dumps({"Version": "2012-10-17", "Statement": STATEMENT}),
                json.dumps({"Statement": [SAME_STATEMENT], "Version": "2012-10-17"}, indent=2),
            ),
            cosmetic(
                "google_project_iam_policy",
                "/policy_data",
                '{"bindings":[{"role":"r","members":["b","a"]}],"etag":"x"}',
                '{"bindings": [{"members": ["a", "b"], "role": "r"}]}',
            ),
        ],
        [
            cosmetic("aws_s3_bucket_policy", "/policy", policy(), policy("s3:PutObject")),
            cosmetic("aws_s3_bucket_policy", "/policy", policy(), policy(principal="*")),
            cosmetic("aws_s3_bucket_policy", "/policy", policy(), UNKNOWN_VALUE),
            cosmetic("aws_s3_bucket_policy", "/name", policy(), policy().replace(" ", "")),
        ],
    ),
    "json-documents": (
        [cosmetic("aws_sfn_state_machine", "/definition", '{"a":1,"b":[1,2]}', '{ "b": [1, 2], "a": 1 }')],
        [
            cosmetic("aws_sfn_state_machine", "/definition", '{"a": [1, 2]}', '{"a": [2, 1]}'),
            cosmetic("aws_sfn_state_machine", "/definition", "no json", "No json"),
        ],
    ),
    "counted-up-aws": (
        [
            cosmetic("aws_ssm_parameter", "/version", 2, UNKNOWN_VALUE),
            cosmetic("aws_lambda_function", "/last_modified", "2026-01-01", UNKNOWN_VALUE),
        ],
        [
            changed("aws_ssm_parameter", "/value", "1", "2"),
            cosmetic("aws_ssm_parameter", "/version", 2, 3),
            cosmetic("azurerm_ssm_parameter", "/version", 2, UNKNOWN_VALUE),
        ],
    ),
    "counted-up-azure": (
        [cosmetic("azurerm_key_vault_secret", "/version", "a", UNKNOWN_VALUE)],
        [cosmetic("azurerm_kubernetes_cluster", "/kubernetes_version", "1.30", "1.31")],
    ),
    "counted-up-google": (
        [
            cosmetic("google_compute_instance", "/label_fingerprint", "a", UNKNOWN_VALUE),
            cosmetic("google_storage_bucket_object", "/generation", 1, UNKNOWN_VALUE),
        ],
        [cosmetic("google_compute_instance", "/machine_type", "a", "b")],
    ),
    "autoscaled-aws": (
        [
            changed("aws_autoscaling_group", "/desired_capacity", 2, 5),
            changed("aws_ecs_service", "/desired_count", 2, 5),
            changed("aws_dynamodb_table", "/read_capacity", 5, 50),
            changed("aws_eks_node_group", "/scaling_config", [{"desired_size": 1}], [{"desired_size": 3}]),
        ],
        [
            changed("aws_autoscaling_group", "/max_size", 2, 5),
            changed("aws_ecs_service", "/desired_count", 2, None),
            changed(
                "aws_dynamodb_table", "/global_secondary_index", [{"n": "a", "c": 1}], [{"n": "b", "c": 2}]
            ),
        ],
    ),
    "autoscaled-azure": (
        [changed("azurerm_kubernetes_cluster_node_pool", "/node_count", 1, 3)],
        [changed("azurerm_kubernetes_cluster", "/default_node_pool", [{"vm_size": "a"}], [{"vm_size": "b"}])],
    ),
    "autoscaled-google": (
        [changed("google_compute_instance_group_manager", "/target_size", 1, 3)],
        [changed("google_compute_instance_group_manager", "/base_instance_name", "a", "b")],
    ),
}


def test_every_noise_rule_is_in_the_table_or_decided_by_reading() -> None:
    assert list(NOISE) == [rule.id for rule in shipped().noise.rules if rule.compare != "reading"]


@pytest.mark.parametrize("id_", NOISE)
def test_each_noise_rule_hides_what_it_is_for(id_: str) -> None:
    for finding in NOISE[id_][0]:
        result = one(ALL_ON, finding)
        assert not result.counted, finding
        assert result.attributes[0].rule == f"noise:{id_}"


@pytest.mark.parametrize("id_", NOISE)
def test_each_noise_rule_lets_through_what_only_looks_like_it(id_: str) -> None:
    for finding in NOISE[id_][1]:
        assert one(ALL_ON, finding).counted, finding


def test_autoscaled_capacities_are_drift_unless_somebody_says_otherwise() -> None:
    for id_ in ("autoscaled-aws", "autoscaled-azure", "autoscaled-google"):
        assert all(finding.counted for finding in apply(SHIPPED, *NOISE[id_][0]).findings)


def test_no_noise_rule_compares_digests() -> None:
    """Two digests that are the same in another order are no lists that are known to be the same."""
    digests = [f"sensitive:hmac-sha256:{digit * 16}" for digit in "ab"]
    finding = cosmetic("aws_security_group", "/ingress", [*digests], [*reversed(digests)])
    assert one(ALL_ON, finding).counted
    marked = replace(NOISE["set-order"][0][0].attributes[0], sensitive=True)
    assert one(ALL_ON, found(marked, type_="aws_security_group")).counted


def test_a_tag_without_a_value_is_left_to_reading() -> None:
    """Null against an empty text means nothing but in a map, which only reading the plan can tell apart."""
    assert one(ALL_ON, changed("aws_instance", "/tags/by", None, "")).counted


@pytest.mark.parametrize("name", MEANING)
def test_the_shipped_rules_change_no_verdict_of_a_real_plan(
    name: str, reading: Callable[..., Reading]
) -> None:
    """Nor a severity that reading it gave: what they are for is not in the corpus."""
    result = read_scenario(reading, name)
    governed = apply(SHIPPED, *result.findings)
    assert verdict(governed) is result.verdict
    for was, now in zip(result.findings, governed.findings, strict=True):
        assert replace(now, rule=None) == was
