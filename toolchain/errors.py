"""The one kind of error that the set-up raises on purpose. Its text is for the user: what was wanted, what is so, what
to do next."""


class SetupError(Exception):
    """Shown as it is, without a traceback."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: treated as an interrupt that the children have not received yet."""
