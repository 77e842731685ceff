# Thin on purpose: what each target does is in toolchain/ and lab/.
# PYTHON: any Python 3.11 or newer; it only makes the virtual environment.
PYTHON ?= python3
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint doctor lab-up lab-down docs lock bench proof clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## fetch, build and start what is missing (a second run costs nothing)
	@$(PYTHON) -m toolchain setup --for demo

demo: setup ## the whole rollout on real servers, under load; leaves the lab up
	@$(VENV)/python -m lab.demo

test: ## set-up, lint and every test (TESTS="tests/unit" for some)
	@$(PYTHON) -m toolchain setup --for test
	@$(MAKE) --no-print-directory lint
	@$(PYTHON) -m toolchain test $(TESTS)

lint: ## ruff, mypy, shellcheck, shfmt
	@$(PYTHON) -m toolchain setup --for lint
	@$(PYTHON) -m toolchain lint

doctor: ## each tool, its version, official or stand-in
	@$(PYTHON) -m toolchain doctor

lab-up: setup ## the lab alone: eight hosts, Secrets Manager; no rollout
	@$(VENV)/python -m lab up

lab-down: ## remove the lab, and stop a Docker daemon that the set-up started
	@if [ -x $(VENV)/python ]; then $(VENV)/python -m lab down --all; fi
	@$(PYTHON) -m toolchain stop-docker

docs: ## regenerate the tables and diagrams in the documents
	@$(VENV)/python docs/generate.py

lock: ## pin the requirements anew
	@$(PYTHON) -m toolchain lock

bench: setup ## the whole rollout three times under load, then the naive way; about 40 minutes
	@$(VENV)/python -m bench

proof: setup ## the rules against themselves and against real servers, every kind of move and the whole way by operate under load; about 40 minutes
	@$(VENV)/python -m proof
	@$(PYTHON) -m toolchain test tests/lab/whole_rollout_by_operate.py

clean: lab-down ## lab-down, then remove everything that was fetched, built or written
	rm -rf .venv .tools build
