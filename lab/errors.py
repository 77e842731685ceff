"""The lab's one error: what was wanted, what is so, what to do next. Shown without a traceback."""


class LabError(Exception):
    """The lab can't do what was asked."""
