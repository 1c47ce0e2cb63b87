# What the scripts share that make sure of something on this machine. Whoever sources this says
# with `installed` whether it is there, and with `explain`, which ends, how else it may come there.
# shellcheck shell=sh

has() { command -v "$1" >/dev/null; }
may_install() { [ "$(id -u)" -eq 0 ] && has apt-get; }

# apt-get asks this script before it starts a service; 101 means "no".
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && return
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
}

install_packages() {
    may_install && forbid_services && apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

ensure() {
    installed || { install_packages "$@" && installed; } || explain
}
