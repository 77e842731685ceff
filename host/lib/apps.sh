# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The apps of a host.

# usage: preflight_app_database NOW NEXT VARIABLE
preflight_app_database() { :; }

# usage: apply_app_database SETTINGS VARIABLE
apply_app_database() { :; }

# usage: preflight_app_redis NOW NEXT VARIABLE
preflight_app_redis() { :; }

# usage: apply_app_redis SETTINGS VARIABLE
apply_app_redis() { :; }
