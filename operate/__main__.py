"""`python -m operate check BASE HEAD`."""

import sys

from operate.cli import main

for stream in (sys.stdout, sys.stderr):
    # A terminal that has no arrow gets an escape in its place, no UnicodeEncodeError.
    stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
sys.exit(main(sys.argv[1:]))
