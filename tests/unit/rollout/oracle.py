"""What is usable and what is legal, written down from what the servers do and without the table of steps.

Settings are those of `declarations.py`: two apps, which both use Postgres and Redis. A test compares every state and
every move with what the rules say.
"""

from collections.abc import Mapping

Settings = Mapping[str, str]

ENCRYPTS = ("require", "verify-ca", "verify-full")
VERIFIES = ("verify-ca", "verify-full")
SSLMODE_RANK = {"disable": 0, "prefer": 1, "require": 2, "verify-ca": 3, "verify-full": 4}
CLIENT_RANK = {"disable": 0, "allow": 1, "prefer": 2, "require": 3}
SWITCH_RANK = {"off": 0, "on": 1, "false": 0, "true": 1}
APP_MODES = ("apps.api.DATABASE_SSL_MODE", "apps.web.DATABASE_SSL_MODE")
APP_SWITCHES = ("apps.api.REDIS_TLS_ENABLED", "apps.web.REDIS_TLS_ENABLED")


def usable(state: Settings) -> bool:
    """Whether every hop connects."""
    issued = int(state["CERTIFICATE_GENERATION"]) >= 1
    return _postgres_usable(state, issued) and _redis_usable(state, issued)


def _postgres_usable(state: Settings, issued: bool) -> bool:
    offers = state["POSTGRES_TLS_ENABLED"] == "on"
    server_leg, client_leg = state["PGBOUNCER_SERVER_TLS_SSLMODE"], state["PGBOUNCER_CLIENT_TLS_SSLMODE"]
    modes = [state[key] for key in APP_MODES]
    if (offers or client_leg != "disable") and not issued:
        return False  # a server without a certificate can't offer TLS
    if server_leg in ENCRYPTS and not offers:
        return False  # PgBouncer asks for TLS in vain
    if (server_leg in VERIFIES or any(mode in VERIFIES for mode in modes)) and not issued:
        return False  # nothing to verify with
    if client_leg == "disable" and any(mode in ENCRYPTS for mode in modes):
        return False  # an app asks for TLS in vain
    if client_leg == "require" and "disable" in modes:
        return False  # an app in plaintext is refused
    return not (state["POSTGRES_FORCE_SSL"] == "on" and (not offers or server_leg == "disable"))


def _redis_usable(state: Settings, issued: bool) -> bool:
    offers, forced = state["REDIS_TLS_ENABLED"] == "true", state["REDIS_FORCE_TLS"] == "true"
    flipped = [state[key] == "true" for key in APP_SWITCHES]
    if offers and not issued:
        return False
    if any(flipped) and not offers:
        return False
    return not (forced and not (offers and all(flipped)))


def position(key: str, value: str) -> int:
    """How strong a value is."""
    if key == "CERTIFICATE_GENERATION":
        return int(value)
    if key == "PGBOUNCER_CLIENT_TLS_SSLMODE":
        return CLIENT_RANK[value]
    return {**SSLMODE_RANK, **SWITCH_RANK}[value]


def legal(before: Settings, after: Settings) -> bool:
    """Whether the deploy may be made, from a state that was reached by legal ones or not."""
    changed = [key for key in before if before[key] != after[key]]
    if not usable(after) or len(changed) > 1:
        return False
    if not changed:
        return True
    (key,) = changed
    was, becomes = position(key, before[key]), position(key, after[key])
    if becomes < was:
        return key != "PREPARED" or before["CERTIFICATE_GENERATION"] == "0"
    if key == "CERTIFICATE_GENERATION":
        return becomes == was + 1 and (was >= 1 or before["PREPARED"] == "on")
    return _in_order(key, was, becomes, before)


def _in_order(key: str, was: int, becomes: int, before: Settings) -> bool:
    """Whether all that comes earlier is done, by hand for each variable."""
    certificates = before["PREPARED"] == "on" and int(before["CERTIFICATE_GENERATION"]) >= 1
    postgres = certificates and before["POSTGRES_TLS_ENABLED"] == "on"
    server_leg = postgres and before["PGBOUNCER_SERVER_TLS_SSLMODE"] in VERIFIES
    client_leg = server_leg and before["PGBOUNCER_CLIENT_TLS_SSLMODE"] != "disable"
    api, web = (before[mode] == "verify-full" for mode in APP_MODES)
    redis = certificates and before["REDIS_TLS_ENABLED"] == "true"
    api_redis, web_redis = (before[switch] == "true" for switch in APP_SWITCHES)
    match key:
        case "PREPARED":
            return True
        case "POSTGRES_TLS_ENABLED" | "REDIS_TLS_ENABLED":
            return certificates
        case "PGBOUNCER_SERVER_TLS_SSLMODE":
            # from verify-ca on the step is taken; verify-full is more of the same
            return was >= SSLMODE_RANK["verify-ca"] or postgres
        case "PGBOUNCER_CLIENT_TLS_SSLMODE":
            offered = was >= CLIENT_RANK["allow"] or server_leg
            closes = becomes == CLIENT_RANK["require"]
            return offered and (not closes or (server_leg and api and web))
        case "apps.api.DATABASE_SSL_MODE":
            return client_leg
        case "apps.web.DATABASE_SSL_MODE":
            return client_leg and api
        case "POSTGRES_FORCE_SSL":
            return client_leg and api and web and before["PGBOUNCER_CLIENT_TLS_SSLMODE"] == "require"
        case "apps.api.REDIS_TLS_ENABLED":
            return redis
        case "apps.web.REDIS_TLS_ENABLED":
            return redis and api_redis
        case "REDIS_FORCE_TLS":
            return redis and api_redis and web_redis
    raise AssertionError(key)
