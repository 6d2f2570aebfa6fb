# What people type. `make` lists it.
SHELL := bash
.DEFAULT_GOAL := help
BUF := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export CGO_ENABLED ?= 0

.PHONY: help run demo test test-faults test-compose fuzz bench check deps gen build lint vendor-proto breaking clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: build ## control plane and one data plane on loopback, ready for the first key
	@deploy/run.sh

demo: build ## two data planes, a pretend upstream whose keys fail in every way, and traffic: failover to look at
	@go build -trimpath -o bin/ ./test/demo
	@deploy/demo.sh

test: ## all tests that fit ten minutes on two cores
	@test/run.sh

test-faults: build ## the longer suites: kill -9 loops and random stories
	@test/run.sh faults

test-compose: ## docker-compose.yml for real, with the docker engine that is here or one of its own
	@test/compose.sh

fuzz: ## every fuzz target for a minute (FUZZTIME=60s)
	@test/run.sh fuzz

bench: build ## our data plane beside nginx and bare proxies: CPU, latency, memory (BENCH='-help' lists the flags)
	@go build -trimpath -o bin/ ./test/bench
	@bin/bench $(BENCH)

check: ## generated code, formats, lint, vet, arrows
	$(BUF) lint
	$(BUF) format -d --exit-code --path proto/pool
	$(BUF) generate
	@test -z "$$(git status --porcelain -- gen)" || { git status --porcelain -- gen; echo "gen/ is not what the protos say: run make gen and commit"; exit 1; }
	@cmp gen/openapi/openapi.swagger.json controlplane/internal/rest/openapi.json || { echo "run make gen and commit"; exit 1; }
	$(MAKE) breaking
	go mod tidy -diff
	go vet ./...
	go fix -diff ./...
	$(LINT) run ./...

breaking: ## no released field of the protos is renumbered or reused
	@if git rev-parse -q --verify main >/dev/null; then $(BUF) breaking --against '.git#branch=main'; else echo "no main branch to compare the protos with: skipped"; fi

deps: ## install what the fullest tests need (Debian packages, npm)
	@test/deps.sh

gen: ## generate code from proto/
	$(BUF) generate
	cp gen/openapi/openapi.swagger.json controlplane/internal/rest/openapi.json

build: ## static binaries into bin/
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ ./controlplane ./dataplane

vendor-proto: ## copy the imported protos out of their Go modules
	go mod download github.com/google/gnostic@v0.7.1 github.com/bufbuild/protovalidate@v1.2.2
	mkdir -p proto/third_party/google/api proto/third_party/buf/validate
	cp $$(go env GOMODCACHE)/github.com/google/gnostic@v0.7.1/cmd/protoc-gen-openapi/examples/google/api/{annotations,http,field_behavior}.proto proto/third_party/google/api/
	cp $$(go env GOMODCACHE)/github.com/bufbuild/protovalidate@v1.2.2/proto/protovalidate/buf/validate/validate.proto proto/third_party/buf/validate/
	chmod -R u+w proto/third_party

clean: ## remove bin/ (never data/)
	rm -rf bin
