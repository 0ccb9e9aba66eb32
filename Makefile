# The project's commands. Each sets up what it needs; `make help` lists them.

SITE ?= sites/lab.yml
# All tests are shared out among so many workers (tests/side_by_side.py); whoever says what to run has it in one process.
WORKERS ?= 4
PYTEST_ARGS ?= --numprocesses=$(WORKERS)
COMPILED ?=
# A machine that is emulated on a busy host takes longer for a test than any that CI runs.
SLOWLY := -o faulthandler_timeout=10800
SECONDS_EACH ?= 60
BENCH_ARGS = $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS_OF_EACH),--seconds $(SECONDS_OF_EACH)) $(if $(MEASURES),--measures $(MEASURES)) $(if $(KEYS),--keys $(KEYS)) $(if $(BACKEND),--backend $(BACKEND)) $(if $(PUBLISH),--publish)

# Programs are started thousands of times and shall find themselves compiled, whatever the machine's habit is.
unexport PYTHONDONTWRITEBYTECODE

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help appliance test test-all test-images check fuzz bench scan down lock clean setup

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
PYTHON := .venv/bin/python
LAB := $(SUDO) $(PYTHON) -m images.lab

help: ## list these commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name about; do printf '  make %-11s %s\n' "$$name" "$$about"; done

setup:
	@.ci/setup

appliance: setup ## build, boot, provision, scan and probe the appliance (SITE=sites/lab.yml)
	@$(LAB) up --site $(SITE)

# The tests make an appliance when none runs, and end it again. One that runs is brought up to date and left running.
TEST_SETUP = .ci/setup tests $(if $(COMPILED),compiled); if [ -e build/appliance.json ]; then $(LAB) up --site $(SITE) --until describe; fi

test: ## run the tests against the appliance, which is booted for them if it does not run (PYTEST_ARGS=…: in one process; WORKERS=4; COMPILED=1: with the hot modules compiled)
	@set -e; $(TEST_SETUP)
	@$(SUDO) env COMPILED=$(COMPILED) $(PYTHON) -m pytest -m 'not slow' $(PYTEST_ARGS)

test-all: ## run the tests, those too that are too slow for CI
	@set -e; $(TEST_SETUP)
	@$(SUDO) env COMPILED=$(COMPILED) $(PYTHON) -m pytest $(SLOWLY) $(PYTEST_ARGS)

test-images: ## build the images twice and compare them, boot each, scan and update one (hours; no KVM is needed)
	@.ci/setup tests
	@$(SUDO) $(PYTHON) -m pytest $(SLOWLY) tests/boot

check: setup ## lint everything: Python, types, imports, Ansible, YAML, shell
	@.ci/check

fuzz: setup ## fuzz what strangers' bytes reach first, each target for SECONDS_EACH=60
	@set -e; for target in $$($(PYTHON) -m tests.fuzz --list); do $(PYTHON) -m tests.fuzz $$target --seconds $(SECONDS_EACH); done

bench: setup ## the gateway beside HAProxy and nginx: CPU, memory, latency (ROUNDS=5 SECONDS_OF_EACH=5 MEASURES=… KEYS=rsa2048,p256)
	@$(SUDO) $(PYTHON) -m tests.bench $(BENCH_ARGS)

scan: setup ## scan the running appliance into build/scan/
	@$(LAB) scan

down: setup ## end the appliance
	@$(LAB) down

lock: ## make requirements.txt anew from requirements.in (needs the network)
	@.ci/lock

clean: ## end the appliance and remove everything that was built, the secrets of the lab too
	@if [ -x $(PYTHON) ]; then $(LAB) down; fi
	@$(SUDO) rm -rf --one-file-system build
