#!/bin/sh
# What Supabase's image does of what the deployment relies on: a superuser `postgres`, the roles of
# Auth and Storage, and the scripts of the deployment, once. The local Supabase makes its own
# schemas, as the roles that it is given, so these are superusers here.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    initdb --username=supabase_admin --pwfile=/tmp/password --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --silent --wait start -o "-c listen_addresses= -k /var/run/postgresql"
    psql() { /usr/bin/psql -v ON_ERROR_STOP=1 -qX -h /var/run/postgresql -U supabase_admin -d postgres "$@"; }
    echo "\\getenv password POSTGRES_PASSWORD
        CREATE ROLE postgres SUPERUSER LOGIN PASSWORD :'password';
        CREATE ROLE supabase_auth_admin SUPERUSER NOLOGIN;
        CREATE ROLE supabase_storage_admin SUPERUSER NOLOGIN;" | psql
    for script in /docker-entrypoint-initdb.d/init-scripts/*.sql; do psql -f "$script"; done
    pg_ctl --silent --wait --mode=fast stop
fi
exec "$@"
