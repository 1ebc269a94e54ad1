#!/bin/sh
# Installs Debian's redis-tools, which holds a Redis server (7.0 in Debian 12) that is not started, where that needs no
# question: there is no Redis, we are root, and this is Debian. Anywhere else the tests go without it, and say so.
set -u
command -v redis-server >/dev/null && exit 0
command -v redis-check-rdb >/dev/null && exit 0
say() { printf 'redis: %s; permits are tested without that version\n' "$1" >&2; exit 0; }
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
[ "$(id -u)" = 0 ] || say "not installed, and only root can (apt-get install redis-tools)"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends redis-tools >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-tools; } >/dev/null 2>&1 || say "could not be installed"
