#!/bin/sh
# Makes sure that there are a Prometheus and its promtool for `make test-monitoring`, which runs
# them with a folder and ports of its own: the packaged service is neither needed nor started.
set -eu

installed() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null
}

explain() {
    cat >&2 <<'TEXT'
These tests need Prometheus 2.42 or newer with promtool, and this machine has none:

  Debian, Ubuntu   sudo deploy/prometheus/install.sh
  Fedora           sudo dnf install golang-github-prometheus
  macOS            brew install prometheus
                   (it need not be running: the tests start it themselves)
TEXT
    exit 1
}

# apt-get asks this script before it starts a service; 101 means "no".
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && return
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

install_package() {
    forbid_services
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends prometheus
}

if installed; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    explain
fi
install_package || explain
installed || explain
