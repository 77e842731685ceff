"""The wall clock, for tests whose other side (OpenSSL, a server) reads it as well."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
