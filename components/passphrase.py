"""The passphrase under which private keys are sealed in the state (why: `pki.sealing`).

It reaches the processes that need it by the environment, as Pulumi's own does, and never passes through the engine:

1. `INTERNAL_TLS_SEALING_PASSPHRASE`, or the first line of the file that `INTERNAL_TLS_SEALING_PASSPHRASE_FILE` names;
2. else Pulumi's own: `PULUMI_CONFIG_PASSPHRASE`, or `PULUMI_CONFIG_PASSPHRASE_FILE`.

A stack whose secrets are encrypted by a cloud's KMS or by Pulumi Cloud has no second one, so it sets the first. So does
who changes Pulumi's passphrase: what was sealed before stays under the old one, which then goes to the first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLES = ("INTERNAL_TLS_SEALING_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE")


class NoPassphrase(RuntimeError):
    """There is nothing to seal private keys under."""


def sealing_passphrase(environ: Mapping[str, str] = os.environ) -> str:
    """The passphrase in force. Raises NoPassphrase, which says what to set; its value is never in a message."""
    for variable in VARIABLES:
        if environ.get(variable):
            return environ[variable]
        if file := environ.get(f"{variable}_FILE"):
            return _first_line(variable, Path(file))
    raise NoPassphrase(
        f"private keys are sealed under a passphrase, and neither {VARIABLES[0]} nor {VARIABLES[1]} is set (nor their "
        f"_FILE variants); set {VARIABLES[0]} to a long random text that you keep as long as the stack"
    )


def _first_line(variable: str, path: Path) -> str:
    try:
        line = path.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise NoPassphrase(f"{variable}_FILE: {path} can't be read: {why}") from None
    if not line:
        raise NoPassphrase(f"{variable}_FILE: {path} is empty; write the passphrase into its first line")
    return line
