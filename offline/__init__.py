"""Stand-ins for the parts of the Pulumi engine that come only from the vendor's download. See README.md.

Nothing outside this package imports it or knows of it: the engine finds `bin/` on PATH, or the official parts.
"""

VERSION_SUFFIX = "standin"
"""Marks every version that a stand-in reports (semver build metadata): `3.250.0+standin`."""
