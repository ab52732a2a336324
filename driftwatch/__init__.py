"""driftwatch: drift detection and GitOps reconciliation for Terraform and OpenTofu."""

__version__ = "0.1.0"
