#!/bin/sh
# Runs once, when the database is made: Keycloak gets a database and a role of its own.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$KEYCLOAK_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE keycloak LOGIN PASSWORD :'password';
CREATE DATABASE keycloak OWNER keycloak;
REVOKE CONNECT ON DATABASE keycloak FROM PUBLIC;
REVOKE CONNECT ON DATABASE kustos FROM PUBLIC;
SQL
