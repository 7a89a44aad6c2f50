# Needs python3 (3.11 or newer, with venv), make and a network. Everything else is set up by the targets themselves,
# in .tools (uv, ministack, microburst, azurite) and .venv (what requirements-dev.txt pins by hash), and only when a
# pinned file has changed. The tests over Azurite need node and npm, too (20 or newer); without them they are left out,
# except in CI.

PYTHON ?= python3
PORT ?= $(or $(KEYSTEAD_PORT),8080)
DATA ?= $(or $(KEYSTEAD_DATA),.keystead)
ARGS ?=
# How many processes run the tests, and what else pytest is told: make test-unit PYTEST_ARGS='-k audit -x'
JOBS ?= 2
PYTEST_ARGS ?=
# make lock UPGRADE=1 takes the newest versions that are at least COOL_OFF old; make lock alone keeps what is pinned.
UPGRADE ?=
COOL_OFF ?= 7 days

BIN := .venv/bin
UV := .tools/uv/bin/uv
MINISTACK := .tools/ministack/.installed
MICROBURST := .tools/microburst/.installed
AZURITE := .tools/azurite/.installed
SOURCES = $(wildcard core functions tests benchmarks docs/exit)

# Bytecode makes a fresh process start several times as fast.
unexport PYTHONDONTWRITEBYTECODE
# uv installs into .venv and nowhere else, with the interpreter it is given.
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV
# Behind a company's own certificate authority uv must trust what the system trusts, as pip does.
export UV_SYSTEM_CERTS ?= 1

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --exclude-newer "$(COOL_OFF)" $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup run demo test test-unit coverage check format bench bench-revocation lock clean python-version

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: .venv/.installed ## install what the other targets need (they do it themselves)

run: export KEYSTEAD_PORT := $(PORT)
run: export KEYSTEAD_DATA := $(DATA)
run: setup ## serve on loopback: PORT=8080 DATA=.keystead ARGS='--workers 2'
	@$(BIN)/keystead serve $(ARGS)

demo: setup ## tell the whole story in a temporary data directory; exit 0 only if all of it held
	@$(BIN)/keystead demo $(ARGS)

test: check $(MINISTACK) $(MICROBURST) $(AZURITE) ## check, then every test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --durations=15 $(PYTEST_ARGS)

coverage: setup $(MINISTACK) $(MICROBURST) $(AZURITE) ## every test, and which lines and branches they reach; takes more than twice as long
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --cov --cov-report=term $(PYTEST_ARGS)

test-unit: setup ## the quick tests: no real processes, no official SDK
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not slow" $(PYTEST_ARGS)

check: setup ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_repository.py

format: setup ## rewrite the sources as `make check` wants them
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: setup ## the benchmarks: a table here, JSON under benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

bench-revocation: setup $(MINISTACK) $(MICROBURST) ## withdraw keys in every way under load, and time it; ARGS=--outage: a KMS outage of 10 minutes
	$(BIN)/python -m benchmarks.revocation $(ARGS)

lock: $(UV) ## pin requirements*.txt by hash from pyproject.toml (UPGRADE=1 for the newest)
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.txt
	$(COMPILE) pyproject.toml --constraint requirements-dev.txt --no-annotate --output-file requirements.txt
	$(COMPILE) --group tools --output-file requirements-tools.txt
	$(COMPILE) --group ministack --output-file requirements-ministack.txt
	$(COMPILE) --group microburst --output-file requirements-microburst.txt

clean: ## remove everything that make made, except the data directory
	rm -rf .venv .tools *.egg-info build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python-version:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.11" >&2; \
	  echo "hint: install Python 3.11 or newer, or name one: make PYTHON=python3.13 ..." >&2; exit 1; }

# The order matters: tools, then third-party packages, then the project itself, each redone only when its input changed.
$(UV): requirements-tools.txt | python-version
	@echo "setting up uv"
	@rm -rf .tools/uv
	@$(PYTHON) -m venv .tools/uv || { \
	  echo "error: $(PYTHON) -m venv failed" >&2; \
	  echo "hint: on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	  -r requirements-tools.txt
	@touch $@

.venv/.synced: requirements-dev.txt $(UV)
	@echo "setting up .venv"
	@test -x $(BIN)/python || $(UV) venv --quiet --clear --no-project --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --only-binary :all: --compile-bytecode \
	  requirements-dev.txt
	@touch $@

.venv/.installed: pyproject.toml .venv/.synced
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# The emulator of AWS that the slow tests talk to, and the proxy that breaks their calls to it.
$(MINISTACK) $(MICROBURST): .tools/%/.installed: requirements-%.txt $(UV)
	@echo "setting up $*"
	@$(UV) venv --quiet --clear --no-project --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .tools/$*
	@$(UV) pip sync --quiet --python .tools/$*/bin/python --require-hashes --only-binary :all: --compile-bytecode \
	  requirements-$*.txt
	@touch $@

# The emulator of Azure Storage that the slow tests talk to; tests/azurite/.npmrc says what npm must not do. To renew the
# lock: npm --prefix tests/azurite update --package-lock-only
AZURITE_LOCK := tests/azurite/package.json tests/azurite/package-lock.json tests/azurite/.npmrc
$(AZURITE): $(AZURITE_LOCK)
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	  echo "setting up azurite" && rm -rf .tools/azurite && mkdir -p .tools/azurite && \
	  cp $(AZURITE_LOCK) .tools/azurite && (cd .tools/azurite && npm ci --ignore-scripts --loglevel=error >/dev/null) && touch $@; \
	elif test -n "$$CI"; then \
	  echo "error: node or npm is missing" >&2; exit 1; \
	else \
	  echo "warning: node or npm is missing: the tests over Azurite will be left out" >&2; \
	fi
