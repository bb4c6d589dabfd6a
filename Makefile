# Everything a developer or the CI does, a target a line. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VIDEO ?=
KEEP ?=
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo serve test test-unit test-integration test-e2e test-foreign test-faults lint format types protos check-protos breaking schemas bench bench-quick bench-watch bench-transfer soak pictures lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv from the committed lock, and compile its bytecode

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q -j 0 jobd client protos $(VENV)/lib > /dev/null 2>&1 || true # some packages ship files that are no Python
	$(BIN)/python -m jobd.prefect_child --prepare
	@touch $@

demo: install ## run the media report on a made-up video, or on VIDEO=path; KEEP=1 leaves the daemon running
	@$(BIN)/python tools/demo.py $(if $(VIDEO),--video "$(VIDEO)") $(if $(KEEP),--keep)

serve: install ## run a daemon in the foreground with its state in the default place
	$(BIN)/jobd serve --modules modules

test: install ## run every test
	$(BIN)/pytest

test-unit: install ## run the tests that do no I/O, but for the large ones
	$(BIN)/pytest tests/unit -m 'not size'

test-integration: install ## run the tests against the real store, processes and Prefect server
	$(BIN)/pytest tests/integration

test-e2e: install ## run the tests of jobd and jobctl as programs
	$(BIN)/pytest tests/e2e

test-foreign: install ## run the example clients in Go, Node and Java, and grpcurl
	$(BIN)/pytest tests/foreign

test-faults: install ## run random schedules of faults, and a crash at every commit point; SEED=, COUNT=, SEEDS= choose
	$(BIN)/python tests/faults/run.py
	FAULTS=1 $(BIN)/pytest tests/faults/test_crash_points.py tests/faults/test_reboot.py tests/integration/containment/test_awkward_modules.py

lint: install ## check style, imports and protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint

format: install ## mend what the linter can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: install ## check types
	$(BIN)/mypy

protos: install ## generate the stubs beside the .proto files
	tools/protos.sh

check-protos: install ## fail when the committed stubs are not what the .proto files say
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && tools/protos.sh "$$out" \
	  && diff -r -x '*.proto' -x __pycache__ -x buf.yaml protos "$$out" && echo 'the stubs are fresh'

breaking: install ## fail when the protos break clients of main, or of AGAINST=REVISION
	tools/breaking.sh $(AGAINST)

bench: install ## measure what jobd costs, beside what it is compared with; SAVE=1 writes docs/performance.md
	$(BIN)/python -m benchmarks $(if $(SAVE),--save)

bench-quick: install ## less of everything, for rougher figures
	$(BIN)/python -m benchmarks --quick

bench-watch: install ## measure thousands of watchers of one job
	$(BIN)/python -m benchmarks --only watchers $(if $(SAVE),--save)

bench-transfer: install ## measure upload and download
	$(BIN)/python -m benchmarks --only transfer $(if $(SAVE),--save)

soak: install ## put 200 jobs, 4,000 entries and 500 watches on a daemon for MINUTES= (10), and look for leaks
	$(BIN)/python tests/faults/soak.py

schemas: install ## write the JSON Schemas of both formats into docs/schema
	$(BIN)/jobd schema job > docs/schema/job.schema.json
	$(BIN)/jobd schema manifest > docs/schema/manifest.schema.json

pictures: install ## take the pictures of the documentation anew
	$(BIN)/python tools/pictures.py

lock: install ## resolve the dependencies anew into requirements/
	$(BIN)/uv pip compile pyproject.toml --extra daemon --extra media --extra tracing --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --quiet -o requirements/dev.txt

clean: ## remove what these targets made
	rm -rf $(VENV) demo-out build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
