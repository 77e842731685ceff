# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# Redis: TLS listener beside the plaintext one, and alone.

# usage: preflight_redis_tls NOW NEXT VARIABLE
preflight_redis_tls() { :; }

# usage: apply_redis_tls SETTINGS VARIABLE
apply_redis_tls() { :; }

# usage: preflight_force_redis NOW NEXT VARIABLE
preflight_force_redis() { :; }

# usage: apply_force_redis SETTINGS VARIABLE
apply_force_redis() { :; }
