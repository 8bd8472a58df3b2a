# A private Elasticsearch of one node: own folder, own ports, loopback only, no security.

# start_elasticsearch VERSION FOLDER: starts a node there and sets ES_URL and ES_PID. Stopped at exit.
start_elasticsearch() {
    local version=$1 folder=$2 java_version=17 java program port transport
    case $version in 9.*) java_version=21 ;; esac
    java=$(java_home "$java_version") || die "Elasticsearch $version needs a JDK of at least $java_version"
    fetch_elasticsearch "$version"
    mkdir -p "$folder/config" "$folder/data" "$folder/logs" "$folder/tmp" "$folder/home"
    program=$folder/program
    # Hard links: no space, and readable where the cache itself is closed to the server user.
    cp -al "$CACHE/servers/elasticsearch-$version" "$program" 2>/dev/null \
        || cp -a "$CACHE/servers/elasticsearch-$version" "$program"
    cp -r --no-preserve=mode "$CACHE/servers/elasticsearch-$version/config/." "$folder/config/"
    port=$(free_port)
    transport=$(free_port)
    cat >>"$folder/config/elasticsearch.yml" <<SETTINGS
discovery.type: single-node
network.host: 127.0.0.1
http.port: $port
transport.port: $transport
path.data: $folder/data
path.logs: $folder/logs
xpack.security.enabled: false
cluster.routing.allocation.disk.threshold_enabled: false
action.destructive_requires_name: false
SETTINGS
    mkdir -p "$folder/config/jvm.options.d"
    printf -- '-Xms%s\n-Xmx%s\n' "${ES_HEAP:-512m}" "${ES_HEAP:-512m}" >"$folder/config/jvm.options.d/heap.options"
    chmod 755 "$folder"
    give_to_server_user "$folder/config" "$folder/data" "$folder/logs" "$folder/tmp" "$folder/home"
    (
        cd "$folder/home"
        exec "${AS_SERVER_USER[@]}" env ES_JAVA_HOME="$java" ES_PATH_CONF="$folder/config" ES_TMPDIR="$folder/tmp" \
            HOME="$folder/home" "$program/bin/elasticsearch" >"$folder/elasticsearch.log" 2>&1
    ) &
    ES_PID=$!
    ES_URL=http://127.0.0.1:$port
    on_exit "stop_process $ES_PID TERM"
    for _ in $(seq 1 360); do
        if curl -fsS "$ES_URL/_cluster/health?wait_for_status=yellow&timeout=5s" >/dev/null 2>&1; then return; fi
        kill -0 "$ES_PID" 2>/dev/null || { tail -40 "$folder/elasticsearch.log" >&2; die "Elasticsearch $version did not start"; }
        sleep 0.5
    done
    die "Elasticsearch $version does not answer after 180 s: see $folder/elasticsearch.log"
}
