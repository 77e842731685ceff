"""A stand-in for the vendor's `pulumi-resource-aws` 7.51.1: three resource types of Secrets Manager.

They are called at the configured endpoint by boto3, with bounded waits. What is refused is listed in README.md.
"""

import sys
from typing import Final

from offline import VERSION_SUFFIX
from offline.aws_secret import TYPE as SECRET
from offline.aws_secret import Secret
from offline.aws_secret_policy import TYPE as SECRET_POLICY
from offline.aws_secret_policy import SecretPolicy
from offline.aws_secret_version import TYPE as SECRET_VERSION
from offline.aws_secret_version import SecretVersion
from offline.provider import Failure, Provider, ProviderError
from offline.provider import main as serve_main
from offline.secretsmanager import SecretsManager, check_config, parse_config
from offline.wire import Properties, has_unknown

VERSION: Final = f"7.51.1+{VERSION_SUFFIX}"


class AwsProvider(Provider):
    """One account and region."""

    def __init__(self, engine_address: str) -> None:
        super().__init__(package="aws", version=VERSION, engine_address=engine_address)
        self._client: SecretsManager | None = None
        self.resources = {
            SECRET: Secret(self._configured),
            SECRET_VERSION: SecretVersion(self._configured),
            SECRET_POLICY: SecretPolicy(self._configured),
        }

    def _configured(self) -> SecretsManager:
        if self._client is None:
            raise ProviderError("the aws provider's configuration is not known yet")
        return self._client

    def check_config(self, config: Properties) -> list[Failure]:
        return check_config(config)

    def configure(self, config: Properties) -> None:
        if not has_unknown(config):
            self._client = SecretsManager(parse_config(config))


PROVIDER: Final = AwsProvider


def main(arguments: list[str]) -> None:
    serve_main(PROVIDER, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
