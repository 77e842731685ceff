"""`python3 -m toolchain setup | doctor | env | test | lock | stop-docker`."""

# Kept to what every Python 3 can parse, so that an old one gets a sentence instead of a SyntaxError.
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is the check
    sys.stderr.write(
        "Python 3.11 or newer is needed; {} is {}.{}. Install one (on Debian 12 or newer: apt-get install python3 "
        "python3-venv) and run `make PYTHON=/path/to/it`.\n".format(sys.executable, *sys.version_info[:2])
    )
    sys.exit(2)

from toolchain.cli import main

sys.exit(main(sys.argv[1:]))
