resource "aws_route53_zone" "main" {
  name    = "shop.example"
  comment = "The shop"
}

resource "aws_route53_record" "www" {
  zone_id = aws_route53_zone.main.zone_id
  name    = "www.shop.example"
  type    = "A"
  ttl     = 300
  records = ["192.0.2.10"]
}
