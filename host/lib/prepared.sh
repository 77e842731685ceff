# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# A site's own deployment taken over by `PREPARED`: with our own compose.yaml there is nothing to do.

# usage: preflight_prepared NOW NEXT VARIABLE
preflight_prepared() { :; }

# usage: apply_prepared SETTINGS VARIABLE
apply_prepared() { :; }
