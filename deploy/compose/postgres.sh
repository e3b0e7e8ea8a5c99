#!/bin/sh
# Run once, by PostgreSQL's image, when its folder is empty: the portal's user and database, and Grafana's user, which
# reads the report views alone (docs/grafana.md).
set -eu
psql --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname="${POSTGRES_DB:-postgres}" \
    --set=portal="$PORTAL_DATABASE_PASSWORD" --set=reports="$REPORTS_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE portal LOGIN PASSWORD :'portal';
CREATE ROLE mask_portal_reports NOLOGIN;
CREATE ROLE grafana LOGIN PASSWORD :'reports' IN ROLE mask_portal_reports;
CREATE DATABASE portal OWNER portal;
REVOKE CONNECT ON DATABASE portal FROM PUBLIC;
GRANT CONNECT ON DATABASE portal TO mask_portal_reports;
SQL
