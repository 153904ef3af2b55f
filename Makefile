# The only task runner. `make` alone lists its targets.

CARGO ?= cargo
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help run test check sim bench fmt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start a broker on localhost:9092 with its data in ./ottla-data
	$(CARGO) run --release -- start

test: ## run every test
	$(CARGO) test --workspace

check: ## what CI runs: format, clippy, tidy and every test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test -p ottla-tools --test tidy
	$(CARGO) test --workspace

fmt: ## format the sources
	$(CARGO) fmt --all
