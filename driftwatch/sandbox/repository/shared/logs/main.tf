# Where every environment writes its audit log.

data "sandbox_region" "here" {}

resource "sandbox_bucket" "audit" {
  count = 2

  name       = "audit-${count.index}"
  versioning = true

  tags = {
    team = "security"
    zone = data.sandbox_region.here.zones[count.index]
  }

  lifecycle_rule {
    prefix      = "raw/"
    expire_days = 90
  }

  # The compliance tool labels our buckets by itself.
  lifecycle {
    ignore_changes = [tags["compliance"]]
  }
}
