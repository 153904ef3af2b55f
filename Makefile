# The only task runner. `make` alone lists its targets.

CARGO ?= cargo
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help run test check sim canaries crash bench clients fmt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start a broker on localhost:9092 with its data in ./ottla-data
	$(CARGO) run --release -- start

test: ## run every test
	$(CARGO) test --workspace

# The same random cases on every run: what CI finds, everybody finds. `test` and `sim` draw new ones.
check: export PROPTEST_RNG_SEED ?= 20261120
check: ## what CI runs: format, clippy, tidy and every test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test -p ottla-tools --test tidy
	$(MAKE) --no-print-directory test

# Cases of each property: far more than a plain test run takes.
CASES ?= 5000

sim: ## the cores' models in virtual time with many more cases (CASES=n)
	PROPTEST_CASES=$(CASES) $(CARGO) test -p ottla

# The most seeds and seconds for each planted bug.
SEEDS ?= 10000
SECONDS_EACH ?= 600

canaries: ## plant bugs and run seeds until the simulator has caught each (SEEDS=n, SECONDS_EACH=n)
	$(CARGO) run -q -p ottla-sim --bin canaries -- --seeds $(SEEDS) --seconds $(SECONDS_EACH)

# Rounds of kill -9 under load.
ROUNDS ?= 200

crash: ## kill -9 at random moments under load, many rounds (ROUNDS=n)
	OTTLA_CRASH_ROUNDS=$(ROUNDS) $(CARGO) test -p ottla-tests --test crash -- --nocapture

bench: ## measure: start, memory, CPU, throughput beside the real Kafka (after `make clients`)
	$(CARGO) build --release -p ottla-shards
	$(CARGO) bench -p ottla-bench --bench figures

clients: ## install the clients that the tests use if they find them: kcat, confluent-kafka, Kafka's tools
	command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq kcat; }
	test -x target/clients/python/bin/python || python3 -m venv target/clients/python
	target/clients/python/bin/python -c 'import confluent_kafka' 2>/dev/null || target/clients/python/bin/pip install -q confluent-kafka
	test -f target/clients/kafka/.complete || { mvn -q -B -f tests/clients/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/target/clients/kafka && touch target/clients/kafka/.complete; }

fmt: ## format the sources
	$(CARGO) fmt --all
