#!/bin/sh
# Starts Redis with one user for the worker, one for limiters and one that may only ask whether it lives. Passwords come
# from files and are in the access list as hashes; the default user is off.
set -eu
umask 077
secrets=${SECRETS:-/run/secrets}
list=${ACCESS_LIST:-${TMPDIR:-/tmp}/users.acl}

hash() {
    printf '%s' "$(cat "$secrets/$1")" | sha256sum | cut -d ' ' -f 1
}

# What a client says before its first command.
greeting='+auth +hello +select +ping +client|setname +client|id +info'

# A limiter's script only reads the records of clusters, but Redis asks for both rights on every key given to a script.
cat > "$list" <<EOF
user default off
user health on nopass resetkeys resetchannels -@all +ping
user detector on #$(hash redis_detector_password) resetkeys ~distilwatch:* resetchannels -@all $greeting +watch +unwatch +multi +exec +discard +hget +hmget +hset +pexpire +pttl +del +get +set +zadd +zrem +zremrangebyscore +xadd
user limiter on #$(hash redis_limiter_password) resetkeys ~distilwatch:v1:budget:* ~distilwatch:v1:limiters:* ~distilwatch:v1:cluster:* %R~distilwatch:v1:* resetchannels -@all $greeting +hget +hmget +hgetall +pttl +zscan +xread +xrevrange +evalsha +script|load +hset +pexpire +time +zadd +zrem +zcard +zremrangebyscore
EOF
exec redis-server --aclfile "$list" "$@"
