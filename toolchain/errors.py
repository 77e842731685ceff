"""The one kind of error that the set-up raises on purpose. Its text is for the user: what was wanted, what is so, what
to do next."""

import signal


class SetupError(Exception):
    """Shown as it is, without a traceback."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: treated as an interrupt that the children have not received yet."""


def end_on_sigterm() -> None:
    """From now on SIGTERM raises Terminated: a terminated command ends its children as an interrupted one does."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated
