# What this machine offers: packages, ports, private folders, and whom servers run as.
#
# Source it from a bash script with `set -euo pipefail`. Everything that a script starts is registered with
# `on_exit`, so that nothing stays behind, however the script ends.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${PROJECTORD_CACHE:-$HOME/.cache/projectord}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# --- cleanup -------------------------------------------------------------------------------------------

EXIT_ACTIONS=()

# Runs the command when the script ends; the last registered runs first.
on_exit() { EXIT_ACTIONS=("$*" "${EXIT_ACTIONS[@]}"); }

run_exit_actions() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    local action
    for action in "${EXIT_ACTIONS[@]}"; do eval "$action"; done
    exit "$status"
}
trap run_exit_actions EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Sends the signal and waits until the process is gone; after 20 s it is killed.
stop_process() {
    local pid=$1 signal=${2:-TERM} waited=0
    kill -"$signal" "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null && [ "$(ps -o stat= -p "$pid" 2>/dev/null | cut -c1)" != Z ]; do
        sleep 0.1
        waited=$((waited + 1))
        [ "$waited" -lt 200 ] || kill -KILL "$pid" 2>/dev/null || true
    done
    wait "$pid" 2>/dev/null || true
}

# --- who runs servers ----------------------------------------------------------------------------------

# PostgreSQL and Elasticsearch refuse to run as root; then they run as nobody. It is an array, not a
# function, so that `$!` of a server in the background is the server itself and not a shell around it.
if [ "$(id -u)" = 0 ]; then
    SERVER_USER=nobody
    AS_SERVER_USER=(setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups)
    give_to_server_user() { chown -R "nobody:$(id -gn nobody)" "$@"; }
else
    SERVER_USER=$(id -un)
    AS_SERVER_USER=()
    give_to_server_user() { :; }
fi

# Makes a folder of this run's own and sets WORK to it; it goes when the script ends.
private_folder() {
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/projectord.XXXXXX")
    chmod 755 "$WORK"
    on_exit "rm -rf '$WORK'"
}

# copy_by_links FROM TO: hard links where that works, which take no space and, unlike a link to the folder, can
# be reached by the server user when the folder above FROM is closed to it.
copy_by_links() {
    cp -al "$1" "$2" 2>/dev/null || { rm -rf "$2"; cp -a --no-preserve=ownership "$1" "$2"; }
}

# Prints a TCP port on the loopback that nobody listens on now.
free_port() {
    local port
    for _ in $(seq 1 200); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port between 20000 and 32000"
}

# --- packages ------------------------------------------------------------------------------------------

APT_UPDATED=

# install_package COMMAND PACKAGE: does nothing when the command is there.
install_package() {
    command -v "$1" >/dev/null || apt_install "$2"
}

apt_install() {
    command -v apt-get >/dev/null || die "$* is missing, and this machine has no apt-get: install it and run this again"
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "$* is missing: install it as root (apt-get install $*) and run this again"
        sudo=(sudo)
    fi
    [ -n "$APT_UPDATED" ] || "${sudo[@]}" apt-get -qq update
    APT_UPDATED=1
    say "installing $*"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# Prints the home of the oldest JDK that is at least this version; fails when there is none.
java_home() {
    local least=$1 best='' best_version=999 home version
    for home in ${JAVA_HOME:+"$JAVA_HOME"} /usr/lib/jvm/*; do
        [ -x "$home/bin/java" ] && [ -r "$home/release" ] || continue
        version=$(sed -n 's/^JAVA_VERSION="\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' "$home/release")
        [ -n "$version" ] || continue
        if [ "$version" -ge "$least" ] && [ "$version" -lt "$best_version" ]; then
            best=$home best_version=$version
        fi
    done
    [ -n "$best" ] && echo "$best"
}

# Whether C programs can be made: gcc may be there without a C library to link with.
can_link() {
    local program status=0
    command -v cc >/dev/null || return 1
    program=$(mktemp)
    echo 'int main(void) { return 0; }' | cc -x c -o "$program" - 2>/dev/null || status=1
    rm -f "$program"
    return "$status"
}

# Installs what building, testing and the demo need and this machine lacks. Rust is taken as given.
install_tools() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust first"
    can_link || apt_install gcc libc6-dev
    install_package setpriv util-linux
    install_package flock util-linux
    install_package ps procps
    install_package curl curl
    install_package jq jq
    install_package unzip unzip
    java_home 17 >/dev/null || apt_install openjdk-17-jre-headless
    install_postgres
}
