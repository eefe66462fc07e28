# Everything a person or CI does with this checkout. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(wildcard protos/gradloom/v1/*.proto)

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/.installed: constraints.txt pyproject.toml
	@echo "installing into $(VENV), which takes a minute or two"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gradloom needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "compiling the kernels, half a minute"
	@$(BIN)/gradloom warmup --for-all-users --quiet
	@touch $@

install: $(BIN)/.installed ## create the environment and install everything

demo: $(BIN)/.installed ## train a digits classifier with 2 Ray workers
	$(BIN)/gradloom run examples/digits.yaml --workers 2 --backend ray

# Tests that compute share the cores; those with processes of their own have them to themselves.
test: $(BIN)/.installed ## run the test suite
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not process and not ray"
	$(BIN)/python -m pytest -m "(process or ray) and not slow"

test-slow: $(BIN)/.installed ## run what takes minutes: networks of hosts that are cut and slowed
	$(BIN)/python -m pytest -m slow

# An environment that has torch and this package with its development dependencies.
TORCH_PYTHON ?= .venv-torch/bin/python

test-parity: $(if $(filter .venv-torch/%,$(TORCH_PYTHON)),.venv-torch/.installed) ## hold the engine to PyTorch's numbers (TORCH_PYTHON=…)
	@$(TORCH_PYTHON) -c 'import torch' || { echo "$(TORCH_PYTHON) has no torch"; exit 1; }
	$(TORCH_PYTHON) -m pytest tests/parity

.venv-torch/.installed: constraints.txt pyproject.toml
	@echo "installing into .venv-torch, with torch some gigabytes"
	@$(PYTHON) -m venv .venv-torch
	@.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# SEEDS runs from FIRST on; one run, SEEDS=1, tells all that happens in it.
SEEDS ?= 2000
FIRST ?= 0

simulate: $(BIN)/.installed ## run the floor among simulated workers (SEEDS=… FIRST=…)
	$(BIN)/python -m tests.simulation $(FIRST) $(SEEDS)

lint: $(BIN)/.installed ## check format and lint of code and protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	cd protos && ../$(BIN)/buf lint

# mypy cannot see through setuptools' package-dir, so it looks at a folder of links.
types: $(BIN)/.installed ## check types with mypy --strict
	rm -rf .cache/types && mkdir -p .cache/types
	cp -rs $(CURDIR)/gradloom .cache/types/gradloom
	ln -s $(CURDIR)/protos/gradloom/v1 .cache/types/gradloom/v1
	ln -s $(CURDIR)/service .cache/types/gradloom/service
	ln -s $(CURDIR)/worker .cache/types/gradloom/worker
	ln -s $(CURDIR)/benchmarks .cache/types/benchmarks
	cd .cache/types && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml -p gradloom -p benchmarks

check: lint types ## lint and types

protos: .venv-protos/.installed $(PROTOS) ## generate the Python code of the protos
	cd protos && ../.venv-protos/bin/python -m grpc_tools.protoc -I . \
	  --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. \
	  --plugin=protoc-gen-mypy=../.venv-protos/bin/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=../.venv-protos/bin/protoc-gen-mypy_grpc \
	  $(PROTOS:protos/%=%)

protos-check: protos ## prove the committed generated code fresh
	@test -z "$$(git status --porcelain -- protos)" || { git status --short -- protos; echo "run 'make protos' and commit"; exit 1; }

.venv-protos/.installed: protos/constraints.txt
	$(PYTHON) -m venv .venv-protos
	.venv-protos/bin/python -m pip install --quiet --require-hashes -r protos/constraints.txt
	@touch $@

constraints: ## resolve dependencies anew into the hashed constraints files
	$(PYTHON) -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv
	.venv-uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --all-extras --group dev --no-header --no-annotate -o constraints.txt pyproject.toml
	.venv-uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --no-annotate -o protos/constraints.txt protos/requirements.in

bench-engine: $(BIN)/.installed ## measure training steps, beside PyTorch where there is one
	$(BIN)/python -m benchmarks.engine

bench-exchange: $(BIN)/.installed ## measure sum, update and broadcast, beside Gloo where there is PyTorch
	$(BIN)/python -m benchmarks.exchange

bench-ddp: $(BIN)/.installed ## measure two workers beside two processes of PyTorch DDP
	$(BIN)/python -m benchmarks.ddp

bench-health: $(BIN)/.installed ## measure what looking at the layers costs
	$(BIN)/python -m benchmarks.health

bench-gradient: $(BIN)/.installed ## measure what a gradient costs against finite differences
	$(BIN)/python -m benchmarks.gradient_cost

bench-products: $(BIN)/.installed ## measure the products of dense layers, beside OpenBLAS
	$(BIN)/python -m benchmarks.products

bench-start: $(BIN)/.installed ## measure how long a job takes to its first step (TORCH_PYTHON=… for Ray Train)
	TORCH_PYTHON=$(wildcard $(TORCH_PYTHON)) $(BIN)/python -m benchmarks.start

bench-straggler: $(BIN)/.installed ## measure what one slow worker of three costs a job, helped and left alone
	$(BIN)/python -m benchmarks.straggler

test-bits: $(BIN)/.installed ## prove the same weights by 1 to 8 workers, here and on three hosts
	$(BIN)/python -m benchmarks.bits

# FAULTS=500 JOBS=200 MINUTES=60 SEED=… BACKENDS=local,ray,hosts … (python -m benchmarks.chaos --help)
chaos: $(BIN)/.installed ## faults at random over hundreds of small jobs, for about an hour
	$(BIN)/python -m benchmarks.chaos --page docs/chaos.md

# Exit code 77: no namespaces to be had here.
chaos-short: $(BIN)/.installed ## the same for 3 minutes
	FAULTS=$${FAULTS:-40} JOBS=$${JOBS:-12} MINUTES=$${MINUTES:-2} SEEDS=1 PAUSE=1 BACKENDS=$${BACKENDS:-local} \
	  $(BIN)/python -m benchmarks.chaos || test $$? = 77

serve: $(BIN)/.installed ## start the service on this machine
	$(BIN)/gradloom serve

clean: ## remove environments, caches and output
	rm -rf .venv .venv-protos .venv-torch .venv-uv .cache out worker/engine/compiled

.PHONY: help install demo test test-slow simulate test-parity lint types check protos protos-check constraints \
  bench-ddp bench-engine bench-exchange bench-gradient bench-health bench-products bench-start bench-straggler test-bits chaos chaos-short \
  serve clean
