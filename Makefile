# Only Python 3.11 or newer is needed besides make. Paths are relative and programs run as
# `python -m`, so that the checkout may lie under any path, blanks included.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help env demo test torture bench up down status lint format types imports check lock clean

export PYTHON

python := .venv/bin/python
compile := --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-annotate
packages := $(wildcard contracts messaging *_service trolley stripe_sandbox bench tests)

help: ## show what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

env: ## make .venv from the hash-pinned lock (with uv if it is there)
	@.ci/environment

demo: env ## real orders through the whole of it, checked to the penny (ARGS="--keep")
	@$(python) -m trolley demo $(ARGS)

test: env ## the whole suite on real Kafka and PostgreSQL (ARGS="tests/trolley -k ports")
	@$(python) -m pytest $(ARGS)

torture: env ## every fault at every point between two effects: hours (ARGS="--part 1/10")
	@$(python) -m pytest --torture tests/torture tests/messaging/test_transactional_relay.py \
		tests/payment_service/test_fault_matrix.py $(ARGS)

bench: env ## how fast it is, beside its floor: hours (ARGS="saga --short" takes minutes)
	@$(python) -m trolley bench $(ARGS)

up: env ## start everything and watch it; Ctrl-C stops it (ARGS="--detach")
	@$(python) -m trolley up $(ARGS)

down: env ## stop what `make up` or `trolley up --detach` started
	@$(python) -m trolley down $(ARGS)

status: env ## show what runs
	@$(python) -m trolley status $(ARGS)

lint: env ## ruff: rules and format
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .

format: env ## ruff: bring the code into form
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

types: env ## mypy --strict
	@$(python) -m mypy $(packages)

imports: env ## import-linter: imports go one way
	@$(python) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo

check: test lint types imports ## all of the above

lock: ## pin anew what pyproject.toml asks for (needs uv): everything, and what the image needs
	@uv pip compile $(compile) --group local --group dev --group bench pyproject.toml -o requirements.lock
	@uv pip compile $(compile) -c requirements.lock pyproject.toml -o deploy/requirements.lock

clean: ## delete the environment and caches, not the data (that is `trolley reset`)
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
