# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# POSTGRES_FORCE_SSL: pg_hba.conf takes TLS connections only.

# usage: preflight_force_ssl NOW NEXT VARIABLE
preflight_force_ssl() { :; }

# usage: apply_force_ssl SETTINGS VARIABLE
apply_force_ssl() { :; }
