#!/bin/sh
# Installs Debian's nodejs for the tests of the JavaScript modules where that needs no question: it is missing, we are
# root, and this is Debian. Anywhere else these tests are skipped, and say so.
set -u
command -v node >/dev/null && exit 0
say() { printf 'node: %s; the JavaScript modules are not tested\n' "$1" >&2; exit 0; }
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
[ "$(id -u)" = 0 ] || say "not installed, and only root can (apt-get install nodejs)"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends nodejs >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs; } >/dev/null 2>&1 || say "could not be installed"
