# Enlace. `make help` lists the targets.
#
# A machine with Go, git and Debian's packages is enough: what else a target
# needs, it builds from tools/ or installs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

GO       ?= go
TOOLS    := $(CURDIR)/bin/tools
FUZZTIME ?= 10s
TIMEOUT  ?= 25m
# Tests that measure time and are skipped under the race detector, which makes every handshake many times slower.
SLOW     := TestRemovalAt34NodesWithoutTheHub|TestRemovalAt34Nodes
FLOOR    ?= ../shared/floor
ARGS     ?=

GATEWAY  := internal/operator/openapi.swagger.json
RELEASE  := proto/release.binpb

.PHONY: help build test unit lint style vet protos generated breaking clauses imports \
        generate release-image fuzz torture torture-short demo bench man compiler browser postgres clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

build: ## Build the three static programs into bin/ (the default).
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/enlace ./cmd/enlace-node ./cmd/enlace-directory

test: lint build unit torture-short fuzz ## Run everything: lint, tests with the race detector, torture, fuzz targets. Installs what it needs.

unit: compiler browser postgres $(TOOLS)/age $(TOOLS)/litewitness $(TOOLS)/omniwitness ## Run the tests alone, with the race detector, in random order.
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -vet=off -timeout $(TIMEOUT) ./...
	$(GO) test -count=1 -vet=off -run '^($(SLOW))$$' ./internal/testnet ./internal/peer
	$(GO) -C tools/faultfs test ./...

lint: style vet protos generated breaking clauses ## Run every check that runs no product code.

style:
	@files=$$(find . -name '*.go' -not -path './bin/*' -not -path './internal/pb/*' -print0 | xargs -0 gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

vet: $(TOOLS)/staticcheck
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	$(GO) test -count=1 -vet=off .

protos: $(TOOLS)/buf
	$(TOOLS)/buf lint

generated: $(TOOLS)/buf $(TOOLS)/protoc-gen-go
	BUF=$(TOOLS)/buf tools/generate.sh --check

breaking: $(TOOLS)/buf
	@if [ -f $(RELEASE) ]; then $(TOOLS)/buf breaking --against $(RELEASE); \
	else echo "breaking: no $(RELEASE) yet, so nothing was released that could break"; fi

clauses: ## List clauses of PROTOCOL.md that no code or no test cites.
	$(GO) run ./tools/clauses .

imports: ## Print the import table of ARCHITECTURE.md as the code has it now.
	@$(GO) test -count=1 -vet=off -run '^TestImports$$' -args -print-imports | sed '/^ok\>/d;/^PASS$$/d'

generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go ## Regenerate internal/pb and the OpenAPI file from proto/.
	BUF=$(TOOLS)/buf tools/generate.sh

release-image: $(TOOLS)/buf ## Write the image that later protos are held against; once per release.
	$(TOOLS)/buf build --exclude-source-info -o $(RELEASE)

fuzz: ## Run each fuzz target for FUZZTIME (10s).
	FUZZTIME=$(FUZZTIME) GO=$(GO) tools/fuzz.sh

torture: ## Torture a network for 3 minutes, then find each of ten planted bugs in as many.
	$(GO) run ./tools/torture --plants all $(ARGS)

torture-short: ## One clean run of 3 minutes and one planted bug, by a new seed.
	$(GO) run ./tools/torture
	$(GO) run ./tools/torture --plant seed

demo: ## Run a whole network on this machine. ARGS="--once" for a check that ends.
	$(GO) run ./cmd/enlace demo $(ARGS)

bench: build ## Measure, and hold our floor against the reference floor.
	$(GO) run ./tools/floor -reference $(FLOOR) bin/enlace bench --json $(ARGS)

man: ## Write the manual pages from the commands' help into man/.
	$(GO) run ./cmd/enlace man --dir man

compiler:
	@command -v $${CC:-gcc} >/dev/null || command -v cc >/dev/null || tools/install.sh gcc libc6-dev

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || tools/install.sh chromium

postgres:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || tools/install.sh postgresql

clean: ## Remove what was built.
	rm -rf bin man

# Programs for building and testing, each set from a module of its own.
$(TOOLS)/buf: tools/buf/go.mod tools/buf/go.sum
$(TOOLS)/protoc-gen-go: tools/protoc/go.mod tools/protoc/go.sum
$(TOOLS)/staticcheck: tools/lint/go.mod tools/lint/go.sum
$(TOOLS)/age: tools/age/go.mod tools/age/go.sum
$(TOOLS)/litewitness: tools/litewitness/go.mod tools/litewitness/go.sum
$(TOOLS)/omniwitness: tools/omniwitness/go.mod tools/omniwitness/go.sum
$(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/staticcheck $(TOOLS)/age $(TOOLS)/litewitness $(TOOLS)/omniwitness:
	@mkdir -p $(TOOLS)
	CGO_ENABLED=0 $(GO) -C $(<D) build -o $(TOOLS)/ tool
	@touch $@
