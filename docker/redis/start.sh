#!/bin/sh
# Starts Redis with the users of docker/security/redis-users.acl and one that may only ask whether it lives. Passwords
# come from files and are in the list as hashes.
set -eu
umask 077
secrets=${SECRETS:-/run/secrets}
users=${USERS:-/redis-users.acl}
list=${ACCESS_LIST:-${TMPDIR:-/tmp}/users.acl}

hash() {
    printf '%s' "$(cat "$secrets/$1")" | sha256sum | cut -d ' ' -f 1
}

sed -e "s/>change-worker/#$(hash redis_worker_password)/" -e "s/>change-limiter/#$(hash redis_limiter_password)/" \
    "$users" > "$list"
echo 'user health on nopass resetkeys resetchannels -@all +ping' >> "$list"
exec redis-server --aclfile "$list" "$@"
