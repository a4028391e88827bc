# Development of Fastbind. `make help` lists what there is.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

GO       ?= go
BIN      := $(CURDIR)/.cache/bin
LISTEN   ?= 127.0.0.1:8080
FUZZTIME ?= 60s
BENCHTIME ?= 1s
COUNT    ?= 3
SEED      ?= 1
REFRESHES ?= 12000
FAULTED   ?= 40000
ENGINE    ?= both
ROUNDS   ?= 1000
LOAD     ?= 100000
SCALE    ?= 10000000

# golangci-lint is built apart from tools/go.mod: as a tool it would add more
# than two hundred requirements to it.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 14

.PHONY: build
build: ## Build the server into ./fastbind.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o fastbind ./cmd/fastbind

.PHONY: demo
demo: build ## Run a server with demo users and clients; LISTEN=ADDRESS.
	./fastbind serve --dev --listen $(LISTEN)

.PHONY: test
test: unit interop chaos ## Run every test, with real databases and a real browser.

.PHONY: unit
unit: ## Run the tests of the main module, on SQLite and PostgreSQL.
	scripts/need.sh gcc postgresql
	FASTBIND_TEST_POSTGRES=1 $(GO) test -race -shuffle=on -timeout 20m ./...

.PHONY: interop
interop: ## Run the tests with other people's clients and a browser.
	scripts/need.sh chromium node postgresql
	scripts/interop.sh

.PHONY: crowd
crowd: ## Show one token to three processes 50 times at once, in ROUNDS rounds.
	scripts/need.sh chromium node postgresql
	cd interop && FASTBIND_TEST_POSTGRES=1 $(GO) test -run '^TestOneSuccessor' -v -timeout 60m . -rounds $(ROUNDS)

.PHONY: chaos
chaos: ## Hold real servers to the contract while things break; SEED, REFRESHES, ENGINE.
	scripts/need.sh postgresql
	mkdir -p .cache
	$(GO) build -o .cache/chaos ./chaos
	.cache/chaos -seed $(SEED) -refreshes $(REFRESHES) -engine $(ENGINE)

.PHONY: chaos-faults
chaos-faults: ## Put faults into the server, one at a time: the chaos run has to find each.
	scripts/need.sh postgresql
	mkdir -p .cache
	$(GO) build -o .cache/chaos ./chaos
	.cache/chaos -faults all -seed $(SEED) -refreshes $(FAULTED)

.PHONY: check
check: format lint tidy generated vulnerable ## Check formatting, lint, modules and generated files.

.PHONY: format
format: $(GOLANGCI) ## Say which files are not formatted.
	$(GOLANGCI) fmt --diff

.PHONY: fmt
fmt: $(GOLANGCI) ## Format all files.
	$(GOLANGCI) fmt

.PHONY: lint
lint: $(GOLANGCI) ## Run go vet, the modernizers, staticcheck and the other linters.
	$(GO) vet ./...
	cd interop && $(GO) vet ./...
	$(GO) fix -diff ./...
	$(GOLANGCI) config verify
	$(GOLANGCI) run

.PHONY: tidy
tidy: ## Say whether the module files are in order.
	$(GO) mod tidy -diff
	$(GO) mod verify
	cd tools && $(GO) mod tidy -diff
	cd interop && $(GO) mod tidy -diff

.PHONY: generate
generate: $(BIN)/templ ## Write all generated files anew.
	scripts/generated.sh write $(BIN)/templ
	$(GO) test ./internal/archtest -run '^TestSpecMap$$' -update

.PHONY: generated
generated: $(BIN)/templ ## Say whether the generated files are up to date.
	scripts/generated.sh check $(BIN)/templ
	$(GO) test ./internal/archtest -run '^TestSpecMap$$'

.PHONY: deps
deps: ## Write the list of linked modules anew.
	$(GO) test ./cmd/fastbind -run '^TestDeps$$' -update

.PHONY: vulnerable
vulnerable: $(BIN)/govulncheck ## Look for known vulnerabilities, if their database can be reached.
	scripts/vulnerable.sh $(BIN)/govulncheck

.PHONY: bench
bench: ## Run the benchmarks that the README quotes, and write their figures.
	scripts/need.sh postgresql
	BENCHTIME=$(BENCHTIME) COUNT=$(COUNT) REFRESHES=1000000 scripts/bench.sh | tee bench/result.txt
	$(GO) run ./bench/report

.PHONY: load
load: ## Refresh LOAD times with 64 at once, through pools of 1 and of 60 connections.
	scripts/need.sh postgresql
	FASTBIND_TEST_POSTGRES=1 LOAD=$(LOAD) $(GO) test -run '^TestLoad$$' -count 1 -v -timeout 30m ./bench

ROUNDS_OF_FANOUT ?= 300

.PHONY: fanout
fanout: ## Measure how long a revocation takes to the last of 200 guards, on one node and on three.
	scripts/need.sh postgresql
	FASTBIND_TEST_POSTGRES=1 $(GO) test -run '^Test' -v -count 1 -timeout 30m ./bench/fanout -rounds $(ROUNDS_OF_FANOUT)

.PHONY: scale
scale: ## Compare refreshes with SCALE families, and SCALE expired rows, with those with few; needs 20 GB.
	scripts/need.sh postgresql
	FASTBIND_TEST_POSTGRES=1 SCALE=$(SCALE) $(GO) test -run '^TestScale$$' -count 1 -v -timeout 120m ./bench

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME.
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: clean
clean: ## Remove what was built.
	rm -rf fastbind .cache out

$(GOLANGCI):
	mkdir -p $(BIN)
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

$(BIN)/templ: tools/go.mod
	cd tools && $(GO) build -o $@ github.com/a-h/templ/cmd/templ

$(BIN)/govulncheck: tools/go.mod
	cd tools && $(GO) build -o $@ golang.org/x/vuln/cmd/govulncheck
