# make demo   set up, run the triage experiment, print the verdict
# make test   set up, run every test
.PHONY: setup demo demo-rag app test lint format types bench clean help
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PACKAGES := validators metrics workbench apps tests

help:
	@grep '^# make' Makefile | cut -c3-
	@echo "make setup | demo-rag | app | lint | format | types | bench | clean"

# One lock (constraints.txt) for users, developers and CI; assets are fetched once a machine.
setup: $(READY)
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	$(BIN)/workbench doctor --fetch
	@touch $(READY)

demo: setup
	$(BIN)/workbench run sample_data/triage/experiment.yaml

demo-rag: setup
	$(BIN)/workbench run sample_data/handbook/experiment.yaml

app: setup
	$(BIN)/workbench app runs

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TESTS)

lint: setup
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)

format: setup
	$(BIN)/ruff check --fix $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

types: setup
	$(BIN)/mypy

bench: setup
	for script in tests/benchmarks/*.py; do echo "== $$script"; $(BIN)/python -m tests.benchmarks.$$(basename $$script .py); done

clean:
	rm -rf .venv build dist *.egg-info
