"""A stand-in for the vendor's `pulumi-resource-command` 1.2.1: remote and local commands, copying to a host.

Which inputs are refused, and where this provider is stricter than the original, is listed in README.md.
"""

import sys
from typing import Final

from offline import VERSION_SUFFIX
from offline.copy_to_remote import CopyToRemote
from offline.local_command import LocalCommand
from offline.provider import Failure, Provider, unknown_inputs
from offline.provider import main as serve_main
from offline.remote_command import RemoteCommand
from offline.wire import Properties

VERSION: Final = f"1.2.1+{VERSION_SUFFIX}"

KNOWN_CONFIG: Final = frozenset({"version", "pluginDownloadURL"})


class CommandProvider(Provider):
    """The provider has no configuration of its own."""

    def __init__(self, engine_address: str) -> None:
        super().__init__(package="command", version=VERSION, engine_address=engine_address)
        self.resources = {
            "command:remote:Command": RemoteCommand(),
            "command:remote:CopyToRemote": CopyToRemote(),
            "command:local:Command": LocalCommand(),
        }

    def check_config(self, config: Properties) -> list[Failure]:
        return unknown_inputs(config, known=KNOWN_CONFIG, what="pulumi:providers:command")

    def configure(self, config: Properties) -> None:
        """Nothing to configure."""


PROVIDER: Final = CommandProvider


def main(arguments: list[str]) -> None:
    serve_main(PROVIDER, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
