# make help says what there is. Everything installed goes to .venv, all data of the demo to .data (DATA_DIR).
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 4# processes of the tests: they wait more than they work
COMPILE := $(BIN)/pip-compile -q --strip-extras --no-header --annotation-style=line \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --generate-hashes

# what the tools that import the settings need; nothing is opened or signed with it
CHECK := SECRET_KEY=only-for-checks-only-for-checks-only DATA_DIR=build DATABASE_URL=sqlite://:memory: \
	REDIS_URL=memory://

PAGES := settings_table event_kinds result_codes data_model

.DELETE_ON_ERROR:
.PHONY: help demo docs pages test test-all test-tools test-embedded lab-test chaos bench check lint format types layers migrations generated schema budgets requirements cli-reference screenshots clean

help: ## this list (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo: .venv/.run ## start the whole system with simulated nodes and run a demonstration; EXIT=1: stop at its end
	@$(BIN)/python manage.py standalone --scenario $(if $(EXIT),--exit)

PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
test: .venv/.dev ## the suite; ARGS= goes to pytest instead, as in ARGS="tests/unit -k settings"
	@$(PYTEST) $(or $(ARGS),--ignore=tests/system --ignore=tests/chaos --ignore=tests/benchmarks)

test-all: .venv/.dev ## the suite, and the tests that start the whole production form and break it, as CI does
	@$(PYTEST)

test-tools: .venv/.dev ## install Debian packages that some tests need; lists them and asks first; YES=1: without asking
	@YES=$(YES) $(BIN)/python -m tests.programs

test-embedded: .venv/.dev ## the tests of volumes, faults and concurrency on SQLite, as in the embedded form
	@mkdir -p build && TEST_DATABASE_URL=sqlite:///$(CURDIR)/build/embedded.sqlite3 \
	  $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile tests/api/test_volumes.py tests/api/test_volume_life.py \
	  tests/api/test_publications.py tests/events/test_log.py \
	  tests/volumes/reconcilers/test_garbage_collector.py tests/volumes/reconcilers/test_self_healing.py tests/concurrency

LAB ?= short_path contract whole_path
lab-test: .venv/.dev ## nodes and a host on Debian's kernel in virtual machines: CONTRIBUTING.md; LAB=short_path: only the shortest form
	@CI=true $(BIN)/python -m pytest -x --timeout 0 $(foreach name,$(LAB),tests/lab/$(name).py) $(ARGS)

SECONDS ?= 240
chaos: .venv/.dev ## clients during faults, then compare results and state: docs/explanation/chaos-tests.md; SEED=, SECONDS=
	@$(BIN)/python -m tests.chaos.run $(if $(SEED),--seed $(SEED)) --seconds $(SECONDS)

bench: .venv/.dev ## measure against a bare view and pgbench: docs/reference/performance.md; BENCH="creates hosts pages metrics lists limits scale"
	@$(BIN)/python -m tests.benchmarks.run $(BENCH)

check: lint format types layers migrations generated schema budgets ## all static checks

lint: .venv/.dev
	$(BIN)/ruff check .
format: .venv/.dev
	$(BIN)/ruff format --check .
types: .venv/.dev
	$(CHECK) $(BIN)/mypy .
layers: .venv/.dev
	$(BIN)/lint-imports
migrations: .venv/.dev
	$(CHECK) $(BIN)/python manage.py makemigrations --check --dry-run
generated: .venv/.dev
	@for page in $(PAGES); do $(CHECK) $(BIN)/python manage.py $$page --check || exit 1; done
schema: .venv/.dev
	@mkdir -p build && \
	  $(CHECK) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file build/openapi.yaml && \
	  diff -u docs/reference/openapi.yaml build/openapi.yaml
budgets: .venv/.dev
	$(BIN)/python -m tests.budgets

docs: .venv/.dev ## build the documentation as a site, into build/site; needs no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site
	@echo "The site is in build/site: open index.html"
pages: .venv/.dev ## write the generated pages of docs/reference: settings, events, result codes, data model
	@for page in $(PAGES); do $(CHECK) $(BIN)/python manage.py $$page || exit 1; done

requirements: .venv/.dev ## pin all requirements again (server, tests, provisionerctl), with hashes; takes minutes
	$(COMPILE) -o requirements.txt requirements.in
	$(COMPILE) -o requirements-dev.txt requirements-dev.in
	$(COMPILE) -c requirements-dev.txt -o provisionerctl/requirements.txt provisionerctl/pyproject.toml

cli-reference: .venv/.dev ## write docs/reference/cli.md from the commands of provisionerctl
	@$(BIN)/python -m tests.cli.reference

screenshots: .venv/.dev ## write pictures of the console into docs/images
	@mkdir -p docs/images
	SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/console/screenshots.py tests/console/test_walk.py

clean: ## remove generated files: .venv, caches, build; keeps DATA_DIR
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: requirements.txt | $(BIN)/python
	@echo "Installing what the system needs into .venv; this takes a minute, once."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing the tools for tests and checks into .venv; this takes a minute or two, once."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ .venv/.run

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "Python is missing; get it with: apt-get install -y python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$$($(PYTHON) -V) is too old: 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv is missing; get it with: apt-get install -y python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
