"""What ends a command with a sentence in place of a traceback."""


class BadInput(Exception):
    """What was given can't be used: its text says what, what is so, and what to give. Exit code 2."""
