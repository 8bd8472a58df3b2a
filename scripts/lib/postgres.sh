# A private PostgreSQL: own folder, own port, own socket folder, trust on the loopback only.

# Makes sure that some PostgreSQL is there and sets PG_BIN to the folder of its programs.
install_postgres() {
    local folder
    if [ -n "${PROJECTORD_POSTGRES_BIN:-}" ]; then
        PG_BIN=$PROJECTORD_POSTGRES_BIN
    else
        PG_BIN=
        for folder in /usr/lib/postgresql/{15,16,17,18,14}/bin "$CACHE"/servers/postgres-*/bin; do
            [ ! -x "$folder/initdb" ] || { PG_BIN=$folder; break; }
        done
    fi
    if [ -z "$PG_BIN" ]; then
        # Without this line Debian would start a cluster of its own on port 5432.
        apt_install postgresql-common
        if [ "$(id -u)" = 0 ]; then
            sed -i 's/^#\{0,1\}create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
        fi
        if apt-cache show postgresql-15 >/dev/null 2>&1; then
            apt_install postgresql-15
            PG_BIN=/usr/lib/postgresql/15/bin
        else
            fetch_postgres 18
            PG_BIN=$CACHE/servers/postgres-18/bin
        fi
    fi
    command -v psql >/dev/null || apt_install postgresql-client
}

# start_postgres FOLDER: starts a new cluster there and sets PG_PORT and PG_PID. Stopped at exit.
start_postgres() {
    local folder=$1 setting_file
    PG_PORT=$(free_port)
    mkdir -p "$folder/socket"
    give_to_server_user "$folder"
    if ! "${AS_SERVER_USER[@]}" test -x "$PG_BIN/initdb"; then
        # Root's own cache is closed to the server user: a copy of hard links is not.
        copy_by_links "$(dirname "$PG_BIN")" "$folder/program"
        PG_BIN=$folder/program/bin
    fi
    "${AS_SERVER_USER[@]}" "$PG_BIN/initdb" -D "$folder/data" -U postgres --auth=trust -E UTF8 --locale=C.UTF-8 --no-sync \
        >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; die "initdb failed"; }
    setting_file=$folder/data/postgresql.conf
    cat >>"$setting_file" <<SETTINGS
listen_addresses = '127.0.0.1'
port = $PG_PORT
unix_socket_directories = '$folder/socket'
wal_level = logical
max_slot_wal_keep_size = 4GB
max_wal_size = 2GB
shared_buffers = 256MB
SETTINGS
    "${AS_SERVER_USER[@]}" "$PG_BIN/postgres" -D "$folder/data" >"$folder/postgres.log" 2>&1 &
    PG_PID=$!
    on_exit "stop_process $PG_PID INT"
    for _ in $(seq 1 300); do
        if psql_to postgres -c 'SELECT 1' >/dev/null 2>&1; then return; fi
        kill -0 "$PG_PID" 2>/dev/null || { cat "$folder/postgres.log" >&2; die "PostgreSQL did not start"; }
        sleep 0.1
    done
    die "PostgreSQL does not answer after 30 s: see $folder/postgres.log"
}

# psql_to DATABASE ARGUMENTS...: any error ends it; only values are printed.
psql_to() {
    local database=$1
    shift
    PGOPTIONS='-c client_min_messages=warning -c timezone=UTC' \
        psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" -U postgres -d "$database" "$@"
}

# create_shop DATABASE PRODUCTS ORDERS: the write database of the shop, with that much in it.
create_shop() {
    local database=$1 migration
    psql_to postgres -c "CREATE DATABASE $database"
    for migration in "$ROOT"/migrations/*.sql; do
        psql_to "$database" -1 -f "$migration"
    done
    psql_to "$database" -1 -v products="$2" -v orders="$3" -f "$ROOT/scripts/shop-data.sql" >/dev/null
    psql_to "$database" -c 'VACUUM ANALYZE'
}
