"""One step of `operate next` or `back`: shown, asked of the hosts, set, previewed, confirmed, applied, verified.

What holds whatever happens: until the stack's ledger has taken the move the file can be put back to the byte, and is;
from then on file and ledger say the same, and the way out is the same step again or its way back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from operate import asking
from operate.asking import BUSY, Said
from operate.check import check
from operate.config_file import ConfigFile, undisturbed
from operate.edit import diff, with_value
from operate.errors import BadInput
from operate.report import Advice, Finding, Touched
from operate.screen import Screen
from operate.source import stack_file
from operate.stack_file import read_stack_file
from operate.standing import Standing, agree, look
from operate.stopped import EXIT_BUSY, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, Busy, Failed, Stopped
from operate.way import Move
from rollout.declared import Declared
from rollout.moves import describe


class Pulumi(Protocol):
    """What is asked of the engine; both raise `Failed` with the reasons."""

    def preview(self) -> list[str]:
        """The names of what would change."""

    def up(self) -> list[str]:
        """Applies, and the names of what changed; KeyboardInterrupt once it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """How the hosts are asked."""

    preflight: Callable[[Standing, dict[str, str]], list[Said]]
    verify: Callable[[Standing, dict[str, str]], list[Said]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Takes steps of one stack. `confirm` is asked before each is applied; None where nobody can be asked."""

    stack: str
    folder: Path
    file: ConfigFile
    engine: Pulumi
    hosts: Hosts
    screen: Screen
    confirm: Callable[[], bool] | None
    ask_hosts: bool = True

    def look(self) -> Standing:
        """Where it stands."""
        with self.screen.part(f"reading the stack {self.stack}"):
            here = look(self.file, self.folder, self.stack)
        agree(here, self.file, self.stack)
        return here

    def take(self, here: Standing, move: Move | None) -> bool:
        """One step; without a move the last one again. False where it was only written down, for a pull request.

        Raises `Stopped`, and KeyboardInterrupt where nothing has to be told.
        """
        text = here.text
        if move:
            text = with_value(here.text, *move, namespace=here.namespace, where=self.file.path.name)
        finding, following = self._judged(here, text)
        protected = here.configuration.declared.site.protected
        if protected:
            self.screen.aside()
            self._only_written(here, move)
        self.screen.step(finding, diff(here.text, text, self.file.path.name))
        self._preflight(here, following, finding)
        if protected:
            self.screen.write(diff(here.text, text, self.file.path.name))
            return False
        self._apply(here, text, finding)
        return True

    def _only_written(self, here: Standing, move: Move | None) -> None:
        if move is None:
            raise Stopped(
                EXIT_REFUSED,
                f"the last move ({here.record.move}) is not confirmed by {', '.join(here.pending)}, and this "
                "environment is protected: nothing is applied from here",
                stands="nothing was changed",
                todo="have the deploy run again, which finishes it",
            )

    def _judged(self, here: Standing, text: str) -> tuple[Finding, Declared]:
        """The step as a pull request with it would be judged."""
        following = here.configuration.declared.as_kept()
        if text == here.text:
            return again(here), following
        head = here.with_text(text)
        report = check(here.version, head, here.known)
        finding = report.findings[0]
        if finding.verdict == "refused":
            raise Stopped(
                EXIT_REFUSED,
                *(f"{one.why}{'; ' + one.todo if one.todo else ''}" for one in finding.refusals),
                stands="nothing was changed",
                todo=_instead(finding.now),
            )
        parsed = read_stack_file(head, here.environment).configuration
        if parsed is None:
            raise AssertionError("a config that was judged as allowed is a good one")
        return finding, parsed.declared.as_kept()

    def _preflight(self, here: Standing, following: Declared, finding: Finding) -> None:
        hosts = [one.host for one in finding.hosts]
        if not (hosts and self.ask_hosts):
            return
        with self.screen.part(f"asking {', '.join(hosts)}"):
            said = self.hosts.preflight(here, asking.texts(here.record, following, hosts))
        self.screen.asked(said)
        bad = [one for one in said if not one.good]
        if not bad:
            return
        if any(one.code == BUSY for one in bad):
            names = ", ".join(one.host for one in bad if one.code == BUSY)
            raise Stopped(
                EXIT_BUSY,
                f"another update is under way on {names}",
                stands="nothing was changed",
                todo="wait until it has ended, then look again",
            )
        if here.pending:
            # The update itself puts an interrupted one back, and asks the same again before it changes anything.
            self.screen.line(
                "the last move is not confirmed, so that this holds nothing up: each host asks itself again"
            )
            return
        raise Stopped(
            EXIT_REFUSED,
            *(one.sentence for one in bad),
            stands="nothing was changed",
            todo="; ".join(dict.fromkeys(one.todo for one in bad if one.todo))
            or "do what is said above, then the same command again",
        )

    def _apply(self, here: Standing, text: str, finding: Finding) -> None:
        begun = False
        try:
            self.file.replace(here.text, text)
            self._preview()
            self._confirmed()
            begun = True
            self.screen.line("applying (pulumi up)")
            self.engine.up()
        except KeyboardInterrupt:
            if not begun:
                self._put_back(here, text)
                raise
            raise self._settled(here, text, EXIT_INTERRUPTED, "interrupted while it was applied") from None
        except Busy as busy:
            raise self._settled(here, text, EXIT_BUSY, str(busy)) from None
        except Failed as failed:
            if begun:
                raise self._settled(here, text, EXIT_FAILED, *str(failed).splitlines()) from None
            self._put_back(here, text)
            raise Stopped(
                EXIT_REFUSED,
                *str(failed).splitlines(),
                stands=self._as_it_was(),
                todo="do what is said, then the same command again",
            ) from None
        except BaseException:
            if not begun:
                self._put_back(here, text)
            raise
        self._verify([one.host for one in finding.hosts])

    def _preview(self) -> None:
        with self.screen.part("previewing (pulumi preview)"):
            changed = self.engine.preview()
        self.screen.previewed(changed)

    def _confirmed(self) -> None:
        if self.confirm is None:
            raise Stopped(
                EXIT_REFUSED,
                "there is no terminal to ask on, and --yes was not given",
                stands=f"nothing was applied, {self._as_it_was()}",
                todo="the same command with --yes applies it",
            )
        if not self.confirm():
            raise Stopped(EXIT_REFUSED, "not confirmed", stands=f"nothing was applied, {self._as_it_was()}")

    def _verify(self, hosts: list[str]) -> None:
        try:
            after = self.look()
        except (Stopped, BadInput) as error:
            raise Stopped(
                EXIT_FAILED,
                "it was applied, and where the stack stands now can't be read",
                *(error.why if isinstance(error, Stopped) else (str(error),)),
                stands="every host ended its update by verifying it",
            ) from None
        revisions = {host: after.record.revisions[host] for host in hosts if host in after.record.revisions}
        with self.screen.part(f"verifying {', '.join(revisions)}"):
            said = self.hosts.verify(after, revisions)
        self.screen.verified(said)
        bad = [one for one in said if not one.good]
        if bad:
            raise Stopped(
                EXIT_FAILED,
                *(one.sentence for one in bad),
                stands=f"the step was applied and confirmed, {self.file.path.name} and the stack agree",
                todo=f"look at {', '.join(one.host for one in bad)} (update.sh --status); the other way is open",
            )

    def _settled(self, here: Standing, text: str, code: int, *why: str) -> Stopped:
        """After an `up` that did not end well: either the ledger has the move and the file keeps it, or both are as
        before."""
        name = self.file.path.name
        try:
            with undisturbed(deaf=True):
                after = look(self.file, self.folder, self.stack)
        except (BadInput, Stopped) as error:
            return Stopped(
                code,
                *why,
                *(error.why if isinstance(error, Stopped) else (str(error),)),
                stands=f"where the stack stands can't be told; {name} keeps the step",
                todo=f"`pulumi up --stack {self.stack}` makes the stack agree with {name}",
            )
        if not after.agrees:
            # The ledger has not taken it.
            self._put_back(here, text)
            return Stopped(code, *why, stands=f"nothing was applied, {self._as_it_was()}", todo=_ONCE_MORE[code])
        if not after.pending:
            return Stopped(code, *why, stands=f"{name} and the stack agree, and every host has confirmed")
        forward = describe(after.record.confirmed, after.record.attempted).direction != "back"
        return Stopped(
            code,
            *why,
            stands=f"{name} and the stack agree on the step; {', '.join(after.pending)} did not confirm it: a host "
            "that fails puts its own change back, one that was cut off finishes it or puts it back by itself",
            todo=f"remove the cause; then `operate {'next' if forward else 'back'}` (or `pulumi up --stack "
            f"{self.stack}`) finishes the step, `operate {'back' if forward else 'next'}` undoes it",
        )

    def _put_back(self, here: Standing, text: str) -> None:
        if self.file.read() == here.text:
            return
        try:
            self.file.replace(text, here.text)
        except BadInput as error:
            raise Stopped(
                EXIT_FAILED,
                str(error),
                stands="nothing was applied",
                todo=f"compare {self.file.path.name} with what git has",
            ) from None

    def _as_it_was(self) -> str:
        return f"{self.file.path.name} is as it was, to the byte"


_ONCE_MORE = {
    EXIT_BUSY: "wait until that has ended, then look again: it may have been this very step",
    EXIT_FAILED: "do what is said, then the same command again",
    EXIT_INTERRUPTED: "the same command takes it",
}


def again(here: Standing) -> Finding:
    """The last move once more, for the hosts that have not confirmed it."""
    declared = here.record.attempted
    return Finding(
        environment=here.environment,
        file=stack_file(here.environment),
        verdict="allowed",
        step=f"the last move again: {here.record.move}",
        hosts=tuple(
            Touched(host=host, runs=declared.hosts[host].roles, after=here.record.order.get(host, ()))
            for host in here.pending
            if host in declared.hosts
        ),
    )


def _instead(now: tuple[Advice, ...]) -> str:
    return "; or ".join(one.what for one in now)


def stdin_confirms() -> bool:
    """Asks on the terminal."""
    print("Apply this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
