#!/bin/sh
# A real Keycloak against the hub: its distribution comes from Maven Central, as a package, and runs for this test only.
# COUNTERSIGN_KEYCLOAK_ZIP names a distribution that is there already.
set -eu
cd "$(dirname "$0")/.."
version=26.7.3
sha256=27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f
scripts/need.sh keycloak
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
zip=${COUNTERSIGN_KEYCLOAK_ZIP:-}
if [ -z "$zip" ]; then
	begun=$(date +%s)
	mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
		-Dartifact=org.keycloak:keycloak-quarkus-dist:$version:zip -DoutputDirectory="$dir"
	zip=$dir/keycloak-quarkus-dist-$version.zip
	echo "interop: Keycloak $version fetched in $(($(date +%s) - begun)) s"
fi
echo "$sha256  $zip" | sha256sum --check --quiet || {
	echo "interop: $zip is not the Keycloak $version that was pinned" >&2
	exit 1
}
unzip -q "$zip" -d "$dir"
java -version 2>&1 | sed -n 's/^/interop: /; 1p'
KEYCLOAK_HOME=$dir/keycloak-$version go test -tags interop -count=1 -timeout 15m -run '^TestKeycloak$' -v ./cmd/countersign >"$dir/log" 2>&1 || {
	cat "$dir/log"
	exit 1
}
grep -E '^ok   |ready after' "$dir/log" | sed 's/^ *keycloak_test.go:[0-9]*: /interop: /'
echo "interop: $(grep -c '^ok   ' "$dir/log") passed, 0 failed (Keycloak $version)"
