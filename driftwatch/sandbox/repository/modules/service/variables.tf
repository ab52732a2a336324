variable "name" {
  description = "The service, such as orders."
  type        = string
}

variable "environment" {
  type = string
}

variable "port" {
  description = "Where the service listens."
  type        = number
  default     = 8443
}

variable "clients" {
  description = "Networks that may talk to it."
  type        = set(string)
}

variable "database_version" {
  type    = string
  default = "15.4"
}

variable "database_size" {
  description = "In GiB."
  type        = number
  default     = 20
}

variable "database_password" {
  type      = string
  sensitive = true
}

variable "replicas" {
  type    = number
  default = 0
}
