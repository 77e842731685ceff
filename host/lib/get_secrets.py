#!/usr/bin/env python3
"""usage: get_secrets.py NAME FILE [NAME FILE ...]

Write each secret's SecretString from AWS Secrets Manager into its file, for hosts without the AWS CLI. A file must
be there already, with the mode and owner that its content needs. Region, endpoint and credentials come from the
environment, as with the CLI. Why a secret could not be read goes to FILE.err, in the words of the service: never a
value, never a traceback. Status 1 if any failed.
"""

import contextlib
import os
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """Fetch every NAME FILE pair of the arguments."""
    if len(argv) < 2 or len(argv) % 2:
        print("usage: get_secrets.py NAME FILE [NAME FILE ...]", file=sys.stderr)
        return 2
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    # Older boto3 does not read these variables by itself.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or os.environ.get("AWS_ENDPOINT_URL") or None
    bounds = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})
    failed = 0
    for name, file in zip(argv[::2], argv[1::2], strict=True):
        try:
            client = boto3.client("secretsmanager", endpoint_url=endpoint, config=bounds)
            value = client.get_secret_value(SecretId=name).get("SecretString")
            if value is None:
                raise ValueError("the secret has a SecretBinary and no SecretString")
            # "r+": never created here, where it would get another mode.
            with Path(file).open("r+", encoding="utf-8") as target:
                target.write(value)
        except (BotoCoreError, ClientError, ValueError, OSError) as error:
            # On a full disk this fails too: the caller finds that out by itself.
            with contextlib.suppress(OSError):
                Path(f"{file}.err").write_text(" ".join(str(error).split()) + "\n", encoding="utf-8")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
