terraform {
  required_version = ">= 1.5"

  required_providers {
    sandbox = {
      source  = "sandbox.driftwatch.local/driftwatch/sandbox"
      version = "~> 1.0"
    }
  }

  backend "local" {
    path          = "@STATES@/envs/prod/network/terraform.tfstate"
    workspace_dir = "@STATES@/envs/prod/network/workspaces"
  }
}

provider "sandbox" {
  cloud = "@CLOUD@"
}
