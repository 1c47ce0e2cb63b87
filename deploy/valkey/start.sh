#!/bin/sh
# Starts Valkey with two users: the fleet, which may do everything, and `agents`, which may do
# what is in agents.acl. The passwords come from the environment and go into a file in memory.
set -eu
umask 077
{
    echo "user default on >$VALKEY_PASSWORD ~* &* +@all"
    echo "user agents on >$VALKEY_AGENTS_PASSWORD $(sed 's/#.*//' /argosy/agents.acl | tr '\n' ' ')"
} >/tmp/users.acl
unset VALKEY_PASSWORD VALKEY_AGENTS_PASSWORD

# Full, it refuses what is new, and the fleet waits. Without a bound the kernel would end it, and
# again each time that it has read what it had kept. A quarter is left for rewriting its log.
limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null |
    head -n 1)
case $limit in
    *[!0-9]* | '') most=0 ;; # no limit
    *) most=$((limit / 4 * 3)) ;;
esac
exec valkey-server --dir /data --aclfile /tmp/users.acl --appendonly yes --save '' \
    --maxmemory "$most" --maxmemory-policy noeviction
