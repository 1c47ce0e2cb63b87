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
exec valkey-server --dir /data --aclfile /tmp/users.acl --appendonly yes --save '' \
    --maxmemory-policy noeviction
