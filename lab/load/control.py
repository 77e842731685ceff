"""How the load's own clients of the servers connect: changed while it runs, by `control.json` in its directory.

    {"number": 3, "sslmode": "prefer", "redis_tls": false}

A client whose connection was made otherwise opens another one before its next request. `number` grows with each
change; the load's status names the last one that every client has followed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

CA_FILE = "/etc/ssl/internal/ca.crt"
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """libpq's sslmode for clients of PostgreSQL (`prefer` is libpq's own default), TLS or not for those of Redis."""

    number: int = 0
    sslmode: str = "prefer"
    redis_tls: bool = False

    def text(self) -> str:
        """For control.json."""
        return json.dumps({"number": self.number, "sslmode": self.sslmode, "redis_tls": self.redis_tls}) + "\n"


def parse(text: str) -> Control:
    """A control.json. Raises ValueError for a mode that libpq does not have."""
    found = json.loads(text)
    if found["sslmode"] not in SSLMODES:
        raise ValueError(f"sslmode {found['sslmode']!r} is not one of {', '.join(SSLMODES)}")
    return Control(number=int(found["number"]), sslmode=found["sslmode"], redis_tls=bool(found["redis_tls"]))


class Current:
    """The control as it is now, read anew when its file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: int | None = None
        self.control = Control()

    def refresh(self) -> None:
        """Read the file if it was replaced since."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return
        if inode != self._seen:
            self._seen = inode
            self.control = parse(self._path.read_text())
