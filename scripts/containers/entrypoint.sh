#!/bin/sh
# Like the official images': initialises a new database with its user, name and password, as root or as its own user;
# no server runs as root.
set -eu
if [ "$1" = postgres ]; then
    [ "$(id -u)" != 0 ] || exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
    data=/var/lib/postgresql/18/docker
    if [ ! -s "$data/PG_VERSION" ]; then
        mkdir -p "$data"
        chmod 700 "$data"
        initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 \
            --encoding=UTF8 --locale=C.UTF-8 --no-instructions
        echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
        echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$data" postgres
    fi
    exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
fi
exec "$@"
