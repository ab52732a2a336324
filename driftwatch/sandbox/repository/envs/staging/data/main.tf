# The services of staging, each with its database.

module "orders" {
  source = "../../../modules/service"

  name              = "orders"
  environment       = "staging"
  clients           = ["10.20.0.0/16"]
  database_size     = 20
  replicas          = 0
  database_password = var.database_password
}

variable "database_password" {
  description = "Of all services; in a real repository it would come from a vault."
  type        = string
  sensitive   = true
  default     = "correct-horse-battery-staple"
}

output "orders_endpoint" {
  value = module.orders.database_endpoint
}
