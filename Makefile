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
check: format vet lint race interop servers kills first-run ## what CI runs

.PHONY: format
format: ## gofmt and tidy modules, changed nothing
	@out=$$(gofmt -l . ); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	@for m in . test/interop test/engines test/peers test/natsserver; do (cd $$m && $(GO) mod tidy -diff) || exit 1; done

.PHONY: vet
vet: ## go vet, also of the comparison that CI does not run
	$(GO) vet ./...
	cd test/peers && $(GO) vet ./...

.PHONY: lint
lint: $(BIN)/golangci-lint ## golangci-lint, pinned
	$(BIN)/golangci-lint run --allow-parallel-runners ./...

$(BIN)/golangci-lint:
	GOBIN=$(BIN) CGO_ENABLED=0 $(GO) install $(LINT)

.PHONY: race
race: ## the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 25m ./...

.PHONY: interop
interop: ## clients nobody here wrote: CloudEvents SDKs and conformance, npm eventsource, ws, standardwebhooks and svix, curl, a browser, proxies (needs node, npm, curl; chromium, nginx and haproxy for what they are asked)
	test/interop/run

.PHONY: engines
engines: ## Kafka and JetStream: in process, and real ones where TANDEM_KAFKA and TANDEM_NATS say where they are
	cd test/engines && $(GO) test -count=1 -timeout $(if $(TANDEM_SOAK),4h,30m) ./...

.PHONY: servers
servers: ## all that is tested on real servers, which it starts: Kafka (needs Java 17 and Maven), NATS, Debian's PostgreSQL and RabbitMQ
	test/with-servers kafka,nats $(MAKE) engines
	test/with-servers postgres $(GO) test -count=1 ./outbox ./cmd/tandem
	test/with-servers rabbitmq $(GO) test -count=1 -p 1 -run RabbitMQ ./internal/amqp ./server # one kills the broker of the other

.PHONY: kafka-up kafka-down
kafka-up: ## a real Kafka on loopback (KAFKA_NODES=3 for a cluster): prints what to export (needs java and mvn)
	@test/kafka/up $(or $(KAFKA_NODES),1)
kafka-down: ## stop it and remove its data
	@test/kafka/down

.PHONY: nats-up nats-down
nats-up: ## a real nats-server on loopback (NATS_NODES=3 for a cluster): prints what to export
	@test/nats/up $(or $(NATS_NODES),1)
nats-down: ## stop it
	@test/nats/down

.PHONY: rabbitmq-up rabbitmq-down
rabbitmq-up: ## a real RabbitMQ (Debian's) on loopback: prints what to export
	@test/rabbitmq/up
rabbitmq-down: ## stop it
	@test/rabbitmq/down

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

.PHONY: postgres-up postgres-down
postgres-up: ## a PostgreSQL for the tests of the outbox; prints what is to be exported
	@test/postgres/up

postgres-down: ## stop it and remove its data
	@test/postgres/down

.PHONY: peers
peers: ## streams beside WebSocket libraries: memory of quiet connections, fan-out (two minutes)
	cd test/peers && $(GO) test -count=1 -bench Idle -benchtime 1x . && $(GO) test -count=1 -run '^$$' -bench FanOut -benchtime 10x .

.PHONY: soak
soak: ## the long versions: about twelve hours; results go to docs/measured.md by hand
	TANDEM_SOAK=1 test/with-servers postgres $(GO) test -count=1 -timeout 4h ./...
	TANDEM_SOAK=1 test/with-servers kafka:3,nats:3 $(MAKE) engines
	TANDEM_SOAK=1 test/interop/run TestKill
	test/fuzz 1h '^Fuzz(ParseEventJSON|Cursor|Decode|Parse|Record|VerifyWebhook|Token|Filter|SQL|CEL|Parser|SSE)$$'
