#!/bin/sh
# Makes sure that there is a Chromium for the test that opens Flower as an operator does.
set -eu
# shellcheck source=deploy/apt.sh
. "$(dirname "$0")/../../deploy/apt.sh"

installed() { has "${ARGOSY_TEST_BROWSER:-chromium}" || has google-chrome; }

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

ensure chromium
