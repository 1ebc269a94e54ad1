#!/bin/sh
# Installs Debian's chromium for the tests of the page where that needs no question: it is missing, we are root, and this
# is Debian. Anywhere else these tests are skipped, and say so.
set -u
command -v chromium >/dev/null && exit 0
say() { printf 'chromium: %s; the page is not tested\n' "$1" >&2; exit 0; }
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
[ "$(id -u)" = 0 ] || say "not installed, and only root can (apt-get install chromium)"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 && exit 0
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || say "could not be installed"
