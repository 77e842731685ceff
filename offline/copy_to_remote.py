"""`command:remote:CopyToRemote`: a file, a directory or a text to a host, by SFTP.

Semantics of pulumi-command 1.2.1, remote/copyController.go: an update copies only where the source's hash or
`remotePath` changed (a changed connection alone copies nothing), removal deletes nothing, modes are the host's
defaults, and files are written in place.

    source | dest is a directory   | dest does not exist | dest is a file
    -------|-----------------------|---------------------|------------------
    dir    | dest/dir              | dest/dir            | error
    dir/   | dest/x for x in dir   | dest/x for x in dir | error
    file   | dest/file             | dest                | dest, overwritten
    text   | error                 | dest                | dest, overwritten
"""

# ruff: noqa: ARG002  the methods of offline.provider.Resource, whether a type needs every argument or not

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from offline.command_output import diff
from offline.provider import Call, Diff, Failure, ProviderError, unique_id, unknown_inputs
from offline.remote_command import check_connection
from offline.ssh import dial, parse_connection
from offline.wire import Properties, has_unknown, is_archive, is_asset, plain

if TYPE_CHECKING:
    import asyncssh

WHAT: Final = "command:remote:CopyToRemote"

KNOWN: Final = frozenset({"connection", "source", "remotePath", "triggers"})


def check_source(inputs: Properties) -> list[Failure]:
    source = plain(inputs.get("source"))
    if source is None:
        return [Failure(f"{WHAT}: missing required input 'source'")]
    if has_unknown(source):
        return []
    if is_asset(source) and not ({"path", "text"} & source.keys()):
        return [Failure(f"{WHAT}: source: asset must be a path-based file asset or a text asset")]
    if is_archive(source) and "path" not in source:
        return [Failure(f"{WHAT}: source: archive must be a path to a file or directory")]
    if not is_asset(source) and not is_archive(source):
        return [Failure(f"{WHAT}: source: either asset or archive must be set")]
    return []


class CopyToRemote:
    """The resource type."""

    def check(self, call: Call, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        inputs, failures = check_connection(news, WHAT)
        failures = [*unknown_inputs(news, known=KNOWN, what=WHAT), *failures, *check_source(news)]
        if "remotePath" not in news:
            failures.append(Failure(f"{WHAT}: missing required input 'remotePath'"))
        return inputs, failures

    def diff(self, state: Properties, news: Properties) -> Diff:
        return diff(state, news)

    async def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        if call.preview:
            return "", inputs
        await copy(call, inputs)
        return unique_id(""), inputs

    async def update(self, call: Call, id: str, state: Properties, news: Properties) -> Properties:
        old, new = plain(state), plain(news)
        same = old["source"].get("hash") == new["source"].get("hash") and old["remotePath"] == new["remotePath"]
        if not call.preview and not same:
            await copy(call, news)
        return news

    async def delete(self, call: Call, id: str, state: Properties) -> None:
        """What was copied stays."""

    async def read(self, id: str, state: Properties, inputs: Properties) -> tuple[Properties, Properties]:
        return state, inputs


async def copy(call: Call, inputs: Properties) -> None:
    import asyncssh

    source, destination = plain(inputs["source"]), str(plain(inputs["remotePath"]))
    connection = parse_connection(inputs["connection"])
    client = await dial(connection, call.log)
    async with client:
        try:
            async with client.start_sftp_client() as sftp:
                if "text" in source:
                    await copy_text(sftp, source["text"], destination)
                else:
                    await copy_path(sftp, source["path"], destination)
        except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as error:
            raise ProviderError(
                f"failed to copy to remote path {destination} on {connection.host}: {error.reason}"
            ) from None
        except OSError as error:
            raise ProviderError(f"failed to copy: {error.filename}: {error.strerror}") from None


async def copy_text(sftp: "asyncssh.SFTPClient", text: str, destination: str) -> None:
    if await sftp.isdir(destination):
        raise ProviderError(
            f"remote path {destination} is a directory; when using a text asset, remotePath must be a file path"
        )
    async with sftp.open(destination, "wb") as remote:
        await remote.write(text.encode())


async def copy_path(sftp: "asyncssh.SFTPClient", source: str, destination: str) -> None:
    local = Path(source)
    if not local.exists():
        raise ProviderError(f"open {source}: no such file or directory")
    target = PurePosixPath(destination)
    if not local.is_dir():
        if await sftp.isdir(destination):
            target /= local.name
        await copy_file(sftp, local, target)
        return
    await make_directory(sftp, target)
    if not source.endswith("/"):
        target /= local.resolve().name
    for path in walk(local):
        remote = target / path.relative_to(local)
        if path.is_dir():
            await make_directory(sftp, remote)
        else:
            await copy_file(sftp, path, remote)


def walk(directory: Path) -> Iterator[Path]:
    """The directory, then all that is in it, parents before children, in order of name."""
    yield directory
    yield from sorted(directory.rglob("*"))


async def make_directory(sftp: "asyncssh.SFTPClient", path: PurePosixPath) -> None:
    if not await sftp.exists(str(path)):
        await sftp.mkdir(str(path))
    elif not await sftp.isdir(str(path)):
        raise ProviderError(f"remote path {path} exists but is not a directory")


async def copy_file(sftp: "asyncssh.SFTPClient", local: Path, remote: PurePosixPath) -> None:
    """Written in place, with the host's umask for its mode: neither atomic nor executable, as the original."""
    await sftp.put(str(local), str(remote))
