#!/bin/sh
# Makes sure that there is a Chromium for the test that opens Flower as an operator does.
set -eu

installed() {
    command -v "${ARGOSY_TEST_BROWSER:-chromium}" >/dev/null || command -v google-chrome >/dev/null
}

explain() {
    cat >&2 <<'TEXT'
This test needs Chromium, and this machine has none. Either

  install the package      Debian           sudo tests/flower/install.sh
                           Fedora           sudo dnf install chromium
                           macOS            brew install --cask chromium

  or name one              export ARGOSY_TEST_BROWSER=/path/to/chromium
TEXT
    exit 1
}

installed && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    explain
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q && apt-get install -q -y --no-install-recommends chromium || explain
installed || explain
