# A private Elasticsearch of one node: own folder, own ports, loopback only, no security.

# start_elasticsearch VERSION FOLDER: starts a node there and sets ES_URL and ES_PID. Stopped at exit.
start_elasticsearch() {
    local version=$1 folder=$2 java_version=17 java program port transport
    case $version in 9.*) java_version=21 ;; esac
    java=$(java_home "$java_version") || die "Elasticsearch $version needs a JDK of at least $java_version"
    fetch_elasticsearch "$version"
    mkdir -p "$folder/config" "$folder/data" "$folder/logs" "$folder/tmp" "$folder/home"
    program=$folder/program
    copy_by_links "$CACHE/servers/elasticsearch-$version" "$program"
    cp -r --no-preserve=mode "$CACHE/servers/elasticsearch-$version/config/." "$folder/config/"
    # The log of garbage collections would go into the program's own folder.
    sed -i '/gc\.log/d' "$folder/config/jvm.options"
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
        # The launcher is a JVM as well, and leaves folders where it takes the temporary ones from.
        exec "${AS_SERVER_USER[@]}" env ES_JAVA_HOME="$java" ES_PATH_CONF="$folder/config" ES_TMPDIR="$folder/tmp" \
            CLI_JAVA_OPTS="-Djava.io.tmpdir=$folder/tmp" HOME="$folder/home" "$program/bin/elasticsearch" >"$folder/elasticsearch.log" 2>&1
    ) &
    ES_PID=$!
    ES_URL=http://127.0.0.1:$port
    on_exit "stop_process $ES_PID TERM"
    wait_for_cluster "Elasticsearch $version" "$folder/elasticsearch.log"
}

# start_opensearch VERSION FOLDER: starts a node there and sets ES_URL and ES_PID. Stopped at exit.
start_opensearch() {
    local version=$1 folder=$2 java port
    java=$(java_home 17) || die "OpenSearch needs a JDK of at least 17"
    fetch_opensearch "$version"
    mkdir -p "$folder/base" "$folder/config"
    printf 'discovery.type: single-node\ncluster.routing.allocation.disk.threshold_enabled: false\n' \
        >"$folder/config/opensearch.yml"
    # The runner takes the first free port between 9201 and 9299, and no other can be asked for.
    (
        cd "$folder"
        exec "$java/bin/java" "-Xmx${ES_HEAP:-512m}" -cp "$CACHE/servers/opensearch-$version/lib/*" \
            org.codelibs.opensearch.runner.OpenSearchRunner -basePath "$folder/base" -confPath "$folder/config" \
            -numOfNode 1 -clusterName "opensearch-$$" >"$folder/opensearch.log" 2>&1
    ) &
    ES_PID=$!
    on_exit "stop_process $ES_PID TERM"
    port=
    while [ -z "$port" ]; do
        kill -0 "$ES_PID" 2>/dev/null || { cat "$folder/opensearch.log" >&2; die "OpenSearch $version did not start"; }
        sleep 0.2
        port=$(sed -n 's/^HTTP Port: *//p' "$folder/opensearch.log")
    done
    ES_URL=http://127.0.0.1:$port
    wait_for_cluster "OpenSearch $version" "$folder/opensearch.log"
}

# wait_for_cluster NAME LOG: until ES_URL answers; dies with the log's end when ES_PID has ended.
wait_for_cluster() {
    for _ in $(seq 1 360); do
        if curl -fsS "$ES_URL/_cluster/health?wait_for_status=yellow&timeout=5s" >/dev/null 2>&1; then return; fi
        kill -0 "$ES_PID" 2>/dev/null || { tail -40 "$2" >&2; die "$1 did not start"; }
        sleep 0.5
    done
    die "$1 does not answer after 180 s: see $2"
}
