"""On the lab's network.tf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acceptance.aws.mutations.changes.kinds import Changes, Effect, Kind, tags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.acceptance.aws.conftest import Lab

changes = Changes()


def vpc(lab: Lab) -> str:
    """By its range: its name is changed by hand."""
    return lab.client("ec2").describe_vpcs(Filters=_where("cidr", "10.30.0.0/16"))["Vpcs"][0]["VpcId"]


def subnet(lab: Lab) -> str:
    found = lab.client("ec2").describe_subnets(Filters=_where("cidr-block", "10.30.1.0/24"))
    return found["Subnets"][0]["SubnetId"]


def gateway(lab: Lab) -> str:
    found = lab.client("ec2").describe_internet_gateways(Filters=_where("attachment.vpc-id", vpc(lab)))
    return found["InternetGateways"][0]["InternetGatewayId"]


def public_routes(lab: Lab) -> str:
    found = lab.client("ec2").describe_route_tables(Filters=_where("tag:Name", "shop-public"))
    return found["RouteTables"][0]["RouteTableId"]


def web(lab: Lab) -> str:
    found = lab.client("ec2").describe_security_groups(Filters=_where("group-name", "shop-web"))
    return found["SecurityGroups"][0]["GroupId"]


def _where(name: str, value: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]}]


def tcp(port: int, sources: Iterable[str], description: str = "") -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "IpRanges": [{"CidrIp": source, "Description": description} for source in sources],
    }


@changes.of("aws_vpc", Kind.ATTRIBUTE)
def vpc_resolves_no_names(lab: Lab) -> None:
    lab.client("ec2").modify_vpc_attribute(VpcId=vpc(lab), EnableDnsSupport={"Value": False})


@changes.of("aws_vpc", Kind.TAG_CHANGED)
def vpc_is_renamed(lab: Lab) -> None:
    lab.client("ec2").create_tags(Resources=[vpc(lab)], Tags=tags(Name="by-hand"))


@changes.of("aws_vpc", Kind.TAG_ADDED)
def vpc_is_tagged(lab: Lab) -> None:
    lab.client("ec2").create_tags(Resources=[vpc(lab)], Tags=tags(note=""))


@changes.of("aws_subnet", Kind.ATTRIBUTE)
def subnet_gives_public_addresses(lab: Lab) -> None:
    lab.client("ec2").modify_subnet_attribute(SubnetId=subnet(lab), MapPublicIpOnLaunch={"Value": True})


@changes.of("aws_subnet", Kind.TAG_REMOVED)
def subnet_loses_its_name(lab: Lab) -> None:
    lab.client("ec2").delete_tags(Resources=[subnet(lab)], Tags=[{"Key": "Name"}])


@changes.of("aws_subnet", Kind.DELETED)
def subnet_is_deleted(lab: Lab) -> None:
    lab.client("ec2").delete_subnet(SubnetId=subnet(lab))


@changes.of("aws_route_table", Kind.BLOCK_ADDED)
def route_is_added(lab: Lab) -> None:
    lab.client("ec2").create_route(
        RouteTableId=public_routes(lab), DestinationCidrBlock="198.51.100.0/24", GatewayId=gateway(lab)
    )


@changes.of("aws_route_table", Kind.BLOCK_REMOVED)
def way_out_is_removed(lab: Lab) -> None:
    lab.client("ec2").delete_route(RouteTableId=public_routes(lab), DestinationCidrBlock="0.0.0.0/0")


@changes.of("aws_internet_gateway", Kind.ATTRIBUTE)
def gateway_is_detached(lab: Lab) -> None:
    lab.client("ec2").detach_internet_gateway(InternetGatewayId=gateway(lab), VpcId=vpc(lab))


@changes.of("aws_security_group", Kind.BLOCK_ADDED)
def port_is_opened(lab: Lab) -> None:
    lab.client("ec2").authorize_security_group_ingress(
        GroupId=web(lab), IpPermissions=[tcp(22, ["0.0.0.0/0"], "for a moment")]
    )


@changes.of("aws_security_group", Kind.BLOCK_REMOVED)
def port_is_closed(lab: Lab) -> None:
    lab.client("ec2").revoke_security_group_ingress(
        GroupId=web(lab), IpPermissions=[tcp(80, ["10.30.0.0/16"], "http")]
    )


@changes.of("aws_security_group", Kind.ATTRIBUTE)
def port_is_opened_wider(lab: Lab) -> None:
    """A range more in a rule that stays one block."""
    lab.client("ec2").authorize_security_group_ingress(
        GroupId=web(lab), IpPermissions=[tcp(443, ["10.40.0.0/16"], "https")]
    )


@changes.of("aws_security_group", Kind.BLOCK_ADDED, Effect.KEPT)
def group_may_call_out(lab: Lab) -> None:
    """Of egress the code says nothing."""
    lab.client("ec2").authorize_security_group_egress(
        GroupId=web(lab), IpPermissions=[tcp(25, ["192.0.2.0/24"], "mail")]
    )


@changes.of("aws_security_group", Kind.RECREATED)
def group_is_recreated(lab: Lab) -> None:
    groups = lab.client("ec2")
    groups.delete_security_group(GroupId=web(lab))
    made = groups.create_security_group(GroupName="shop-web", Description="Web traffic", VpcId=vpc(lab))
    groups.authorize_security_group_ingress(
        GroupId=made["GroupId"], IpPermissions=[tcp(443, ["10.30.0.0/16"], "https")]
    )
