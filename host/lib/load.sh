# shellcheck shell=bash
# Sources every library of the bundle. They only define; nothing runs.

for library in \
  common \
  settings \
  render \
  secrets \
  certificates \
  needs \
  evidence \
  deployment \
  servers \
  postgres \
  admin \
  pgbouncer \
  pause \
  client_leg \
  force_ssl \
  redis \
  otel \
  site_files \
  deliver \
  override \
  survey \
  recreate \
  prepared \
  app_env \
  app_dial \
  app_roll \
  app_probe \
  app_preflight \
  apps \
  steps \
  transaction \
  change \
  preflight \
  status \
  json \
  report_servers \
  report_start \
  report_apps \
  report; do
  # shellcheck source=/dev/null
  . "$BUNDLE/lib/$library.sh"
done
unset library
