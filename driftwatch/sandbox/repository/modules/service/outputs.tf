output "database_endpoint" {
  value = sandbox_database.this.endpoint
}

output "exports_bucket" {
  value = sandbox_bucket.exports.arn
}
