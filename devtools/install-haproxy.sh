#!/bin/sh
# Installs Debian's haproxy for the end-to-end tests where that needs no question: it is missing, we are root, and this
# is Debian. Anywhere else the tests connect to the pods directly, and say so.
set -u
PATH=$PATH:/usr/sbin
command -v haproxy >/dev/null && exit 0
say() { printf 'haproxy: %s; end-to-end tests connect to the pods directly\n' "$1" >&2; exit 0; }
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
[ "$(id -u)" = 0 ] || say "not installed, and only root can (apt-get install haproxy)"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends haproxy >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy; } >/dev/null 2>&1 || say "could not be installed"
