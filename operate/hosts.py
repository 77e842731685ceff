"""`python -m operate.hosts ENVIRONMENT`: the inventory of a stack's file, for scripts that ask hosts over SSH.

A line a host: name, address, port, user, `sudo -n` (`-` for root), host key; between them a tab. Exit codes as of
`operate check`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from operate.errors import BadInput
from operate.source import read_version, stack_file
from operate.stack_file import read_stack_file


def main(arguments: Sequence[str]) -> int:
    """0 printed, 1 the config is refused, 2 bad input."""
    try:
        if len(arguments) != 1:
            raise BadInput("name one environment: python -m operate.hosts ENVIRONMENT")
        read = read_stack_file(read_version(stack_file(arguments[0]), Path()), arguments[0])
    except BadInput as error:
        print(f"operate.hosts: {error}", file=sys.stderr)
        return 2
    if read.configuration is None:
        for problem in read.problems:
            print(f"operate.hosts: {problem}", file=sys.stderr)
        return 1
    for host in read.configuration.hosts:
        print(host.name, host.address, host.port, host.user, host.sudo.strip() or "-", host.host_key, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
