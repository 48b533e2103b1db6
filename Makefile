# The two commands are `make run` and `make test`; each makes what it needs, on a fresh machine too.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run test torture mutants bench check docs format clean

help:  ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(READY)  ## Serve the demo application on http://127.0.0.1:5000 over SQLite
	@exec $(BIN)/saga-es serve

test: $(READY)  ## Run all tests, on SQLite, PostgreSQL and MariaDB
	@$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

torture: $(READY)  ## Run sagas in every way with every death, then kill real processes: two hours; a part with `MINUTES=3`
	@$(BIN)/python -m tests.torture $(if $(MINUTES),--minutes $(MINUTES))

mutants: $(READY)  ## Plant known bugs, each in a copy of the tree, and see that the tests find every one
	@$(BIN)/python -m tests.mutants

bench: $(READY)  ## Measure engine and peers in turn, and write the table of docs/performance.md: twenty minutes; `QUICK=1` looks, `ROWS="dbos http"` a part
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev,bench]'
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ROWS)

check: $(READY)  ## Lint, types and architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/unit/test_architecture.py

docs: $(READY)  ## Write the tables of docs/saga-model.md anew, from the code
	@$(BIN)/python -m tests.docs.event_table

format: $(READY)  ## Lay the code out
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## Remove what was made here, but no data
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	@echo "Making the virtual environment in $(VENV) (once; about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("saga_es needs Python 3.11 or newer, this is " + sys.version)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --quiet --editable '.[dev]'
	@touch $@
