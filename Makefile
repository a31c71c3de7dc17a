# Every target installs what it needs first. PYTHON and VENV may be given: make install VENV=/elsewhere PYTHON=/usr/bin/python3.11
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
LOCKS := requirements/runtime.txt requirements/notebook.txt requirements/quality.txt requirements/dev.txt
INSTALLED := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help install system demo airflow test check format bench lock clean

help: ## Show this list.
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

install: system $(INSTALLED) ## Install Java, Maven, Python packages, jars and servers; nothing that is there already.
	@$(BIN)/sdp stack fetch

demo: install ## Start the stack, produce records, run both jobs and prove that nothing is missing.
	@$(BIN)/sdp demo

airflow: install ## Start the stack and an Airflow with the DAGs loaded; Ctrl-C stops Airflow.
	@$(BIN)/sdp stack fetch airflow
	@$(BIN)/sdp stack up
	@exec $(BIN)/sdp airflow

test: install ## Run every test, on real servers. WORKERS=1 takes half the memory and more time; each has servers of its own.
	@$(BIN)/sdp stack fetch yarn airflow
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 40

check: $(INSTALLED) ## Format, lint, types, import contracts, unit tests: what CI runs first.
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile tests/unit

format: $(INSTALLED) ## Format the code and mend what the linter can mend by itself.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: install ## Measure against the peers and write docs/benchmarks.md. BENCH="--only judge --quick" measures less, writes nothing.
	@$(BIN)/python -m benchmarks $(BENCH)

lock: $(INSTALLED) ## Pin the requirements anew, with hashes. UPGRADE=--upgrade takes newer versions.
	@for set in runtime notebook quality dev airflow; do \
	    echo "locking requirements/$$set.in"; \
	    $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	        $(UPGRADE) requirements/$$set.in --output-file requirements/$$set.txt; \
	done

clean: ## Remove the virtual environment and what the tools left; the stack's data stay (sdp stack down --purge).
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.sdp/*' -prune -exec rm -rf {} +

system: # before the Python packages, so that a missing Java shows at once
	@stack/bootstrap.sh java

$(INSTALLED): $(LOCKS) setup.py pyproject.toml
	@PYTHON=$(PYTHON) stack/bootstrap.sh python
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV), a minute or two"
	@$(BIN)/python -m pip install --quiet --require-hashes $(foreach lock,$(LOCKS),-r $(lock))
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@
