# make setup      builds .venv
# make lab        opens the notebooks
# make test       runs every test
# make lint       looks at the style of code and notebooks
# make notebooks  executes them all anew, and measures what each costs
# make bench      times what the program does against the usual ways, and writes benchmarks/results.md
# make clean      removes .venv
# Each sets up what it needs first. PYTHON=python3.12 make lab  takes another interpreter, where there is no .venv yet.

PYTHON ?= python3
BIN := .venv/bin
# The lock file fixes the versions; which packages they are of, pyproject.toml and its extras decide.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint requirements.lock

.PHONY: setup lab notebooks test lint bench clean

setup: .venv/ready
lab: .venv/ready
	$(BIN)/jupyter lab --ServerApp.ip=localhost --notebook-dir=. $(LAB_ARGS) notebooks/00_start_here.ipynb

notebooks: .venv/ready-to-test
	$(BIN)/python notebooks/execute.py

test: .venv/ready-to-test
	$(BIN)/python -m pytest --numprocesses=3 --no-loadscope-reorder $(PYTEST_ARGS)

lint: .venv/ready-to-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: .venv/ready-to-test
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

.venv/made:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "expected Python 3.11 to 3.13, found %d.%d: install one and say PYTHON=python3.11 make ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	touch $@

.venv/ready: .venv/made pyproject.toml requirements.lock
	$(INSTALL) --editable .
	touch $@

.venv/ready-to-test: .venv/made pyproject.toml requirements.lock
	$(INSTALL) --editable '.[dev]'
	touch .venv/ready $@

clean:
	rm -rf .venv
