#!/bin/sh
# What CI checks before the tests: format, vet, staticcheck, floors, stale generated files.
set -eu
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	echo "not formatted (run gofmt -w):" >&2
	echo "$unformatted" >&2
	exit 1
fi
go vet ./...
go tool staticcheck ./...
go test -count=1 -run 'TestFloors|TestSDKAlone' .
go mod tidy -diff
go test -count=1 -run 'Golden|TestDocsEventTypes' ./internal/config ./internal/web/console ./cmd/countersign
CGO_ENABLED=0 go build -o /dev/null ./cmd/countersign
echo "check: ok"
