# Every target sets up what it needs in .venv; nothing else has to be installed but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 7

# Tests and workers start hundreds of processes: none of them shall compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench chaos fuzz partitions sabotage simulate up warm clean

demo: $(VENV)/.runtime
	$(BIN)/converter demo

up: $(VENV)/.runtime
	$(BIN)/converter up --sandbox

test: $(VENV)/.dev
	$(MAKE) -j2 lint warm
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not chaos" tests/scenarios tests

# Compiled here once, and not by each of the processes that run them; what is wrong with a test, its run shows.
warm: $(VENV)/.dev
	@-$(BIN)/python -m pytest -q --collect-only tests >/dev/null

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.runtime
	$(BIN)/python benchmarks/conversions.py

chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -n 1 -m chaos
	CONVERTER_TEST_ALL=1 $(BIN)/python -m pytest -n 2 tests/app/test_crashes.py
	$(BIN)/converter drill --conversions $(or $(CONVERSIONS),10000) --profile usual
	$(BIN)/converter drill --conversions $(or $(CONVERSIONS),10000) --profile bad-day

# Cases of the OpenAPI document against the HTTP API of a running system.
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.api.fuzz --cases $(or $(CASES),2000)

# Two regions, the ledger and the outside world in network namespaces of their own (Linux, root).
partitions: $(VENV)/.dev
	$(BIN)/python -m tests.partitions.run --seeds $(or $(SEEDS),1 2 3 4) --conversions $(or $(CONVERSIONS),500)

# Takes out each guard of the money rule in turn; the tests must notice. GUARD="part of a name" tries some of them.
sabotage: $(VENV)/.dev
	$(BIN)/python -m tests.sabotage $(if $(GUARD),"$(GUARD)")

# SEEDS worlds of 60 conversions for each of the 12 pairs of mix and profile: 1400 are a million conversions.
simulate: $(VENV)/.dev
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1400)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

# Some systems ship Python without ensurepip; then uv, installed beside the environment, makes it.
$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { rm -rf $(VENV) && $(PYTHON) -m pip install -q --target .uv uv && .uv/bin/uv venv -q --seed $(VENV) && rm -rf .uv; }
	$(BIN)/python -m pip install -q --disable-pip-version-check 'pip>=25.1'
	touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install -q --disable-pip-version-check -e . --group dev
	touch $@
