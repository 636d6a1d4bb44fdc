# Countersign: `make help` lists what there is.
GO ?= go
PKG ?= ./...
FUZZTIME ?= 30s
export GOFLAGS ?= -trimpath

.PHONY: help build demo test conformance check bench bench-assert interop soak fuzz generate

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

build: ## bin/countersign, static, without cgo
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/countersign ./cmd/countersign

demo: build ## build, then play the whole loop on SQLite
	bin/countersign demo

test: ## all tests, race detector on: both engines and the browser
	@scripts/need.sh
	@rm -f .covers
	COUNTERSIGN_COVERS=$(CURDIR)/.covers CGO_ENABLED=1 $(GO) test -count=1 -race -shuffle=on -timeout 10m $(PKG)

conformance: test ## docs/conformance.md from a test run: which test proves which requirement
	$(GO) run ./internal/req/conformance .covers

check: ## format, vet, staticcheck, floors, stale generated files
	@scripts/check.sh

bench: build ## the figures of docs/performance.md beside their floors
	@scripts/bench.sh

bench-assert: build ## the same, failing below the bar (wants a quiet machine)
	@scripts/bench.sh --assert

interop: ## tests against real servers from packages
	@scripts/interop.sh

soak: build ## kills, fuzz and long runs; the result goes to docs/soak.md
	@FUZZTIME=$(FUZZTIME) scripts/soak.sh

fuzz: ## every fuzz target for FUZZTIME each
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

generate: ## remake generated files and goldens
	$(GO) test ./internal/config ./internal/partner ./internal/web/console -update
	$(GO) test ./cmd/countersign -run 'TestDocsEventTypes|TestDocsCommandList' -update
