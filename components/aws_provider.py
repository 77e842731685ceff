"""The AWS provider for Secrets Manager: the account's own, or a test endpoint that is not AWS."""

from __future__ import annotations

import pulumi_aws as aws

from rollout.config import SecretsManager


def secrets_manager_provider(name: str, config: SecretsManager) -> aws.Provider:
    """Credentials come from AWS's default chain. With `secrets.endpoint` set, nothing but that endpoint is asked."""
    if not config.endpoint:
        return aws.Provider(name, region=config.region)
    return aws.Provider(
        name,
        region=config.region,
        endpoints=[aws.ProviderEndpointArgs(secretsmanager=config.endpoint, sts=config.endpoint)],
        skip_credentials_validation=True,
        skip_metadata_api_check=True,
        skip_region_validation=True,
        skip_requesting_account_id=True,
    )
