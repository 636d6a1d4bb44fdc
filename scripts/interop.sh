#!/bin/sh
# Our tokens read by software that nobody here wrote, from packages: PyJWT and cryptography (Python).
set -eu
cd "$(dirname "$0")/.."
venv=${INTEROP_VENV:-$(mktemp -d)/venv}
command -v python3 >/dev/null || { apt-get update -qq && apt-get install -y -qq python3 python3-venv; }
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv "$venv"; }
"$venv/bin/pip" install --quiet --disable-pip-version-check 'pyjwt[crypto]>=2.9,<3'
INTEROP_PYTHON="$venv/bin/python" go test -count=1 -v -tags interop -run Interop ./internal/demo
