"""Where an environment stands before a step: its file, its stack's record, and whether the two agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from operate import stacks
from operate.config_file import ConfigFile
from operate.source import Version, read_version
from operate.stack_file import read_ladder, read_project, read_stack_file
from operate.stacks import Stacks
from operate.stopped import EXIT_BAD_INPUT, EXIT_REFUSED, Stopped
from rollout import ladder
from rollout.config import Configuration
from rollout.ledger import Record, unconfirmed_hosts
from rollout.moves import changed_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is so now. `known` holds the stack's record and, for the ladder, that of the environment below."""

    version: Version
    environment: str
    text: str
    configuration: Configuration
    record: Record
    receipts: Mapping[str, str]
    known: Stacks

    @property
    def namespace(self) -> str:
        """Of the project's config keys."""
        return read_project(self.version).namespace

    @property
    def agrees(self) -> bool:
        """Whether the file says what the stack was last given."""
        return self.configuration.declared.as_kept() == self.record.attempted

    @property
    def pending(self) -> tuple[str, ...]:
        """The hosts that have not confirmed the last move."""
        return unconfirmed_hosts(self.record, self.receipts)

    def with_text(self, text: str) -> Version:
        """The version that has this text for the environment's file."""
        return replace(self.version, name="the step", stacks={self.environment: text})


def look(file: ConfigFile, folder: Path, stack: str) -> Standing:
    """Reads the file and the stack; raises `BadInput`, or `Stopped` where there is nothing to take a step from."""
    text = file.read()
    version = read_version(str(file.path), folder)
    environment = next(iter(version.stacks))
    version = replace(version, name="now", stacks={environment: text})
    parsed = read_stack_file(version, environment)
    if parsed.configuration is None:
        raise Stopped(
            EXIT_REFUSED,
            *map(str, parsed.problems),
            stands="nothing was changed",
            todo=f"correct {file.path.name}",
        )
    known = _stacks(version, environment, folder, stack)
    if environment not in known.read:
        raise Stopped(
            EXIT_BAD_INPUT,
            f"the stack {stack} can't be read: {known.why_unread(environment)}",
            stands="nothing was changed",
            todo="see that `pulumi stack export` works here (backend, passphrase, --stack)",
        )
    found = known.read[environment]
    if found.record is None:
        raise Stopped(
            EXIT_REFUSED,
            f"nothing was ever applied in {stack}: its stack has no ledger yet",
            stands="nothing was changed",
            todo=f"pulumi up --stack {stack}    (the first one ships the bundle and changes nothing else)",
        )
    return Standing(
        version=version,
        environment=environment,
        text=text,
        configuration=parsed.configuration,
        record=found.record,
        receipts=found.receipts,
        known=known,
    )


def _stacks(version: Version, environment: str, folder: Path, stack: str) -> Stacks:
    lower = ladder.below(read_ladder(version), environment)
    read = stacks.from_pulumi(tuple(filter(None, (stack, lower))), folder)
    # A stack may be given with its organisation and project.
    return Stacks(
        read={environment if name == stack else name: one for name, one in read.read.items()},
        unread={environment if name == stack else name: why for name, why in read.unread.items()},
    )


def agree(standing: Standing, file: ConfigFile, stack: str) -> None:
    """Raises `Stopped` where file and stack differ: a step on top of an edit would be two."""
    if standing.agrees:
        return
    here, there = standing.configuration.declared.as_kept(), standing.record.attempted
    keys = changed_keys(there.settings, here.settings)
    back = " and ".join(f"{key}={there.settings[key]}" for key in keys) or "what it was"
    raise Stopped(
        EXIT_REFUSED,
        f"{file.path.name} was changed and never applied: "
        f"{stacks.apart(there, here) or 'what stands beside the steps differs'}",
        stands="nothing was changed",
        todo=f"apply it (pulumi up --stack {stack}), or set the file back to {back}",
    )
