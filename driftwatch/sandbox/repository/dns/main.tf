# The public zone. Addresses of the load balancers are handed out by the network team.

locals {
  zone = "example.test"

  hosts = {
    www    = ["203.0.113.10", "203.0.113.11"]
    api    = ["203.0.113.20"]
    status = ["203.0.113.30"]
  }
}

resource "sandbox_dns_record" "host" {
  for_each = local.hosts

  zone   = local.zone
  name   = each.key
  type   = "A"
  ttl    = 300
  values = each.value
}

resource "sandbox_dns_record" "mail" {
  zone   = local.zone
  name   = "@"
  type   = "MX"
  ttl    = 3600
  values = ["10 mx1.example.test", "20 mx2.example.test"]
}
