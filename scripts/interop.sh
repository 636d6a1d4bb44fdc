#!/bin/sh
# Our tokens, keys and evidence read by software that nobody here wrote, from packages: PyJWT and
# cryptography read the signatures, jsonschema reads the receipt, jwcrypto signs a SET that our verifier reads. Then Authlib, requests, PyJWT and jsonschema make
# a receiver that takes events of ours by poll and by push. Last, a real Keycloak tells us things.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
command -v python3 >/dev/null || { apt-get update -qq && apt-get install -y -qq python3 python3-venv; }
if ! python3 -m venv "$dir/venv" 2>/dev/null; then
	rm -rf "$dir/venv"
	apt-get update -qq && apt-get install -y -qq python3-venv
	python3 -m venv "$dir/venv"
fi
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check 'pyjwt[crypto]>=2.9,<3' 'jsonschema>=4.20,<5' 'jwcrypto>=1.5,<2' \
	'authlib>=1.3,<2' 'requests>=2.31,<3'
[ -x bin/countersign ] || make build
bin/countersign demo --once --json --keep "$dir/run" >"$dir/demo.json"
"$dir/venv/bin/python" scripts/interop.py "$dir/run" bin/countersign
mkdir "$dir/streams"
PYTHONDONTWRITEBYTECODE=1 "$dir/venv/bin/python" scripts/interop_streams.py bin/countersign "$dir/streams"
scripts/interop_keycloak.sh
