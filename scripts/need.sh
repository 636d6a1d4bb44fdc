#!/bin/sh
# Finds what the tests need, or installs it (as root with CI=true, or after a yes), or stops with the command to type.
# need.sh keycloak: what the test against Keycloak needs beside that.
set -eu
missing=
have_pg() { [ -n "${COUNTERSIGN_TEST_POSTGRES:-}" ] || command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
have_chromium() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; }
have_cc() { command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1; }
for tool in curl openssl; do # the guides use them, and are run
	command -v $tool >/dev/null 2>&1 || missing="$missing $tool"
done
have_pg || missing="$missing postgresql"
have_chromium || missing="$missing chromium"
have_cc || missing="$missing gcc libc6-dev"
if [ "${1:-}" = keycloak ]; then
	for tool in mvn unzip; do
		command -v $tool >/dev/null 2>&1 || missing="$missing $(echo $tool | sed s/mvn/maven/)"
	done
	command -v java >/dev/null 2>&1 || missing="$missing default-jre-headless"
fi
[ -z "$missing" ] && exit 0
cmd="apt-get update && apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
	echo "The tests need:$missing. Install them with your system's package manager and run make test again." >&2
	exit 1
fi
if [ "$(id -u)" = 0 ] && [ "${CI:-}" = true ]; then
	:
elif [ -t 0 ]; then
	printf 'The tests need:%s. Run "%s"? [y/N] ' "$missing" "$cmd"
	read -r answer
	case $answer in y | Y | yes) ;; *) echo "Not installed. Type: sudo sh -c '$cmd'" >&2; exit 1 ;; esac
else
	echo "The tests need:$missing. Type: sudo sh -c '$cmd'" >&2
	exit 1
fi
run=
[ "$(id -u)" = 0 ] || run=sudo
# shellcheck disable=SC2086 # the list is meant to split
$run sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing"
