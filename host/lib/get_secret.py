#!/usr/bin/env python3
"""usage: get_secret.py NAME

Print one secret's SecretString from AWS Secrets Manager, for hosts without the AWS CLI. Region, endpoint and
credentials come from the environment, as with the CLI. On failure: one line on standard error in the words of
the service (never a value, never a traceback), status 1.
"""

import os
import sys


def main(argv: list[str]) -> int:
    """Print the secret named by the one argument."""
    if len(argv) != 2:
        print("usage: get_secret.py NAME", file=sys.stderr)
        return 2
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    # Older boto3 does not read these variables by itself.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or os.environ.get("AWS_ENDPOINT_URL") or None
    bounds = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})
    try:
        client = boto3.client("secretsmanager", endpoint_url=endpoint, config=bounds)
        value = client.get_secret_value(SecretId=argv[1]).get("SecretString")
    except (BotoCoreError, ClientError, ValueError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    if value is None:
        print("the secret has a SecretBinary and no SecretString", file=sys.stderr)
        return 1
    sys.stdout.write(value)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
