# What one types: `make run` and `make test`. Everything is installed into .venv, nothing outside of it.

PYTHON ?= python3.11
NP ?= 4
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup run test lint upstream parity clean

help:
	@echo "make run       set up and run k-means on 4 ranks, on real data"
	@echo "make test      set up and run all tests, the parity suite included"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make upstream  run mpi4py's own test suite on fmi_mpi, on NP ranks"
	@echo "make parity    compare with real mpi4py on MPICH, value by value, in one process"
	@echo "make clean     remove what was built"

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.examples: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable .[examples]
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable .[test,lint]
	touch $@

setup: $(VENV)/.installed

run: $(VENV)/.examples
	$(BIN)/fmirun -n 4 $(BIN)/python examples/kmeans.py

test: $(VENV)/.test lint
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest compat_tests --mpi=fmi_mpi
	$(BIN)/fmirun -n 3 --timeout 900 $(BIN)/python -m pytest compat_tests --mpi=fmi_mpi
	$(BIN)/mpiexec -n 4 $(BIN)/python -m pytest compat_tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

parity: $(VENV)/.test
	$(BIN)/mpiexec -n 2 $(BIN)/python -m pytest compat_tests

upstream: $(VENV)/.test
	$(BIN)/python -m compat_tests.upstream -n $(NP)

clean:
	rm -rf $(VENV) build dist *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
