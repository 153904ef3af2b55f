# The only task runner. `make` alone lists its targets.

CARGO ?= cargo
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help run test check models sim canaries crash kill bench figures compare clients fmt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## start a broker on localhost:9092 with its data in ./ottla-data
	$(CARGO) run --release -- start

test: ## run every test
	$(CARGO) test --workspace --no-fail-fast

# The same random cases on every run: what CI finds, everybody finds. `test` and `models` draw new ones.
check: export PROPTEST_RNG_SEED ?= 20261120
check: ## what CI runs: format, clippy and every test, tidy among them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(MAKE) --no-print-directory test

# Cases of each property: far more than a plain test run takes.
CASES ?= 5000

models: ## the cores' models in virtual time with many more cases (CASES=n)
	PROPTEST_CASES=$(CASES) $(CARGO) test -p ottla

# Short seeds of whole brokers in a simulated world; which ones, the commit says.
SEEDS ?= 1000
FROM ?= $(shell printf '%d' 0x$$(git rev-parse --short=8 HEAD 2>/dev/null || echo 0))00000
SIM_FLAGS ?=
# What builds the simulator; `:` where the tests have been built, which it comes with.
BUILD_SIM ?= $(CARGO) build --quiet -p ottla-sim

sim: ## whole brokers in a simulated world: 1,000 seeds of the commit or 5 minutes; SEED=n replays one, HOURS=n, SEEDS=n
	@$(BUILD_SIM)
ifdef SEED
	target/debug/sim $(SEED) $(SIM_FLAGS)
else ifdef HOURS
	target/debug/sim --hours $(HOURS) --from $(FROM) $(SIM_FLAGS)
else
	target/debug/sim --seeds $(SEEDS) --seconds 300 --from $(FROM) $(SIM_FLAGS)
endif

# The seed of what is random in a crash; MODELS=one takes each crash point under one model in turn instead of five;
# AT='WORKLOAD OPERATION MODEL' replays one crash with a trace; ARGS='--only roll' and more: see ARGS=--help.
SEED_OF_CRASH = $(or $(SEED),1)

crash: ## a power cut at every disk operation of simulated brokers (MODELS=one, SEED=n AT='...'); of real ones: kill
	@$(BUILD_SIM)
	target/debug/crash --seed $(SEED_OF_CRASH) $(if $(filter one,$(MODELS)),--one-model) $(ARGS) $(AT)

# The most seeds and seconds for each planted bug.
CANARY_SEEDS ?= 10000
CANARY_SECONDS ?= 600

canaries: ## plant bugs and run seeds until the simulator has caught each (CANARY_SEEDS=n, CANARY_SECONDS=n)
	@$(BUILD_SIM)
	target/debug/canaries --seeds $(CANARY_SEEDS) --seconds $(CANARY_SECONDS)

# Rounds of kill -9 under load.
ROUNDS ?= 200

kill: ## kill -9 of real brokers at random moments under load, many rounds (ROUNDS=n)
	OTTLA_CRASH_ROUNDS=$(ROUNDS) $(CARGO) test -p ottla-tests --test crash -- --nocapture

bench: ## what each step of a record's path costs against its budget; the table goes into tuning.md (4 minutes)
	OTTLA_BENCH_WRITE=1 $(CARGO) bench -p ottla-bench --bench budget

figures: ## measure what compare does not: Kafka's own producer, idle connections, starts over a lot of data
	$(CARGO) build --release -p ottla-command
	$(CARGO) bench -p ottla-bench --bench figures

# BROKERS='bench/compare/brokers/ottla.yaml my.yaml' takes other driver files, BROKER_CPUS=0,1 and LOAD_CPUS=2,3 other CPUs.
compare: ## Ottla beside the real Kafka on this machine, after `make clients` (ROUNDS=n, ONLY='small max', QUICK=1)
	$(CARGO) build --release -p ottla-command
	OTTLA_BINARY=$(CURDIR)/target/release/ottla $(CARGO) bench -p ottla-bench --bench compare

clients: ## install the clients that the tests use if they find them: kcat, confluent-kafka, Kafka's tools
	command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq kcat; }
	test -x target/clients/python/bin/python || python3 -m venv target/clients/python
	target/clients/python/bin/python -c 'import confluent_kafka' 2>/dev/null || target/clients/python/bin/pip install -q confluent-kafka
	test -f target/clients/kafka/.complete || { mvn -q -B -f tests/clients/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/target/clients/kafka && touch target/clients/kafka/.complete; }

fmt: ## format the sources
	$(CARGO) fmt --all
