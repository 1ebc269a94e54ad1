#!/bin/sh
# Puts promtool of Debian's package prometheus into a folder, for the tests of alerts: install-promtool.sh FOLDER
# The package is unpacked and not installed, so that no Prometheus is started, and only the lists of packages may need root.
# Anywhere else those tests are skipped, and say so.
set -u
command -v promtool >/dev/null && exit 0
say() { printf 'promtool: %s; when alerts fire is not tested\n' "$1" >&2; exit 0; }
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
command -v dpkg-deb >/dev/null || say "not installed, and this is not Debian"
mkdir -p "$1" || say "$1 cannot be written"
folder=$(cd "$1" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
fetch() { apt-get download -qq prometheus >/dev/null 2>&1; }
fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq >/dev/null 2>&1 && fetch; } || say "could not be fetched (apt-get download prometheus)"
dpkg-deb --extract prometheus_*.deb . || say "could not be unpacked"
install -m 0755 usr/bin/promtool "$folder/promtool"
