"""Writing the lab's files: private where they must be, whole or not at all, and only when they change."""

import os
import secrets
import socket
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)


def write(path: Path, content: str, *, mode: int = 0o644) -> None:
    """Have `content` in `path`. Replaced by rename: a reader never sees half of it. Unchanged is not touched."""
    if path.exists() and path.read_text() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as out:
        out.write(content)
    fresh.replace(path)


def ensure_secret(path: Path) -> str:
    """A random secret of one line in a private file, made on the first call. Returns it."""
    if not path.exists():
        write(path, f"{secrets.token_urlsafe(24)}\n", mode=0o600)
    return path.read_text().strip()


def ensure_ssh_key(path: Path) -> str:
    """An Ed25519 key in OpenSSH's format in `path`, made on the first call. Returns its public half."""
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        write(path, text, mode=0o600)
    public = load_ssh_private_key(path.read_bytes(), password=None).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now. Another process may still take one before it is used."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
