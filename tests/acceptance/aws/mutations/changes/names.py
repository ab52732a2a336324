"""On the lab's names.tf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acceptance.aws.mutations.changes.kinds import Changes, Kind, tags

if TYPE_CHECKING:
    from tests.acceptance.aws.conftest import Lab

changes = Changes()

ZONE = "shop.example"


def zone(lab: Lab) -> str:
    found = lab.client("route53").list_hosted_zones_by_name(DNSName=ZONE)
    return found["HostedZones"][0]["Id"].removeprefix("/hostedzone/")


def change_www(lab: Lab, action: str, *, ttl: int, addresses: list[str]) -> None:
    record: dict[str, Any] = {
        "Name": f"www.{ZONE}",
        "Type": "A",
        "TTL": ttl,
        "ResourceRecords": [{"Value": address} for address in addresses],
    }
    lab.client("route53").change_resource_record_sets(
        HostedZoneId=zone(lab), ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    )


@changes.of("aws_route53_zone", Kind.ATTRIBUTE)
def zone_gets_a_comment(lab: Lab) -> None:
    lab.client("route53").update_hosted_zone_comment(Id=zone(lab), Comment="Do not touch")


@changes.of("aws_route53_zone", Kind.TAG_ADDED)
def zone_is_tagged(lab: Lab) -> None:
    lab.client("route53").change_tags_for_resource(
        ResourceType="hostedzone", ResourceId=zone(lab), AddTags=tags(owner="nobody")
    )


@changes.of("aws_route53_record", Kind.ATTRIBUTE)
def record_lives_shorter(lab: Lab) -> None:
    change_www(lab, "UPSERT", ttl=60, addresses=["192.0.2.10"])


@changes.of("aws_route53_record", Kind.ATTRIBUTE)
def record_names_a_second_address(lab: Lab) -> None:
    change_www(lab, "UPSERT", ttl=60, addresses=["192.0.2.10", "192.0.2.11"])


@changes.of("aws_route53_record", Kind.DELETED)
def record_is_deleted(lab: Lab) -> None:
    change_www(lab, "DELETE", ttl=60, addresses=["192.0.2.10", "192.0.2.11"])


@changes.of("aws_route53_zone", Kind.RECREATED)
def zone_is_recreated_alike(lab: Lab) -> None:
    """But for its id."""
    names = lab.client("route53")
    names.delete_hosted_zone(Id=zone(lab))
    names.create_hosted_zone(
        Name=ZONE, CallerReference="by-hand", HostedZoneConfig={"Comment": "The shop", "PrivateZone": False}
    )
