"""Each host: its bundle shipped, its settings applied, its receipt read back.

Two remote commands a host. `<host>.bundle` ships `host/` as one archive whose digest is its version; it changes only
when the bundle does. `<host>` runs `update.sh` with the settings on stdin; its only changing input is that text.
Neither has a `delete` (removing a stack must not touch what a host runs) nor `triggers` (they would replace).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import remote

from rollout.config import Ssh
from rollout.inventory import Host
from rollout.render import host_settings

HOST_FILES = Path(__file__).resolve().parent.parent / "host"


def pack_bundle(folder: Path) -> tuple[str, bytes]:
    """The digest (hex SHA-256 of the archive) and the tar.gz of `folder`: the same bytes for the same files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            data = path.read_bytes()
            entry.size = len(data)
            entry.mode = 0o755 if path.suffix == ".sh" and path.parent == folder else 0o644
            archive.addfile(entry, io.BytesIO(data))
    packed = gzip.compress(raw.getvalue(), mtime=0)
    return hashlib.sha256(packed).hexdigest(), packed


def receipt(stdout: str) -> str:
    """The revision that a host printed last; raises `ValueError` where the last line is no number."""
    lines = stdout.strip().splitlines()
    if not lines or not lines[-1].isdigit():
        raise ValueError("the host's update.sh ended without its receipt (the revision as the last line)")
    return lines[-1]


class Hosts(pulumi.ComponentResource):
    """All hosts of the inventory. `receipts` maps each to the revision it confirmed.

    Settings are applied after `after`: what hosts read while they apply them. Shipping a bundle waits for nothing.
    `order` maps a host to those whose settings are applied before its own: with a failure there it is not reached.
    """

    receipts: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        hosts: tuple[Host, ...],
        ssh: Ssh,
        contents: pulumi.Output[Mapping[str, str]],
        revisions: pulumi.Output[Mapping[str, str]],
        order: pulumi.Output[Mapping[str, Sequence[str]]],
        certificate_sha256: pulumi.Input[str],
        ca_sha256: pulumi.Input[str],
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("internal-tls:index:Hosts", name, None, opts)
        digest, packed = pack_bundle(HOST_FILES)
        installer = (HOST_FILES / "install.sh").read_text(encoding="utf-8")
        commands: dict[str, pulumi.Resource] = {}
        confirmed: dict[str, pulumi.Output[str]] = {}
        for host in hosts:
            connection = _connection(host, ssh)
            bundle = _command(
                f"hosts.{host.name}.bundle",
                command=f"{host.sudo}{_bounded(ssh)}sh -c {shlex.quote(installer)} install {digest}",
                # Marked secret only to keep a page of base64 out of diffs.
                stdin=pulumi.Output.secret(base64.b64encode(packed).decode()),
                connection=connection,
                opts=pulumi.ResourceOptions(parent=self),
            )
            known = pulumi.Output.all(contents, revisions, certificate_sha256, ca_sha256)
            settings = known.apply(partial(_settings, host.name))
            in_turn: pulumi.Output[str] = pulumi.Output.all(settings, order).apply(
                partial(_in_turn, host.name, commands)
            )
            applied = _command(
                f"hosts.{host.name}",
                command=f"{host.sudo}{_bounded(ssh)}/opt/voiceai/update.sh --settings -",
                stdin=in_turn,
                connection=connection,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[bundle, *after]),
            )
            commands[host.name] = applied
            confirmed[host.name] = applied.stdout.apply(receipt)
        self.receipts = pulumi.Output.all(**confirmed)
        self.register_outputs({"receipts": self.receipts})


def _bounded(ssh: Ssh) -> str:
    """What ends a command on the host: the provider has no timeout of its own."""
    return f"timeout --kill-after=15 {ssh.timeout_seconds} "


def _settings(host: str, known: list[Any]) -> str:
    contents, revisions, certificate_sha256, ca_sha256 = known
    return host_settings(
        contents[host], revision=revisions[host], certificate_sha256=certificate_sha256, ca_sha256=ca_sha256
    )


async def _in_turn(host: str, commands: Mapping[str, pulumi.Resource], known: list[Any]) -> str:
    """The host's settings, once those before it have applied theirs; raises what failed there.

    Not `depends_on`: that would be in the state, and an order that the next move turns round breaks the engine there: a
    targeted update brings a host in by its old dependency and then again ("Duplicate resource URN", or a state that
    can't be read).
    """
    settings, order = known
    for earlier in order.get(host, ()):
        # Every host's command is there by now: the program runs to its end before anything resolves.
        await commands[earlier].urn.future()
    return str(settings)


def _connection(host: Host, ssh: Ssh) -> remote.ConnectionArgs:
    return remote.ConnectionArgs(
        host=host.address,
        port=host.port,
        user=host.user,
        host_key=host.host_key,
        private_key=pulumi.Output.secret(ssh.private_key) if ssh.private_key else None,
        dial_error_limit=3,
        per_dial_timeout=10,
    )


def _command(
    name: str,
    *,
    command: str,
    stdin: pulumi.Input[str],
    connection: remote.ConnectionArgs,
    opts: pulumi.ResourceOptions,
) -> remote.Command:
    return remote.Command(
        name,
        connection=connection,
        create=command,
        update=command,
        stdin=stdin,
        add_previous_output_in_env=False,
        logging=remote.Logging.STDERR,
        opts=opts,
    )
