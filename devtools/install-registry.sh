#!/bin/sh
# Puts the registry of Debian's package docker-registry into a folder, for the test that pushes the chart: install-registry.sh FOLDER
# The package is unpacked and not installed, so that no registry is started. Anywhere else that test is skipped, and says so.
set -u
say() { printf 'docker-registry: %s; pushing the chart is not tested\n' "$1" >&2; exit 0; }
command -v docker-registry >/dev/null && exit 0
command -v apt-get >/dev/null || say "not installed, and this is not Debian"
command -v dpkg-deb >/dev/null || say "not installed, and this is not Debian"
mkdir -p "$1" || say "$1 cannot be written"
folder=$(cd "$1" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
fetch() { apt-get download -qq docker-registry >/dev/null 2>&1; }
fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq >/dev/null 2>&1 && fetch; } || say "could not be fetched (apt-get download docker-registry)"
dpkg-deb --extract docker-registry_*.deb . || say "could not be unpacked"
install -m 0755 usr/bin/docker-registry "$folder/docker-registry"
