#!/bin/sh
# Makes sure that there is a Docker engine for the lane, which runs it itself, with folders of its
# own: the packaged service is neither needed nor started. $1: where the client's plugins go.
set -eu
# shellcheck source=deploy/apt.sh
. "$(dirname "$0")/../../deploy/apt.sh"
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

answers() { has docker && docker info >/dev/null 2>&1; }
has_engine() { answers || { has docker && has dockerd; }; }
has_plugins() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }

# Debian 13 has both plugins; an older Debian takes them from there, and nothing else.
install_plugins() {
    may_install || explain
    work=$(mktemp -d)
    # shellcheck disable=SC2016  # apt puts the address there
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

has_engine || install_packages docker.io || explain
has debootstrap || ! may_install || install_packages debootstrap || explain
has_plugins || install_plugins
has_plugins || explain
