#!/bin/sh
# Makes sure that there is a Docker engine for the lane, which runs it itself, with folders of its
# own: the packaged service is neither needed nor started. $1: where the client's plugins go.
set -eu
plugins=$1

explain() {
    cat >&2 <<'TEXT'
The lane needs a Docker engine, and this machine has none. Either

  start the one that is installed    its user runs `make test-compose`; DOCKER_HOST is heeded
  or be root on Debian               the packages docker.io and debootstrap are then installed,
                                     and an engine of the lane's own is started

and Docker Compose 2.24.4 or newer with buildx, as plugins of the client.
TEXT
    exit 1
}

has() { command -v "$1" >/dev/null; }
answers() { has docker && docker info >/dev/null 2>&1; }
has_plugins() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }
may_install() { [ "$(id -u)" -eq 0 ] && has apt-get; }

# apt-get asks this script before it starts a service; 101 means "no".
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && return
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

install() {
    may_install || explain
    forbid_services
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
}

# Debian 13 has both plugins; an older Debian takes them from there, and nothing else.
install_plugins() {
    may_install || explain
    work=$(mktemp -d)
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
        >"$work/sources"
    set -- -o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
    apt-get "$@" update -q
    (cd "$work" && apt-get "$@" download -q docker-compose docker-buildx)
    for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/files"; done
    mkdir -p "$plugins"
    cp "$work"/files/usr/libexec/docker/cli-plugins/* "$plugins/"
    rm -rf "$work"
}

has docker && { answers || has dockerd; } || install docker.io
has debootstrap || ! may_install || install debootstrap
has_plugins || install_plugins
has_plugins || explain
