# What every service gets: a database of its own, a bucket for its exports and a firewall in front.

terraform {
  required_providers {
    sandbox = {
      source = "sandbox.driftwatch.local/driftwatch/sandbox"
    }
  }
}

locals {
  name = "${var.environment}-${var.name}"

  tags = {
    environment = var.environment
    service     = var.name
    managed_by  = "terraform"
  }
}

resource "sandbox_database" "this" {
  name     = local.name
  engine   = "postgres"
  version  = var.database_version
  size     = var.database_size
  replicas = var.replicas
  password = var.database_password

  parameters = {
    max_connections = "200"
    timezone        = "UTC"
  }

  maintenance = {
    day  = "sunday"
    hour = 3
  }

  tags = local.tags
}

resource "sandbox_bucket" "exports" {
  name       = "${local.name}-exports"
  versioning = true
  tags       = local.tags

  # Exports can be made again: nobody pays for old ones.
  lifecycle_rule {
    prefix      = "daily/"
    expire_days = 14
  }

  lifecycle_rule {
    prefix        = "monthly/"
    expire_days   = 400
    storage_class = "cold"
  }
}

resource "sandbox_firewall" "service" {
  name        = local.name
  description = "In front of ${var.name}"
  tags        = local.tags

  ingress {
    port        = var.port
    protocol    = "tcp"
    cidrs       = var.clients
    description = "the clients"
  }
}
