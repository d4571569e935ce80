# `make run` and `make test` set up all they need; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The releases that the tests passed with. The second name is how newer pips call it for what builds the stubs.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/pip --disable-pip-version-check
PROTOS := $(wildcard protos/breezeway/v1/*.proto)
CODE := hatch_build.py server shim protos/breezeway/client protos/breezeway/telemetry tests bench examples

.DEFAULT_GOAL := help
.PHONY: help run install test check format lint types contracts protos golden lock bench chaos hostile fuzz clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

run: $(VENV)/.runtime ## Serve the embedded agent, and `assistant` where OPENAI_API_KEY or OPENAI_BASE_URL is set
	@$(BIN)/breezeway serve

install: $(VENV)/.development ## Set up everything in .venv

test: $(VENV)/.development ## Run all tests
	$(BIN)/pytest

check: lint types contracts test ## All that CI runs: format, lint, types, import contracts, protos, tests

format: $(VENV)/.development ## Format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

lint: $(VENV)/.development ## Check format and style, and the direction of imports
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports

types: $(VENV)/.development ## Check types
	$(BIN)/mypy

contracts: build/protos.binpb ## Check the protos
	$(BIN)/buf lint build/protos.binpb --config buf.yaml

protos: $(VENV)/.development ## Generate the stubs anew
	$(BIN)/python hatch_build.py

golden: $(VENV)/.development ## Rewrite the golden transcripts; review the difference
	$(BIN)/python -m tests.support.golden

lock: ## Write the newest releases that fit into constraints.txt; run the tests with them
	$(PYTHON) -m venv --clear build/newest
	build/newest/bin/pip install --quiet --disable-pip-version-check '.[dev]'
	build/newest/bin/pip freeze --disable-pip-version-check --exclude breezeway > constraints.txt

bench: $(VENV)/.development ## Measure; see bench/README.md
	$(BIN)/python -m bench

chaos: $(VENV)/.development ## Kill, cut and restart real processes under load for two minutes; see docs/guarantees.md
	$(BIN)/python -m tests.chaos $(ARGUMENTS)

hostile: $(VENV)/.development ## Send a hundred thousand malformed requests to real processes; see docs/security.md
	$(BIN)/python -m tests.hostile $(ARGUMENTS)

fuzz: $(VENV)/.development ## Look for bytes that break a reader, a minute each, guided by coverage; needs a wheel of atheris
	$(PIP) install --quiet --editable '.[fuzz]'
	for entry in $$($(BIN)/python -m tests.hostile.entries); do $(BIN)/python -m tests.hostile.fuzz $$entry -max_total_time=60 || exit 1; done

clean: ## Remove what was built and installed
	rm -rf $(VENV) build dist
	find protos '(' -name '*_pb2*' -o -name comments.json ')' -delete

build/protos.binpb: $(VENV)/.development
	mkdir -p build
	$(BIN)/python -c "import hatch_build; hatch_build.protoc('--descriptor_set_out=$@', '--include_imports', '--include_source_info')"

# An editable install generates the stubs, so it is due again when a proto changes.
$(VENV)/.runtime: pyproject.toml constraints.txt hatch_build.py $(PROTOS) | $(VENV)/bin/python
	@echo "Setting up $(VENV), which takes a minute the first time."
	@$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.development: pyproject.toml constraints.txt hatch_build.py $(PROTOS) | $(VENV)/bin/python
	@echo "Setting up $(VENV) with all that development needs, which takes a few minutes the first time."
	@$(PIP) install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Breezeway needs Python 3.11 or newer; set PYTHON.")'
	@$(PYTHON) -m venv $(VENV)
