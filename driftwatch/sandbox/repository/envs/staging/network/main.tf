# The edge of staging. Changes here need two pairs of eyes.

locals {
  office = ["192.0.2.0/24", "198.51.100.0/24"]

  tags = {
    environment = "staging"
    team        = "platform"
  }
}

resource "sandbox_firewall" "web" {
  name        = "staging-web"
  description = "Load balancers"
  tags        = local.tags

  # HTTPS for the world, HTTP only to redirect to it.
  ingress {
    port        = 443
    protocol    = "tcp"
    cidrs       = ["0.0.0.0/0"]
    description = "https"
  }

  ingress {
    port        = 80
    protocol    = "tcp"
    cidrs       = ["0.0.0.0/0"]
    description = "redirect"
  }
}

resource "sandbox_firewall" "admin" {
  name        = "staging-admin"
  description = "Bastion hosts"
  tags        = local.tags

  ingress {
    port        = 22
    protocol    = "tcp"
    cidrs       = local.office # nobody else, ever
    description = "ssh"
  }
}

# One per tier; none is reachable from outside.
resource "sandbox_firewall" "tier" {
  for_each = {
    app  = 8443
    data = 5432
  }

  name = "staging-${each.key}"

  ingress {
    port     = each.value
    protocol = "tcp"
    cidrs    = ["10.20.0.0/16"]
  }
}

output "firewalls" {
  value = { for name, tier in sandbox_firewall.tier : name => tier.id }
}
