"""The stack's config from the engine to the pure parser, and its problems back to the operator without a traceback."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pulumi
from pulumi.runtime.config import get_config_env

from rollout.config import Configuration, parse
from rollout.reader import ConfigError


def read_configuration() -> Configuration:
    """This stack's config, checked, the SSH key read in; raises `pulumi.RunError` with every problem."""
    namespace = f"{pulumi.get_project()}:"
    raw = {
        key.removeprefix(namespace): value if isinstance(value, str) else json.dumps(value)
        for key, value in get_config_env().items()
        if key.startswith(namespace)
    }
    try:
        config = parse(raw)
    except ConfigError as error:
        raise pulumi.RunError(refusal(error, pulumi.get_stack())) from None
    if not config.ssh.private_key_file:
        return config
    path = Path(config.ssh.private_key_file).expanduser()
    try:
        return replace(config, ssh=replace(config.ssh, private_key=path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise pulumi.RunError(
            f"sshPrivateKeyFile: {path} can't be read ({reason}); set it to the key that the hosts accept, or leave it "
            "out to use the SSH agent"
        ) from None


def refusal(error: ConfigError, stack: str) -> str:
    """What the operator sees where the config is wrong: a line a problem."""
    lines = "\n".join(f"  {problem}" for problem in error.problems)
    return f"the config of stack {stack} is refused, and nothing was touched:\n{lines}"
