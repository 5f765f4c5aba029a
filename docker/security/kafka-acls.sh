#!/bin/sh
# Who may do what on the topics of distilwatch, for Kafka's StandardAuthorizer. Run it once, as a super user:
#   KAFKA_ACLS="kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties" sh kafka-acls.sh
# PREFIX and GROUP are DISTILWATCH_TOPIC_PREFIX and DISTILWATCH_GROUP. Nobody else gets anything: set
# allow.everyone.if.no.acl.found=false. Topics are created by the administrator: `distilwatch topics create`.
set -eu
KAFKA_ACLS=${KAFKA_ACLS:?the command kafka-acls.sh with its connection options}
PREFIX=${PREFIX:-distilwatch}
GROUP=${GROUP:-distilwatch}

allow() {  # principal, then operations and resources
    who=$1
    shift
    $KAFKA_ACLS --add --allow-principal "User:$who" "$@"
}

topics() {  # names without prefix and version, as options
    for name in "$@"; do printf -- '--topic %s.%s.v1 ' "$PREFIX" "$name"; done
}

state="observe-state fanin-state campaigns-state"

# The gateway only writes requests.
allow "${GATEWAY:-gateway}" --operation Write --operation Describe $(topics requests)

# The worker reads what comes in and what people say, and writes everything else; rules that come by file or HTTP too.
worker=${WORKER:-worker}
allow "$worker" --operation Read --operation Describe $(topics requests sightings hubs signals early labels rules campaigns $state)
allow "$worker" --operation Write --operation Describe $(topics sightings hubs signals early campaigns alerts shadow rejects rules $state)
allow "$worker" --operation Read --resource-pattern-type prefixed --group "$GROUP-"
allow "$worker" --operation Write --operation Describe --resource-pattern-type prefixed --transactional-id "$PREFIX.$GROUP."

# The console reads decisions, and writes what people say and the rules they put in force.
console=${CONSOLE:-console}
allow "$console" --operation Read --operation Describe $(topics alerts shadow signals labels rules)
allow "$console" --operation Write $(topics labels rules)

# A limiter reads signals.
limiter=${LIMITER:-limiter}
allow "$limiter" --operation Read --operation Describe $(topics signals)
allow "$limiter" --operation Read --resource-pattern-type prefixed --group "$limiter-"
