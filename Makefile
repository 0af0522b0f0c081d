# Abode: one command for each thing a newcomer does. `make help` lists them.

SHELL       := /bin/bash
GO          ?= go
PREFIX      ?= /usr/local
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X github.com/abode-run/abode/internal/version.Version=$(VERSION)
# grpc is in the daemon for its types alone, by way of containerd's. Its page of
# traces is a template, and what can run templates keeps every method of the
# program: a fifth of the daemon's size, which is memory at rest.
TAGS        := grpcnotrace
# Downloads and images that are made once: guest kernel packages, root file systems.
export ABODE_CACHE ?= $(CURDIR)/.cache
export CGO_ENABLED := 0

.PHONY: help build demo test test-unit test-parity docs bench lint fmt clean install deps

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

build: ## bin/abode, bin/aboded and bin/abode-agent
	@hack/deps build
	$(GO) build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build ## install what is missing and run one image on both walls
	@hack/deps demo
	@hack/demo

test: build ## install what is missing and run every test
	@hack/deps test
	@hack/test

test-unit: build ## the packages' own tests
	@hack/test ./internal/... ./cmd/...

test-parity: build ## the same cases on every wall, through the CLI
	@hack/test ./test/...

docs: build ## write the tables of docs/docker.md from what test/docker proves
	@hack/deps test
	@hack/docs

bench: build ## measure Abode beside docker, podman, runc and QEMU (BENCH=--quick: a few minutes)
	@hack/deps bench
	@hack/bench $(BENCH)

lint: ## go vet, staticcheck and the borders between the rooms
	@hack/lint

fmt: ## gofmt
	gofmt -w cmd internal test

clean: ## remove what was built (the cache of downloads stays: .cache)
	rm -rf bin

install: build ## into PREFIX (/usr/local), with the systemd unit and socket
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/abode bin/aboded bin/abode-agent
	install -d $(DESTDIR)/etc/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/abode.service > $(DESTDIR)/etc/systemd/system/abode.service
	install -m 0644 packaging/abode.socket $(DESTDIR)/etc/systemd/system/abode.socket

deps: ## install every Debian package that the demo and the tests use
	@hack/deps demo test
