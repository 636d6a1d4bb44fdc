#!/bin/sh
# Runs a command with SMALL set to a file system of 48 MB in memory: mounted as root, or in a namespace of its own.
set -eu
if [ "$(id -u)" != 0 ]; then exec unshare --map-root-user --mount "$0" "$@"; fi
SMALL=$(mktemp -d)
export SMALL
mount -t tmpfs -o size=48m tmpfs "$SMALL"
trap 'umount -l "$SMALL"; rmdir "$SMALL"' EXIT INT TERM
"$@"
