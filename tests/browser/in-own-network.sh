#!/bin/sh
# Runs a command in the network namespace that it was given, once there is a network in it: a pair of
# interfaces with the one address that the tests' servers listen on beside 127.0.0.1, because Firefox makes
# no connection of media over the loopback interface.
set -eu

if [ -n "$(ip -o link show up | grep -v ': lo:')" ]; then
    echo "this takes a network namespace of its own: run it by 'make browser'" >&2
    exit 1
fi
ip link set lo up
ip link add kall type veth peer name far
ip address add 10.79.0.1/24 dev kall
ip link set kall up
ip link set far up
exec "$@"
