"""A lab's subnet, and the rules that lead an app host to the servers, computed without Docker."""

from ipaddress import IPv4Network
from itertools import pairwise

import pytest

from lab import network
from lab.errors import LabError
from lab.layout import ADDRESSES

SUBNET = IPv4Network("10.213.7.0/24")


def test_each_lab_tries_many_private_subnets_in_an_order_of_its_own() -> None:
    one, other = list(network.candidates("tlslab-1")), list(network.candidates("tlslab-2"))
    assert len(set(one)) == len(one) > 30
    assert one[0] != other[0]
    assert all(subnet.is_private and subnet.prefixlen == 24 for subnet in one)
    # Somebody who routes one private range still finds a subnet in another.
    assert len({subnet.supernet(new_prefix=16) for subnet in one}) == 3


def test_routes_of_this_machine_are_read_without_the_default_one() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "br\t0007D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert network.routed(table) == [IPv4Network("172.17.0.0/16"), SUBNET]


def test_no_two_containers_share_an_address_and_none_lies_where_docker_gives_its_own() -> None:
    assert len(set(ADDRESSES.values())) == len(ADDRESSES)
    assert all(1 < last < 128 for last in ADDRESSES.values())
    assert network.address(SUBNET, "voiceai-pgbouncer") == "10.213.7.12"


def test_each_port_of_the_database_host_leads_to_its_server() -> None:
    rules = network.translation(SUBNET).splitlines()
    assert rules[0] == "*nat"
    assert rules[-1] == "COMMIT"
    assert "-A LAB -p tcp -d 10.213.7.2 --dport 5433 -j DNAT --to-destination 10.213.7.11:5432" in rules
    assert "-A LAB -p tcp -d 10.213.7.2 --dport 6380 -j DNAT --to-destination 10.213.7.13:6380" in rules
    assert len([rule for rule in rules if rule.startswith("-A")]) == 4


def test_a_port_that_the_database_host_has_not_can_not_be_closed() -> None:
    with pytest.raises(LabError, match="has no port 22; it has 5432, 5433, 6379, 6380"):
        network.block("nowhere", SUBNET, 22)


def test_hosts_of_one_app_have_addresses_side_by_side() -> None:
    last = [ADDRESSES[host] for host in ("api1", "api2", "web", "voice", "ops", "worker", "telpro")]
    assert all(two - one == 1 for one, two in pairwise(last))
