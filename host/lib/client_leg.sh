# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# PgBouncer's client leg.

# usage: preflight_client_leg NOW NEXT VARIABLE
preflight_client_leg() { :; }

# usage: apply_client_leg SETTINGS VARIABLE
apply_client_leg() { :; }
