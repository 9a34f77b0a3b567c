# make lists the targets.
GO      ?= go
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BIN     := $(CURDIR)/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./bin/tandem
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/tandem ./cmd/tandem

.PHONY: test
test: ## the plain tests, as the README says
	$(GO) test ./...

.PHONY: check
check: format vet lint race interop spike kills first-run ## what CI runs

.PHONY: format
format: ## gofmt and tidy modules, changed nothing
	@out=$$(gofmt -l . ); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	@for m in . test/interop test/spike; do (cd $$m && $(GO) mod tidy -diff) || exit 1; done

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: $(BIN)/golangci-lint ## golangci-lint, pinned
	$(BIN)/golangci-lint run --allow-parallel-runners ./...

$(BIN)/golangci-lint:
	GOBIN=$(BIN) CGO_ENABLED=0 $(GO) install $(LINT)

.PHONY: race
race: ## the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

.PHONY: interop
interop: ## clients nobody here wrote: CloudEvents SDK, npm eventsource and standardwebhooks, curl, a browser (needs node, npm, curl; chromium for the shop's page)
	test/interop/run

.PHONY: spike
spike: ## the engine contract tried on Kafka and JetStream, in process
	cd test/spike && $(GO) test -count=1 ./...

.PHONY: kills
kills: ## kill -9 of the server and of services in the demo
	TANDEM_KILLS=1 $(GO) test -count=1 -timeout 15m -run 'Kill|Outage|Resume' -v ./internal/demo/...

.PHONY: first-run
first-run: ## the README's commands in a fresh clone
	test/first-run

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 10s)
	test/fuzz $(or $(FUZZTIME),10s)

.PHONY: bench
bench: ## the benchmarks with their floors
	$(GO) test -run '^$$' -bench . -benchmem ./eventlog/... ./internal/... .

.PHONY: soak
soak: ## the long versions: about five hours; results go to docs/measured.md by hand
	TANDEM_SOAK=1 $(GO) test -count=1 -timeout 4h ./...
	test/fuzz 1h '^Fuzz(ParseEventJSON|Cursor|Parse|Record)$$'
