"""What is asked of the server certificate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

from pki.names import NotAName, normalise

KEY_TYPES = ("ecdsa-p256", "ecdsa-p384", "rsa-3072")
"""What can be asked for, the default first; `pki.keys` generates each."""

DEFAULT_DAYS = 397
"""CA/Browser Forum's bound for a certificate that is renewed once a year."""

_MAX_DAYS = 825
"""Beyond this, clients of one large vendor refuse a certificate, whoever signed it."""


class RequestProblem(NamedTuple):
    """One thing wrong with a request: the field by its config name, and a sentence that names the value."""

    key: str
    text: str


class RequestError(ValueError):
    """The request can't be fulfilled; `problems` has every reason, not only the first."""

    def __init__(self, problems: tuple[RequestProblem, ...]) -> None:
        super().__init__("; ".join(f"{problem.key}: {problem.text}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A server certificate's names, key type and lifetime in days.

    Names are brought into normal form, sorted and deduplicated, so that two spellings of one wish are equal.
    Raises RequestError with every problem.
    """

    names: tuple[str, ...]
    key_type: str = "ecdsa-p256"
    days: int = DEFAULT_DAYS

    def __post_init__(self) -> None:
        problems = []
        names = set()
        for name in self.names:
            try:
                names.add(normalise(name))
            except NotAName as error:
                problems.append(RequestProblem("names", str(error)))
        if not self.names:
            problems.append(RequestProblem("names", "a server certificate needs at least one name"))
        if self.key_type not in KEY_TYPES:
            known = ", ".join(KEY_TYPES)
            problems.append(RequestProblem("keyType", f"{self.key_type!r} is unknown; one of {known}"))
        if isinstance(self.days, bool) or not isinstance(self.days, int) or not 1 <= self.days <= _MAX_DAYS:
            problems.append(RequestProblem("days", f"{self.days!r} is not a number of days from 1 to {_MAX_DAYS}"))
        if problems:
            raise RequestError(tuple(problems))
        object.__setattr__(self, "names", tuple(sorted(names)))

    def digest(self) -> str:
        """16 hex characters that change exactly when what is asked for changes."""
        asked = {"days": self.days, "key_type": self.key_type, "names": self.names}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("ascii")).hexdigest()[:16]
