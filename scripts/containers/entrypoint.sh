#!/bin/sh
# Like the official images: initialises a new database with its user, name and password; no server runs as root.
set -eu
as() { exec setpriv --reuid=service --regid=service --clear-groups "$@"; }

if [ "$1" = postgres ]; then
    home=/var/lib/postgresql data=/var/lib/postgresql/data
    if [ ! -s "$data/PG_VERSION" ]; then
        install -m 600 "$POSTGRES_PASSWORD_FILE" /tmp/password
        chown service "$home" /tmp/password
        (as initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions)
        rm /tmp/password
        echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
        echo "CREATE DATABASE $POSTGRES_DB" | (as postgres --single -D "$data" postgres)
    fi
    as postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
fi
as "$@"
