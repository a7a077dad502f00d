#!/bin/bash
# Plays a worker that misbehaves in the way that $BEHAVIOUR names.

say_running() {
    printf '\x25\x00\x00\x00{"targetId":"4711","event":"running"}' >&4
}

case "$BEHAVIOUR" in
refuse_settings)
    echo "bad port range" >&2
    exit 42
    ;;
end_at_once)
    echo "no memory" >&2
    exit 3
    ;;
say_nothing)
    exec sleep 60
    ;;
end_later)
    say_running
    sleep 0.2
    exit 7
    ;;
garbage)
    printf '\xff\xff\xff\xff garbage' >&4
    exec sleep 60
    ;;
break_channel)
    say_running
    printf '\xff\xff\xff\xff garbage' >&4
    exec sleep 60
    ;;
stubborn)
    trap '' TERM
    say_running
    while true; do sleep 0.1; done
    ;;
obey)
    say_running
    exec sleep 60
    ;;
show_arguments)
    echo "$@" >&2
    echo "version $MEDIASOUP_VERSION" >&2
    exit 3
    ;;
esac
