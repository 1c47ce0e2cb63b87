#!/bin/sh
# Makes sure that there is a RabbitMQ for the local stack, which runs it with folders, ports and
# a user of its own: the packaged service is neither needed nor started.
set -eu

installed() {
    for place in /usr/lib/rabbitmq/bin /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin \
        /home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin /opt/rabbitmq/sbin; do
        [ -x "$place/rabbitmq-server" ] && return
    done
    command -v rabbitmq-server >/dev/null
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
    apt-get update -q && apt-get install -q -y --no-install-recommends rabbitmq-server
}

if [ -n "${ARGOSY_TEST_BROKER_URL:-}" ] || installed; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    explain
fi
install_package || explain
installed || explain
