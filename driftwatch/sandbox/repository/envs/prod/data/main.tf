# The services of prod, each with its database.

module "orders" {
  source = "../../../modules/service"

  name              = "orders"
  environment       = "prod"
  clients           = ["10.10.0.0/16"]
  database_size     = 200
  replicas          = 2
  database_password = var.database_password
}

module "billing" {
  source = "../../../modules/service"

  name              = "billing"
  environment       = "prod"
  clients           = ["10.10.0.0/16"]
  database_size     = 50
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
