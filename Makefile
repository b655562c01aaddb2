# Needs make and python3 >= 3.11; all the rest goes into .venv. Only relative paths and phony targets, so that
# the folder may have a space in its name. Another Python: make PYTHON=python3.13 setup

PYTHON ?= python3
VENV = .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo up test deep live ui bench lint format types layers check build constraints clean

help: ## show this list
	@echo "usage: make TARGET [ARGS=...]"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1	\2/p' Makefile | expand -t 16

setup: ## create .venv and install everything (done by the other targets too)
	@$(PYTHON) scripts/bootstrap.py

demo: setup ## run the main job in real Airflow, print a report, end
	@$(VENV) -m airflow_lockprovider.demo $(ARGS)

up: setup ## the same, then stay with the UI until Ctrl-C
	@$(VENV) -m airflow_lockprovider.demo --stay $(ARGS)

test: setup ## run the tests (ARGS="-k name -x" goes to pytest)
	@$(VENV) -m pytest -n 2 $(ARGS)

deep: setup ## the long proofs of the engine (a few minutes)
	@$(VENV) -m pytest -n 2 -m "deep and not live" $(ARGS)

live: setup ## only the tests with real Airflow processes
	@$(VENV) -m pytest -m live $(ARGS)

ui: setup ## the pages in a real browser (without Chromium it says how to get one; pictures go to .cache/ui)
	@$(VENV) -m pytest tests/ui -m ui $(ARGS)

torture: setup ## long fault run with figures (ARGS="--grants 10000 --seconds 600 --seed 1")
	@$(VENV) -m tests.faults.torture $(ARGS)

mutate: setup ## take each condition out of the SQL, see a test fail (ARGS="--only release")
	@$(VENV) -m tests.mutation $(ARGS)

lint: setup ## ruff: rules and format, changes nothing
	@$(VENV) -m ruff check
	@$(VENV) -m ruff format --check

format: setup ## ruff: repair what it can
	@$(VENV) -m ruff check --fix
	@$(VENV) -m ruff format

types: setup ## mypy, strict, on the package
	@$(VENV) -m mypy

layers: setup ## import-linter: imports go downwards only
	@$(VENV) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

check: lint types layers test ## what has to be green before a commit

bench: ## measure against other lock libraries, and what a lock costs (ARGS=--airflow: hand-over in real Airflow, too; ARGS=--readiness: only the waiting for data; ARGS=--page: only the answers of the page)
	@$(PYTHON) scripts/bootstrap.py bench
	@$(VENV) -m tests.bench $(ARGS)

build: setup ## wheel and sdist into dist/
	@$(VENV) -m build $(ARGS)

# Keeps the pins that still fit; ARGS="--upgrade" takes the newest, ARGS="--upgrade-package NAME" one of them.
constraints: setup ## write constraints.txt afresh from pyproject.toml
	@$(VENV) -m uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev --group bench \
	  --no-emit-package airflow-lockprovider --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --quiet --output-file constraints.txt $(ARGS)

clean: ## remove what was made here, except .venv
	rm -rf .demo .cache dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
