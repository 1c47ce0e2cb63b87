#!/bin/sh
# Makes sure that there is a RabbitMQ for the local stack, which runs it with folders, ports and
# a user of its own: the packaged service is neither needed nor started.
set -eu
# shellcheck source=deploy/apt.sh
. "$(dirname "$0")/../apt.sh"

installed() {
    for place in /usr/lib/rabbitmq/bin /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin \
        /home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin /opt/rabbitmq/sbin; do
        [ -x "$place/rabbitmq-server" ] && return
    done
    has rabbitmq-server
}

explain() {
    cat >&2 <<'TEXT'
The tests need RabbitMQ 3.10 or newer, and this machine has none. Either

  install the package      Debian, Ubuntu   sudo deploy/rabbitmq/install.sh
                           Fedora           sudo dnf install rabbitmq-server
                           macOS            brew install rabbitmq
                           (it need not be running: the tests start it themselves)

  or name one that runs    export ARGOSY_TEST_BROKER_URL=amqp://user:password@host:5672/vhost
                           The virtual host must be for these tests alone, and its user may
                           configure, write and read everything in it. Tests that kill the
                           broker are skipped.
TEXT
    exit 1
}

[ -n "${ARGOSY_TEST_BROKER_URL:-}" ] || ensure rabbitmq-server
