# Every task of this repository. `make` lists them. Nothing here needs more than Python 3.11 and a POSIX shell;
# each target says what it does and does nothing twice.

PYTHON ?= python3
PYTEST_ARGS ?=
CONFORMANCE_ROUNDS ?= 2
SOAK_ROUNDS ?= 10
SOAK_STREAMS ?= 100000
SOAK_SHARED ?= 200
BENCH ?=

VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-tools
# uv from PATH, else a private one: `make` fetches it into $(TOOLS).
UV := $(or $(shell command -v uv 2>/dev/null),$(TOOLS)/bin/uv)
# So that `pytest-chaos setup` finds the private uv as well.
export PATH := $(PATH):$(CURDIR)/$(TOOLS)/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-containers demo test check lint bench soak conformance protos lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 20

setup: $(VENV)/.installed  ## Python environment from requirements.lock, then the real parts that local processes need
	@echo "== real parts: fetching what is missing into the per-user cache (as root: from Debian) =="
	@$(BIN)/pytest-chaos setup

setup-containers: setup  ## setup, the Docker engine (installed and started as root), the images, a browser for the report's tests
	@echo "== Docker engine and browser =="
	@$(BIN)/pytest-chaos setup docker chromium
	@echo "== images: pulled, or built here where no registry answers =="
	@$(BIN)/python -m fixtures.images

demo: setup  ## the main job: bring the shop up on local processes, break it, give verdicts, write the report
	$(BIN)/pytest chaos --chaos $(PYTEST_ARGS)

test: setup  ## every test of this repository, chaos tests included; the quiet ones beside those that need real parts
	$(BIN)/pytest --chaos -n 2 --dist loadscope $(PYTEST_ARGS)

check: $(VENV)/.installed lint  ## the fast inner loop: linters, unit, property and repository tests; no broker, no container
	$(BIN)/pytest -q $(wildcard tests/unit tests/property tests/repo) $(PYTEST_ARGS)

lint: $(VENV)/.installed  ## ruff, mypy strict (the package, the shop, chaos tests, benchmarks), the house's import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup $(VENV)-bench/.installed  ## measure against peers; reports/bench.json and a table; BENCH="http1 grpc" for some
	$(BIN)/python -m benchmarks $(BENCH)

soak: setup  ## kill runs at random moments, again and again; send wire broken bytes of every protocol without end; share a stack 200 times
	PYTEST_CHAOS_SOAK=$(SOAK_ROUNDS) $(BIN)/pytest tests/soak --chaos $(PYTEST_ARGS)
	PYTEST_CHAOS_MUTATIONS=$(SOAK_STREAMS) $(BIN)/pytest tests/conformance/wire/test_http_mutations.py \
		tests/conformance/wire/test_mutations.py $(PYTEST_ARGS)
	PYTEST_CHAOS_BODY_MIB=1024 $(BIN)/pytest tests/conformance/wire/test_http1_robust.py \
		tests/conformance/wire/test_http2_robust.py $(PYTEST_ARGS)
	PYTEST_CHAOS_SHARED=$(SOAK_SHARED) $(BIN)/pytest tests/plugin/test_shared.py $(PYTEST_ARGS)

conformance: setup  ## see what every client library makes of every fault, and write docs/faults.md (many minutes)
	$(BIN)/python -m tests.conformance.table --rounds $(CONFORMANCE_ROUNDS)

protos: $(VENV)/.installed  ## write protos/*_pb2*.py anew from protos/*.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. protos/order.proto protos/inventory.proto

lock: $(UV)  ## write requirements.lock and benchmarks/requirements.lock anew from pyproject.toml
	$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock
	$(UV) pip compile --group bench --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --output-file benchmarks/requirements.lock

clean:  ## remove the environments, caches of tools and reports of this checkout (not the per-user cache of real parts)
	rm -rf $(VENV) $(VENV)-bench $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find reports -mindepth 1 ! -name .gitkeep -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TOOLS)/bin/uv:
	@echo "== uv is not on PATH: fetching it into $(TOOLS) =="
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/bin/python: | $(UV)
	@echo "== Python environment: $(VENV) =="
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pytest-chaos needs Python 3.11 or newer: make PYTHON=python3.x")'
	$(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "== Python packages: exactly requirements.lock, checked by hash, and this package in editable mode =="
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-bench/.installed: benchmarks/requirements.lock | $(UV)
	@echo "== peers for the benchmarks (Envoy), in an environment of their own =="
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV)-bench
	$(UV) pip sync --quiet --python $(VENV)-bench/bin/python --require-hashes benchmarks/requirements.lock
	@touch $@
