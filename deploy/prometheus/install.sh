#!/bin/sh
# Makes sure that there are a Prometheus and its promtool for `make test-monitoring`, which runs
# them with a folder and ports of its own: the packaged service is neither needed nor started.
set -eu
# shellcheck source=deploy/apt.sh
. "$(dirname "$0")/../apt.sh"

installed() { has prometheus && has promtool; }

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

ensure prometheus
