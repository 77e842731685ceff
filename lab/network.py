"""The lab's network: a subnet of its own with fixed addresses, and the ways from the app hosts to the servers.

On real hosts the database host publishes its containers' ports; here a host is itself a container and can't. STAND-IN:
each app host translates the database host's address into the server's (iptables, DNAT of what it sends), so that, as
with Docker's published ports, the server sees the client's own address.
"""

import hashlib
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from lab import containers
from lab.containers import DockerError, docker
from lab.errors import LabError
from lab.files import write
from lab.layout import ADDRESSES, DATABASE_DNS, PGBOUNCER, POSTGRES, REDIS, REDIS_TLS, Layout

# The database host's ports → the server behind each, and its port there.
PUBLISHED = {
    PGBOUNCER: ("voiceai-pgbouncer", 5432),
    POSTGRES: ("voiceai-postgres", 5432),
    REDIS: ("voiceai-redis", 6379),
    REDIS_TLS: ("voiceai-redis", 6380),
}

# Private networks, and the block for benchmarks (RFC 2544), which nobody routes.
_RANGES = ("10.213.0.0/16", "172.30.0.0/16", "198.18.0.0/16")
_TRIES_A_RANGE = 16
_ROUTES = Path("/proc/net/route")


def candidates(name: str) -> Iterator[IPv4Network]:
    """The subnets to try, in an order of each lab's own, so that labs seldom meet."""
    first = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16)
    for one in _RANGES:
        subnets = list(IPv4Network(one).subnets(new_prefix=24))
        for number in range(_TRIES_A_RANGE):
            yield subnets[(first + 37 * number) % len(subnets)]


def routed(table: str) -> list[IPv4Network]:
    """The networks in the text of /proc/net/route, the default route left out."""
    rows = [line.split() for line in table.splitlines()[1:]]
    networks = (IPv4Network((_little_endian(row[1]), _little_endian(row[7]).bit_count())) for row in rows)
    return [network for network in networks if network.prefixlen > 0]


def _little_endian(number: str) -> int:
    return int.from_bytes(bytes.fromhex(number), "little")


def ensure(layout: Layout, labels: Sequence[str]) -> IPv4Network:
    """Have the network; its subnet is chosen once and remembered. Raises LabError when no subnet is free."""
    if containers.list_ids("network", f"name=^{layout.name}$"):
        found = IPv4Network(docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", layout.name))
    else:
        found = _create(layout, labels)
    write(layout.subnet, f"{found}\n")
    return found


def _create(layout: Layout, labels: Sequence[str]) -> IPv4Network:
    remembered = [IPv4Network(layout.subnet.read_text().strip())] if layout.subnet.exists() else []
    taken = routed(_ROUTES.read_text()) if _ROUTES.exists() else []
    for subnet in [*remembered, *candidates(layout.name)]:
        if any(subnet.overlaps(other) for other in taken):
            continue
        upper = list(subnet.subnets())[1]
        try:
            docker("network", "create", *labels, "--subnet", str(subnet), "--ip-range", str(upper), layout.name)
        except DockerError as error:
            if "overlap" not in str(error):
                raise
        else:
            return subnet
    raise LabError(f"no subnet is free for {layout.name}: remove networks that are not needed (`docker network prune`)")


def subnet_of(layout: Layout) -> IPv4Network:
    """The lab's subnet. Raises LabError before the lab was started."""
    if not layout.subnet.exists():
        raise LabError(f"the lab {layout.lab_id} was never started: `python -m lab up`")
    return IPv4Network(layout.subnet.read_text().strip())


def address(subnet: IPv4Network, name: str) -> str:
    """The fixed address of a host, a server, `load` or `moto`."""
    return str(subnet[ADDRESSES[name]])


def attachment(layout: Layout, subnet: IPv4Network, name: str, *names: str) -> list[str]:
    """`docker run` arguments that attach a container to the network, with names to be found by."""
    aliases = [argument for alias in names for argument in ("--network-alias", alias)]
    return ["--network", layout.name, "--ip", address(subnet, name), *aliases]


def translation(subnet: IPv4Network) -> str:
    """What `iptables-restore --noflush` reads so that the database host's ports lead to the servers."""
    database = address(subnet, "database")
    rules = "".join(
        f"-A LAB -p tcp -d {database} --dport {port} -j DNAT --to-destination {address(subnet, server)}:{inside}\n"
        for port, (server, inside) in PUBLISHED.items()
    )
    # The first line empties the chain, so that a second run is the same as one.
    return f"*nat\n:LAB - [0:0]\n{rules}COMMIT\n"


def lead_to_servers(container: str, subnet: IPv4Network) -> None:
    """Have the translation in a container's namespace. It ends with the namespace, at every stop of the container."""
    hook = "iptables -t nat -C OUTPUT -j LAB 2>/dev/null || iptables -t nat -A OUTPUT -j LAB"
    script = f"iptables-restore --noflush && {{ {hook}; }}"
    containers.exec_in(container, "sh", "-c", script, stdin=translation(subnet).encode())


def block(container: str, subnet: IPv4Network, port: int) -> None:
    """Close a port of the database host for new connections of a container, as a security group does: no answer."""
    rule = _blocking(subnet, port)
    containers.exec_in(container, "sh", "-c", f"iptables -C {rule} 2>/dev/null || iptables -A {rule}")


def unblock(container: str, subnet: IPv4Network, port: int) -> None:
    """Open it again. Open already is no error."""
    rule = _blocking(subnet, port)
    containers.exec_in(container, "sh", "-c", f"iptables -C {rule} 2>/dev/null || exit 0; iptables -D {rule}")


def _blocking(subnet: IPv4Network, port: int) -> str:
    """The rule. By what the client dialled: the filter sees the server's address already."""
    if port not in PUBLISHED:
        raise LabError(f"{DATABASE_DNS} has no port {port}; it has {', '.join(map(str, PUBLISHED))}")
    dialled = f"--ctorigdst {address(subnet, 'database')} --ctorigdstport {port}"
    return f"OUTPUT -p tcp -m conntrack --ctstate NEW {dialled} -j DROP"
