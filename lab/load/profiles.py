"""The kinds of clients, how many there are of each, and how often they send. Data, read on both sides."""

from collections.abc import Iterable
from dataclasses import dataclass

LONG_SECONDS = 1.5
SESSION = "postgres-session"
BACKUP = "postgres-backup"
EXPORTER = "postgres-exporter"
SIP_REDIS = "sip-redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How many clients of a kind there are, and how many requests a second each of them sends."""

    kind: str
    clients: int
    rate: float
    intended_ms: float = 0.0


# Some 100 requests a second in all: two cores that also run the servers and the apps stay mostly idle. What is asked of
# an app is a transaction in PostgreSQL and two commands of Redis.
PROFILES = (
    Profile(kind="http-api", clients=4, rate=3.0),
    Profile(kind="http-web", clients=2, rate=4.0),
    Profile(kind="http-voice", clients=2, rate=4.0),
    Profile(kind="http-ops", clients=2, rate=4.0),
    Profile(kind="http-worker", clients=2, rate=4.0),
    Profile(kind="postgres-short", clients=5, rate=3.0),
    Profile(kind="postgres-long", clients=2, rate=0.5, intended_ms=LONG_SECONDS * 1000),
    Profile(kind=SESSION, clients=4, rate=1.0),
    Profile(kind="postgres-connect", clients=2, rate=2.0),
    # What the dump itself takes is no latency.
    Profile(kind=BACKUP, clients=1, rate=1 / 15, intended_ms=500),
    Profile(kind=EXPORTER, clients=1, rate=1.0),
    Profile(kind="redis-short", clients=4, rate=4.0),
    Profile(kind="redis-connect", clients=2, rate=2.0),
    # Several, so that one transaction that is sent again does not keep the others back.
    Profile(kind="sip-options", clients=4, rate=1.25),
    Profile(kind=SIP_REDIS, clients=4, rate=1.25),
)

KINDS = tuple(profile.kind for profile in PROFILES)


def chosen(kinds: Iterable[str]) -> list[Profile]:
    """The profiles of those kinds. Raises ValueError that names one which there is not."""
    wanted = set(kinds)
    if unknown := sorted(wanted - set(KINDS)):
        raise ValueError(f"the load has no kind {', '.join(unknown)}; it has {', '.join(KINDS)}")
    return [profile for profile in PROFILES if profile.kind in wanted]


def servers(kinds: Iterable[str]) -> list[str]:
    """Those kinds that need no app: for a lab whose apps are not started."""
    return [kind for kind in kinds if kind.startswith(("postgres-", "redis-"))]
