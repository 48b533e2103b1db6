# The two commands are `make run` and `make test`; each makes what it needs, on a machine with Python 3.11 and make alone.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
SERVES := $(VENV)/.serves
READY := $(VENV)/.ready
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo) env DEBIAN_FRONTEND=noninteractive
SERVICES := postgresql mariadb-server rabbitmq-server nats-server redis-server prometheus chromium fonts-ipafont-gothic gcc libc6-dev iproute2 spin

.PHONY: help run test again unit lowest services torture mutants bench check docs site lock sbom format clean

help:  ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(SERVES)  ## Serve the demo application on http://127.0.0.1:5000 over SQLite
	@exec $(BIN)/saga-es serve

# With SAGA_ES_TEST_REQUIRE=all, a test whose server is missing fails instead of being left out.
test: $(READY)  ## Run all tests, and name at the end what is not tested on this machine; a part with `ARGS="-k append"`
	@$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(ARGS)

# More than a few are no accident: with them the first judgement stands. Each that is judged again is named.
again: $(READY)  ## Run the tests that failed once more, one after the other and nothing beside them (at most 5)
	@$(BIN)/python -m tests.support.failed 5
	@$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -rA --show-capture=no

# Each version of Python has an environment of its own below .venvs, made anew when pyproject.toml has changed.
unit:  ## Run the unit tests on another Python: `make unit PYTHON=python3.13`
	@$(MAKE) --no-print-directory .venvs/$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')/.ready
	@.venvs/$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')/bin/python -m pytest -q -p no:cacheprovider tests/unit $(ARGS)

# Rich is left out: what the tests generate requests with needs a newer one than the command line does.
lowest: .venvs/tools/.ready  ## Run the unit tests with the oldest version of each dependency that pyproject.toml allows
	@$(PYTHON) -m venv --clear .venvs/lowest
	@.venvs/tools/bin/uv pip compile pyproject.toml --extra all --resolution lowest-direct --quiet --no-header \
		--no-annotate | grep -v '^rich==' > .venvs/lowest/floors.txt
	@.venvs/tools/bin/uv pip install --quiet --python .venvs/lowest/bin/python -c .venvs/lowest/floors.txt -e '.[dev]'
	@.venvs/lowest/bin/python -m pytest -q -p no:cacheprovider tests/unit $(ARGS)

.venvs/%/.ready: pyproject.toml
	@echo "Making the virtual environment .venvs/$* (once; some 50 seconds) ..."
	@$(PYTHON) -m venv .venvs/$*
	@.venvs/$*/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@touch $@

services:  ## Install with apt what the tests can use: PostgreSQL, MariaDB, RabbitMQ, NATS, Redis, Prometheus, chromium, a C compiler, spin
	@dpkg --status $(SERVICES) >/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq --no-install-recommends $(SERVICES); }

torture: $(READY)  ## Run sagas in every way with every death, then kill real processes: two hours; a part with `MINUTES=3`
	@$(BIN)/python -m tests.torture $(if $(MINUTES),--minutes $(MINUTES))

mutants: $(READY)  ## Plant known bugs, each in a copy of the tree, and see that the tests find every one; `DEEP=1`: small bugs all over the core
	@$(BIN)/python -m tests.mutants$(if $(DEEP),.deep) $(ARGS)

bench: $(READY)  ## Measure engine and peers in turn, and write the table of docs/performance.md: twenty minutes; `QUICK=1` looks, `ROWS="dbos http"` a part
	@$(PIP) --editable '.[dev,bench]'
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ROWS)

check: $(READY)  ## Lint, types and architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/unit/test_architecture.py

docs: $(READY)  ## Write the tables of the pages that are made from the code
	@$(BIN)/python -m tests.docs.event_table
	@$(BIN)/python -m tests.docs.metrics_table

site: $(READY)  ## Make the documentation a site: build/site/index.html; it needs no network
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs/site . build/site
	@echo "build/site/index.html"

lock: .venvs/tools/.ready  ## Write .ci/constraints.txt, the versions that CI tests with, for each Python
	@.venvs/tools/bin/uv pip compile pyproject.toml --extra all --extra dev --universal --python-version 3.11 \
		--upgrade --quiet --no-header --no-annotate --output-file .ci/constraints.txt

sbom: .venvs/tools/.ready  ## Write dist/sbom.json: what an installation of all extras has, as CycloneDX
	@rm -rf .venvs/sbom && $(PYTHON) -m venv .venvs/sbom
	@PIP_CONSTRAINT=$(CURDIR)/.ci/constraints.txt .venvs/sbom/bin/python -m pip install --disable-pip-version-check --quiet '.[all]'
	@mkdir -p dist && .venvs/tools/bin/cyclonedx-py environment .venvs/sbom --pyproject pyproject.toml \
		--output-reproducible --of JSON --output-file dist/sbom.json

.venvs/tools/.ready:
	@$(PYTHON) -m venv .venvs/tools
	@.venvs/tools/bin/python -m pip install --disable-pip-version-check --quiet uv cyclonedx-bom
	@touch $@

pictures: $(READY)  ## Make the pictures of the console that the pages show, with chromium
	@$(BIN)/python -m tests.browser.pictures

format: $(READY)  ## Lay the code out
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## Remove what was made here, but no data
	@rm -rf $(VENV) .venvs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(SERVES): pyproject.toml
	@echo "Making the virtual environment in $(VENV) (once; some 20 seconds) ..."
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("saga_es needs Python 3.11 or newer, this is " + sys.version)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[all]'
	@touch $@

$(READY): $(SERVES)
	@echo "Adding what the tests and checks need to $(VENV) (once; some 30 seconds) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@
