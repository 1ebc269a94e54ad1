#!/bin/sh
# Installs Debian's redis-tools for redis-benchmark where that needs no question: it is missing, we are root, and this is
# Debian. Anywhere else the benchmark goes without the server's limit, and says so.
set -u
command -v redis-benchmark >/dev/null && exit 0
command -v valkey-benchmark >/dev/null && exit 0
say() { printf 'redis-benchmark: %s; the server'"'"'s limit will not be measured\n' "$1" >&2; exit 0; }
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
[ "$(id -u)" = 0 ] || say "not installed, and only root can (apt-get install redis-tools)"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends redis-tools >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-tools; } >/dev/null 2>&1 || say "could not be installed"
